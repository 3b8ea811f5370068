/* tests/unit/test_hosts.c - what is said of hosts beside their addresses: lists
 * with one entry for all or one for each, and what is wrong with them.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "conf/hosts.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct conf_host *make(const struct host_lists *l, size_t n)
{
	struct conf_host *h = NULL;
	struct err e = {.text = ""};

	if (hosts_make(l, n, &h, &e) < 0)
		fail_msg("refused: %s", e.text);
	assert_non_null(h);
	return h;
}

static void refuse(const struct host_lists *l, size_t n, const char *a, const char *b)
{
	struct conf_host *h = (struct conf_host *)(void *)&h;
	struct err e = {.text = ""};

	assert_int_equal(hosts_make(l, n, &h, &e), -1);
	assert_null(h);
	if (!strstr(e.text, a) || !strstr(e.text, b))
		fail_msg("said: %s; expected: %s ... %s", e.text, a, b);
}

static void test_nothing_said(void **state)
{
	const struct host_lists none = {0};
	size_t n, i;

	(void)state;
	for (n = 0; n <= CONF_HOSTS_MAX; n++) {
		struct conf_host *h = make(&none, n);

		for (i = 0; i < n; i++) {
			assert_int_equal(h[i].weight, 1);
			assert_true(h[i].near);
			assert_int_equal(h[i].http_port, 0);
			assert_null(h[i].http_path);
		}
		hosts_free(h, n);
	}
	refuse(&none, CONF_HOSTS_MAX + 1, "65 hosts", "at most 64");
	hosts_free(NULL, 3);
}

static void test_names(void **state)
{
	struct host_lists l = {.names = "a,, c "};
	struct conf_host *h = make(&l, 3);

	(void)state;
	assert_string_equal(h[0].name, "a");
	assert_null(h[1].name);
	assert_string_equal(h[2].name, "c");
	hosts_free(h, 3);
}

static void test_weights(void **state)
{
	static const struct {
		const char *list;
		unsigned want[3];
	} good[] = {
		{"1", {1, 1, 1}}, {"100", {100, 100, 100}}, {" 7\t", {7, 7, 7}},
		{"1,2,3", {1, 2, 3}}, {" 10 , 20,\t30 ", {10, 20, 30}}, {"007,1,1", {7, 1, 1}},
	};
	static const char *const bad[][2] = {
		{"0", "\"0\""}, {"101", "\"101\""}, {"-1", "\"-1\""}, {"1.5", "\"1.5\""}, {"x", "\"x\""},
		{"1x", "\"1x\""}, {"", "\"\""}, {"1 1", "\"1 1\""}, {"1,2,", "\"\""}, {"1,0,1", "\"0\""},
		{"1,,1", "\"\""}, {"99999999999999999999", "\"99999"},
	};
	static const char *const counts[][2] = {
		{"1,2", "2 entries"}, {"1,2,3,4", "4 entries"}, {",,,", "4 entries"},
	};
	struct host_lists l = {0};
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		struct conf_host *h;

		l.weight = good[i].list;
		h = make(&l, 3);
		for (k = 0; k < 3; k++)
			assert_int_equal(h[k].weight, good[i].want[k]);
		hosts_free(h, 3);
	}
	for (i = 0; i < COUNT(bad); i++) {
		l.weight = bad[i][0];
		refuse(&l, 3, "weight", bad[i][1]);
	}
	for (i = 0; i < COUNT(counts); i++) {
		l.weight = counts[i][0];
		refuse(&l, 3, counts[i][1], "weight for 3 hosts");
	}
}

static void test_zones(void **state)
{
	static const struct {
		const char *zones, *own;
		const char *near;       /* y or n for each of three */
	} cases[] = {
		{NULL, NULL, "yyy"},	{NULL, "a", "yyy"},	{"a,b,c", NULL, "yyy"},
		{"a,b,c", "", "yyy"},	{"a,b,c", "b", "nyn"},	{"a, b ,b", "b", "nyy"},
		{"b", "b", "yyy"},	{"a", "b", "nnn"},	{"bb,b,B", "b", "nyn"},
		{"a,,b", "b", "nny"},	{"eu west,eu,west", "eu west", "ynn"},
	};
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		const struct host_lists l = {.zones = cases[i].zones, .zone = cases[i].own};
		struct conf_host *h = make(&l, 3);

		for (k = 0; k < 3; k++)
			assert_int_equal(h[k].near, cases[i].near[k] == 'y');
		hosts_free(h, 3);
	}
	refuse(&(struct host_lists){.zones = "a,b", .zone = "a"}, 3, "2 entries", "zones for 3");
}

static void test_http(void **state)
{
	static const struct {
		const char *text, *path;
		int port;
		bool https;
	} good[] = {
		{"8080", "/health?ready=1", 8080, false},
		{" 8080 ", "/health?ready=1", 8080, false},
		{"1", "/health?ready=1", 1, false},
		{"65535/", "/", 65535, false},
		{"8080/x/y?z=1&b", "/x/y?z=1&b", 8080, false},
		{"http://8080", "/health?ready=1", 8080, false},
		{"https://8443", "/health?ready=1", 8443, true},
		{"https://8443/up", "/up", 8443, true},
		{"", NULL, 0, false},
	};
	static const char *const bad[] = {
		"0", "65536", "x", "-1", "8080x", "8080?ready=1", "/health", "ftp://80", "https://",
		"https://h:80", "http://https://80", "80 80", "80/a b", "80/a\r\nX: y", "80/\xc3\xa4",
		"1e3", "99999999999999999999", "HTTPS://80",
	};
	struct host_lists l = {0};
	struct conf_host *h;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		l.http = good[i].text;
		h = make(&l, 2);
		assert_int_equal(h[1].http_port, good[i].port);
		assert_int_equal(h[1].https, good[i].https);
		if (good[i].path)
			assert_string_equal(h[1].http_path, good[i].path);
		else
			assert_null(h[1].http_path);
		hosts_free(h, 2);
	}
	for (i = 0; i < COUNT(bad); i++) {
		l.http = bad[i];
		refuse(&l, 2, "health_check_http", "[https://]PORT[/PATH]");
	}
	/* one for each; an empty one asks nothing of that host */
	l.http = "8081,, https://8083/x";
	h = make(&l, 3);
	assert_int_equal(h[0].http_port, 8081);
	assert_int_equal(h[1].http_port, 0);
	assert_int_equal(h[2].http_port, 8083);
	assert_true(h[2].https && !h[0].https);
	hosts_free(h, 3);
	l.http = "1,2";
	refuse(&l, 3, "2 entries", "health_check_http for 3");
	/* what was made before the wrong one is given back */
	l.http = "8081/a,8082/b,x";
	refuse(&l, 3, "health_check_http", "\"x\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_said), cmocka_unit_test(test_names), cmocka_unit_test(test_weights),
		cmocka_unit_test(test_zones),	     cmocka_unit_test(test_http),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
