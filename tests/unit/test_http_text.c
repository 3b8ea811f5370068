/* tests/unit/test_http_text.c - proxy/http/out and ask: escapes, numbers, Accept, Host.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "http/ask.h"
#include "http/out.h"

static void same(struct out *o, const char *want)
{
	assert_false(o->bad);
	assert_int_equal(o->len, strlen(want));
	assert_memory_equal(o->p, want, o->len);
	out_free(o);
}

static void test_escapes(void **state)
{
	struct out o = { 0 };
	/* overlong, surrogate, beyond the end, cut, a byte that begins nothing */
	static const char *const bad[] = { "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
					   "\xf5\x80\x80\x80", "\xe2\x82", "\x80", "\xff", "\xf0\x80\x80\x80" };
	size_t i, k;

	(void)state;
	out_json(&o, "a\"b\\c\nd\te\x01\x7f");
	same(&o, "a\\\"b\\\\c\\nd\\u0009e\\u0001\x7f");
	out_label(&o, "a\"b\\c\nd\te");
	same(&o, "a\\\"b\\\\c\\nd\te");
	out_json(&o, "\xc3\xbc \xe2\x82\xac \xf0\x9f\x90\x98 \xef\xbf\xbd");
	same(&o, "\xc3\xbc \xe2\x82\xac \xf0\x9f\x90\x98 \xef\xbf\xbd");
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct out want = { 0 };

		out_text(&want, "x");
		for (k = 0; k < strlen(bad[i]); k++)
			out_text(&want, "\xef\xbf\xbd");
		out_text(&want, "y");
		out_bytes(&want, "", 1);
		out_text(&o, "x");
		out_label(&o, bad[i]);
		out_text(&o, "y");
		same(&o, want.p);
		out_free(&want);
	}
}

static void test_numbers(void **state)
{
	static const struct {
		uint64_t us;
		const char *seconds, *millis;
	} row[] = { { 0, "0", "0" },
		    { 1, "0.000001", "0.001" },
		    { 1000000, "1", "1000" },
		    { 1500000, "1.5", "1500" },
		    { 90, "0.00009", "0.09" },
		    { 3600000000ULL, "3600", "3600000" },
		    { UINT64_MAX, "18446744073709.551615", "18446744073709551.615" } };
	struct out o = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(*row); i++) {
		out_seconds(&o, row[i].us);
		same(&o, row[i].seconds);
		out_millis(&o, row[i].us);
		same(&o, row[i].millis);
	}
}

static void test_growth(void **state)
{
	struct out o = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 5000; i++)
		out_fmt(&o, "%04zu", i);
	assert_int_equal(o.len, 20000);
	assert_memory_equal(o.p + 4 * 4321, "4321", 4);
	out_free(&o);
	out_free(&o);
}

static void test_accept(void **state)
{
	static const struct {
		const char *accept;
		bool open;
	} row[] = {
		{ NULL, false },
		{ "", false },
		{ "*/*", false },
		{ "text/plain", false },
		{ "application/openmetrics-text", true },
		{ "Application/OpenMetrics-Text; Version=1.0.0", true },
		{ "application/openmetrics-text; version=0.0.1", false },
		{ "application/openmetrics-text; version=1.0.0; q=0", false },
		{ "application/openmetrics-text;q=0.5,text/plain;q=0.6", false },
		{ "application/openmetrics-text;q=0.6,text/plain;q=0.5", true },
		{ "text/plain;q=0.5,application/openmetrics-text;q=0.5", true },
		{ "application/openmetrics-text;q=0.2,*/*;q=0.3", false },
		{ "application/openmetrics-text;version=0.0.1;q=1,application/openmetrics-text;version=1.0.0;"
		  "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true },
		{ "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false },
		{ ",;,;;q=,q=9,application/openmetrics-text;q=9", true },
		{ "application/openmetrics-text;q=0.001", true },
		{ "application/openmetrics-text;q=0.0001", false },
		{ "application/vnd.google.protobuf;q=0.7", false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(*row); i++)
		if (ask_openmetrics(row[i].accept) != row[i].open)
			fail_msg("Accept: %s", row[i].accept ? row[i].accept : "(none)");
}

static void test_host(void **state)
{
	static const struct {
		const char *host, *machine, *addr, *hosts;
		bool fits;
	} row[] = {
		{ NULL, NULL, NULL, NULL, true },
		{ "", NULL, NULL, NULL, true },
		{ "10.1.2.3", NULL, NULL, NULL, true },
		{ "10.1.2.3:80", NULL, NULL, NULL, true },
		{ "[fe80::1]:80", NULL, NULL, NULL, true },
		{ "[::1]", NULL, NULL, NULL, true },
		{ "LOCALHOST:1", NULL, NULL, NULL, true },
		{ "localhost.", NULL, NULL, NULL, true },
		{ "localhost.evil.example", NULL, NULL, NULL, false },
		{ "127.0.0.1.evil.example", NULL, NULL, NULL, false },
		{ "db1", "db1", NULL, NULL, true },
		{ "db1:9630", "db1.example", NULL, NULL, true },
		{ "DB1.example", "db1.example", NULL, NULL, true },
		{ "db1.evil", "db1", NULL, NULL, false },
		{ "db", "db1", NULL, NULL, false },
		{ "db11", "db1", NULL, NULL, false },
		{ "pool.example", NULL, "1.2.3.4:1, pool.example:9630", NULL, true },
		{ "pool.exampl", NULL, "pool.example:9630", NULL, false },
		{ "*", NULL, "*:9630", NULL, true },
		{ "x", NULL, "*:9630", NULL, false },
		{ "x", NULL, NULL, "a,x", true },
		{ "x", NULL, NULL, "a, *", true },
		{ "x", NULL, NULL, "a", false },
		{ ":80", NULL, NULL, "", false },
		{ "[", NULL, NULL, NULL, false },
	};
	char longer[400];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(*row); i++)
		if (ask_host_fits(row[i].host, row[i].machine, row[i].addr, row[i].hosts) != row[i].fits)
			fail_msg("row %zu, Host: %s", i, row[i].host ? row[i].host : "(none)");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_false(ask_host_fits(longer, NULL, NULL, "*"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escapes), cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_growth),	cmocka_unit_test(test_accept),
		cmocka_unit_test(test_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
