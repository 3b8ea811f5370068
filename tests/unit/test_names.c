/* tests/unit/test_names.c - sets of addresses, answers, pauses, the hosts file.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <cmocka.h>

#include "health/names.h"

#define S INT64_C(1000000)

/* "10.0.0.1 ::1" to a set, in that order. */
static struct ip_set set_of(const char *text)
{
	struct ip_set s = {.n = 0};
	char copy[400], *save = NULL, *w;
	uint8_t b[16];

	snprintf(copy, sizeof(copy), "%s", text);
	for (w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (inet_pton(AF_INET, w, b) == 1)
			ip_set_add(&s, IP_4, b);
		else if (inet_pton(AF_INET6, w, b) == 1)
			ip_set_add(&s, IP_6, b);
		else
			fail_msg("%s is no address", w);
	}
	return s;
}

static void is_set(const struct ip_set *s, const char *want)
{
	char text[1000] = "", one[IP_TEXT];
	size_t len = 0;
	unsigned i;

	for (i = 0; i < s->n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
					ip_print(&s->ip[i], one, sizeof(one)));
	assert_string_equal(text, want);
}

static void test_sets(void **state)
{
	struct ip_set a = set_of("10.0.0.2 ::1 10.0.0.1 10.0.0.2 2001:db8::7"), b;
	uint8_t four[4] = {10, 1, 0, 0};
	unsigned i;

	(void)state;
	is_set(&a, "10.0.0.1 10.0.0.2 ::1 2001:db8::7");
	b = set_of("2001:db8::7 ::1 10.0.0.1 10.0.0.2");
	assert_true(ip_set_same(&a, &b));
	b = set_of("2001:db8::7 ::1 10.0.0.1");
	assert_false(ip_set_same(&a, &b));
	b = set_of("2001:db8::7 ::1 10.0.0.1 10.0.0.3");
	assert_false(ip_set_same(&a, &b));
	/* the same bytes in another family are another address */
	a = set_of("1.2.3.4");
	b = set_of("102:304::");
	assert_false(ip_set_same(&a, &b));
	a.n = 0;
	for (i = 0; i < 300; i++) {
		four[2] = (uint8_t)(i >> 8);
		four[3] = (uint8_t)i;
		ip_set_add(&a, IP_4, four);
	}
	assert_int_equal(a.n, IP_SET_MAX);
	ip_set_add(&a, IP_4, four);
	assert_int_equal(a.n, IP_SET_MAX);
}

static void test_sockets(void **state)
{
	struct ip_set s = set_of("10.0.0.1 2001:db8::7");
	struct addr a = {.port = 5433};
	char text[80];

	(void)state;
	ip_sock(&s.ip[0], &a);
	assert_string_equal(addr_print(&a.sock.sa, a.sock_len, text, sizeof(text)), "10.0.0.1:5433");
	ip_sock(&s.ip[1], &a);
	assert_string_equal(addr_print(&a.sock.sa, a.sock_len, text, sizeof(text)),
			    "[2001:db8::7]:5433");
}

/* "" empty, "!" failed, "?" not here yet, else addresses */
static struct answer answer_of(const char *text, const char *why)
{
	struct answer a = {.kind = ANSWER_OK, .why = why};

	if (!*text)
		a.kind = ANSWER_EMPTY;
	else if (*text == '!')
		a.kind = ANSWER_FAIL;
	else if (*text == '?')
		a.kind = ANSWER_NONE;
	else
		a.set = set_of(text);
	return a;
}

static void merge(const char *known, const char *four, const char *six, const char *want)
{
	struct answer a[IP_FAMILIES] = {answer_of(four, "4"), answer_of(six, "6")};
	struct ip_set set = set_of(known), before = set;

	assert_int_equal(names_merge(&set, a), strcmp(known, want) != 0);
	assert_int_equal(ip_set_same(&set, &before), strcmp(known, want) == 0);
	is_set(&set, want);
	/* the same answers once more change nothing */
	assert_false(names_merge(&set, a));
}

static void test_answers(void **state)
{
	(void)state;
	merge("", "10.0.0.1", "?", "10.0.0.1");
	merge("10.0.0.1", "10.0.0.2 10.0.0.1", "", "10.0.0.1 10.0.0.2");
	merge("10.0.0.1 10.0.0.2", "10.0.0.2", "", "10.0.0.2");
	/* who fails says nothing of its own family */
	merge("10.0.0.1 ::1", "10.0.0.2", "!", "10.0.0.2 ::1");
	merge("10.0.0.1 ::1", "!", "::2", "10.0.0.1 ::2");
	merge("10.0.0.1 ::1", "?", "::2", "10.0.0.1 ::2");
	/* who has none takes its family away, if the other has some */
	merge("10.0.0.1 ::1", "10.0.0.1", "", "10.0.0.1");
	merge("10.0.0.1", "", "::1", "::1");
	merge("10.0.0.1 ::1", "?", "", "10.0.0.1 ::1");
	merge("10.0.0.1 ::1", "", "!", "10.0.0.1 ::1");
	merge("10.0.0.1 ::1", "", "", "10.0.0.1 ::1");
	merge("10.0.0.1 ::1", "!", "!", "10.0.0.1 ::1");
	merge("", "", "", "");
}

static void test_whys(void **state)
{
	struct answer a[IP_FAMILIES] = {answer_of("", "none"), answer_of("!", "timeout")};

	(void)state;
	assert_false(names_good(a));
	assert_string_equal(names_why(a), "timeout");
	a[IP_6] = answer_of("", "none of six");
	assert_string_equal(names_why(a), "none");
	a[IP_6] = answer_of("::1", NULL);
	assert_true(names_good(a));
}

static void near(int64_t got, int64_t want)
{
	assert_in_range(got, want - want / 10, want + want / 10);
}

static void test_pauses(void **state)
{
	const struct name_times t = {15 * S, 30 * S};
	struct name_pace p = {0, 0};
	static const unsigned unknown[] = {1, 2, 4, 8, 16, 30, 30};
	static const unsigned hurried[] = {1, 2, 4, 8, 15, 15, 15};
	int64_t low = INT64_MAX, high = 0;
	uint64_t i;

	(void)state;
	for (i = 0; i < 10000; i++) {
		int64_t us = names_pause_us(&t, true, &p, i * 0x9e3779b97f4a7c15u);

		near(us, 15 * S);
		low = us < low ? us : low;
		high = us > high ? us : high;
	}
	assert_true(low < 14 * S && high > 16 * S);
	p.fails = 1;
	near(names_pause_us(&t, true, &p, 77), 30 * S);
	for (p.fails = 1; p.fails <= 7; p.fails++)
		near(names_pause_us(&t, false, &p, 99), unknown[p.fails - 1] * S);
	p.fails = 4000000000u;
	near(names_pause_us(&t, false, &p, 99), 30 * S);
	p = (struct name_pace){0, 1};
	for (i = 0; i < 7; i++)
		near(names_pause_us(&t, true, &p, 5), hurried[i] * S);
	assert_int_equal(p.hurry, 0);
	/* hurry is no reason to be slower than usual */
	p = (struct name_pace){0, 1};
	near(names_pause_us(&(struct name_times){S / 10, S / 10}, true, &p, 5), S / 10);
	p = (struct name_pace){0, 400};
	near(names_pause_us(&t, true, &p, 5), 15 * S);
	/* the shortest there is */
	p = (struct name_pace){0, 0};
	assert_in_range(names_pause_us(&(struct name_times){1, 1}, true, &p, 5), 0, 2);
}

static void test_hurry(void **state)
{
	(void)state;
	assert_int_equal(names_hurry_us(100 * S, 50 * S), 0);
	assert_int_equal(names_hurry_us(100 * S, 99 * S), 0);
	assert_int_equal(names_hurry_us(100 * S, 100 * S), S);
	assert_int_equal(names_hurry_us(100 * S, 100 * S - S / 4), S - S / 4);
}

static void hosts(const char *text, const char *name, const char *want)
{
	struct ip_set s = {.n = 0};
	size_t len = strlen(text);
	char *exact = malloc(len ? len : 1); /* no byte behind it may be read */

	assert_non_null(exact);
	memcpy(exact, text, len);
	assert_int_equal(names_in_hosts(exact, len, name, &s), *want != 0);
	free(exact);
	is_set(&s, want);
}

static void test_hosts(void **state)
{
	static const char text[] = "# comment db\n127.0.0.1\tlocalhost lo # db\n"
				   "::1 localhost ip6-localhost\r\n"
				   "\n  10.0.0.1  DB.example db\n10.0.0.2 db db.\n"
				   "fe80::1%eth0 db\nnonsense db\n10.0.0.300 db\n10.0.0.4#db\n"
				   "10.0.0.9 last";

	(void)state;
	hosts(text, "localhost", "127.0.0.1 ::1");
	hosts(text, "LocalHost.", "127.0.0.1 ::1");
	hosts(text, "lo", "127.0.0.1");
	hosts(text, "db.example", "10.0.0.1");
	hosts(text, "db", "10.0.0.1 10.0.0.2");
	hosts(text, "last", "10.0.0.9");
	hosts(text, "las", "");
	hosts(text, "lastt", "");
	hosts(text, "10.0.0.9", "");
	hosts("", "x", "");
	hosts("10.0.0.1", "x", "");
	hosts("10.0.0.1 x", "x", "10.0.0.1");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sets),	cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_answers), cmocka_unit_test(test_whys),
		cmocka_unit_test(test_pauses),	cmocka_unit_test(test_hurry),
		cmocka_unit_test(test_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
