/* tests/unit/test_conf_keys.c - every type of value, SHOW CONFIG, the manual.
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

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/key.h"

static const struct conf_over over = {.listen_port = -1, .numeric_hosts = true};

#define BASE "[pgweir]\nauth_type = trust\n[databases]\n* = host=127.0.0.1\n"

static struct conf *load(const char *text)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_load_mem("t.ini", text, strlen(text), &over, &c, &e) < 0)
		fail_msg("refused: %s", e.text);
	assert_non_null(c);
	return c;
}

static union {
	struct conf_global g;
	struct conf_db_keys db;
	struct conf_user_keys user;
} base;

static void expect(const struct key *k, const char *text, int ret)
{
	struct err e = {.text = ""};
	int got = key_set(k, &base, text, &e);

	if (got != ret)
		fail_msg("%s = %s gave %d: %s", k->name, text, got, e.text);
	if (ret < 0 && (!strstr(e.text, k->name) || !strstr(e.text, "to")))
		fail_msg("%s = %s said only: %s", k->name, text, e.text);
}

static void expect_number(const struct key *k, double value, const char *unit, int ret)
{
	char text[64];

	snprintf(text, sizeof(text), "%.15g%s", value, unit);
	expect(k, text, ret);
}

static void test_bounds(void **state)
{
	const struct key *k;
	int numbers = 0;
	size_t i;

	(void)state;
	for (i = 0; (k = key_row(i)); i++) {
		if (k->type != KEY_INT && k->type != KEY_TIME && k->type != KEY_SIZE &&
		    k->type != KEY_WORKERS)
			continue;
		numbers++;
		expect_number(k, k->min, "", 0);
		expect_number(k, k->max, "", 0);
		expect_number(k, k->max + 1, "", -1);
		expect_number(k, k->min - 1, "", -1);
		expect(k, "", -1);
		expect(k, "x", -1);
		expect(k, "1x", -1);
		expect(k, "1 1", -1);
		expect(k, "0x10", -1);
		expect(k, "99999999999999999999999999", -1);
		expect(k, "-", -1);
		if (k->type == KEY_TIME) {
			expect_number(k, k->min * 1000, "ms", 0);
			expect_number(k, k->max, " s", 0);
			expect_number(k, k->max * 1e6 + 1, "us", -1);
			expect_number(k, k->min * 1e6 - 1, "us", -1);
			expect(k, "1e1", -1);
			expect(k, "1.2.3", -1);
			expect(k, ".", -1);
			expect(k, "9223372036854775807d", -1);
		} else {
			expect(k, "1.5", -1);
		}
	}
	assert_true(numbers > 30);
}

static void test_words(void **state)
{
	static const struct {
		const char *name, *text;
		int64_t value;
	} cases[] = {
		{"server_lifetime", "1.5", 1500000},
		{"server_lifetime", ".5", 500000},
		{"server_lifetime", "1h", 3600000000},
		{"server_lifetime", "2 min", 120000000},
		{"server_lifetime", "1d", 86400000000},
		{"server_lifetime", "250ms", 250000},
		{"server_lifetime", "7us", 7},
		{"server_lifetime", "0.0000005", 1},
		{"server_lifetime", "0.5d", 43200000000},
		{"retry_hold_max", "2k", 2048},
		{"retry_hold_max", "2kB", 2048},
		{"retry_hold_max", "2 M", 2097152},
		{"retry_hold_max", "1GB", 1073741824},
		{"retry_hold_max", "1025", 1025},
		{"retry_hold_max", "1026B", 1026},
		{"tcp_keepalive", "off", 0},
		{"tcp_keepalive", "YES", 1},
		{"tcp_keepalive", "false", 0},
		{"tcp_keepalive", "1", 1},
		{"workers", "auto", 0},
		{"workers", "128", 128},
		{"unix_socket_mode", "0700", 0700}, {"unix_socket_mode", "770", 0770},
		{"unix_socket_mode", "0", 0}, {"unix_socket_mode", "00000777", 0777},
		{"pool_mode", "Session", POOL_SESSION},
		{"load_balance_hosts", "least-connections", BALANCE_LEASTCONN},
		{"load_balance_hosts", "round-robin", BALANCE_ROUND_ROBIN},
		{"load_balance_hosts", "random", BALANCE_RANDOM},
		{"load_balance_hosts", "disable", BALANCE_DISABLE},
		{"target_session_attrs", "any", ATTRS_ANY},
		{"target_session_attrs", "read-write", ATTRS_READ_WRITE},
		{"target_session_attrs", "read-only", ATTRS_READ_ONLY},
		{"target_session_attrs", "primary", ATTRS_PRIMARY},
		{"target_session_attrs", "standby", ATTRS_STANDBY},
		{"target_session_attrs", "prefer-standby", ATTRS_PREFER_STANDBY},
		{"on_marked_down", "none", DOWN_NONE},
		{"on_marked_down", "Shutdown-Sessions", DOWN_SHUTDOWN},
		{"max_standby_lag", "1.5", 1500000},
		{"slowstart", "0", 0},
		{"rebalance_interval", "1min", 60000000},
		{"max_node_logins", "0", 0},
		{"max_node_connections", "100000", 100000},
		{"auth_type", "trust", AUTH_TRUST},
		{"auth_type", "scram-sha-256", AUTH_SCRAM},
		{"auth_type", "any", AUTH_ANY},
		{"auth_type", "plain", AUTH_PLAIN},
		{"auth_type", "md5", AUTH_MD5},
		{"auth_type", "cert", AUTH_CERT},
		{"auth_type", "Peer", AUTH_PEER},
		{"auth_type", "hba", AUTH_HBA},
		{"auth_type", "passthrough", AUTH_PASSTHROUGH},
		{"server_cleartext", "never", CLEARTEXT_NEVER},
		{"server_cleartext", "loopback", CLEARTEXT_LOOPBACK},
		{"server_cleartext", "anywhere", CLEARTEXT_ANYWHERE},
		{"retry", "off", RETRY_OFF},
		{"retry", "observe", RETRY_OBSERVE},
		{"retry", "implicit", RETRY_IMPLICIT}, {"retry", "replay", RETRY_REPLAY},
		{"retry_unknown", "readonly", UNKNOWN_READONLY},
		{"retry_unknown", "Hinted", UNKNOWN_HINTED},
	};
	static const char *const bad[][2] = {
		{"tcp_keepalive", "2"}, {"tcp_keepalive", ""}, {"workers", "0"},
		{"workers", "-1"}, {"retry", "on"}, {"auth_type", "ldap"}, {"auth_type", "reject"}, {"pool_mode", ""},
		{"retry_hold_max", "1K"}, {"retry_hold_max", "1ms"}, {"server_lifetime", "1m"},
		{"server_lifetime", "1sec"}, {"listen_port", "1k"},
		{"on_marked_down", "off"}, {"on_marked_down", "shutdown"},
		{"max_node_logins", "-1"}, {"slowstart", "1m"},
		{"unix_socket_mode", ""}, {"unix_socket_mode", "0778"}, {"unix_socket_mode", "01777"},
		{"unix_socket_mode", "0x1f"}, {"unix_socket_mode", "-1"}, {"unix_socket_mode", "700 "},
		{"unix_socket_mode", "7777777777777777777777777"}, {"unix_socket_mode", "u=rw"},
	};
	const struct key *k;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		k = key_find(KEY_GLOBAL, cases[i].name);
		assert_non_null(k);
		expect(k, cases[i].text, 0);
		assert_int_equal(*(int64_t *)(void *)((char *)&base + k->offset), cases[i].value);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		k = key_find(KEY_GLOBAL, bad[i][0]);
		assert_non_null(k);
		assert_int_equal(key_set(k, &base, bad[i][1], &e), -1);
		assert_non_null(strstr(e.text, "allowed:") ? e.text : strstr(e.text, "auto"));
	}
}

/* --- SHOW CONFIG ------------------------------------------------------------ */

struct rows {
	char text[8192];
	char last[64];
	size_t len;
	int n;
	int not_default;
};

static void take_row(void *arg, const char *key, const char *value, const char *def,
		     bool reloadable)
{
	struct rows *r = arg;

	(void)reloadable;
	assert_true(strcmp(r->last, key) < 0);
	snprintf(r->last, sizeof(r->last), "%s", key);
	r->not_default += strcmp(value, def) != 0;
	r->n++;
	r->len += (size_t)snprintf(r->text + r->len, sizeof(r->text) - r->len, "%s = %s\n", key,
				   value);
	assert_true(r->len < sizeof(r->text));
}

/* What is shown can be written to a file, and means the same there. */
static void round_trip(const char *text, int not_default)
{
	static struct rows one, two;
	static char again[9000];
	struct conf *c = load(text);

	memset(&one, 0, sizeof(one));
	memset(&two, 0, sizeof(two));
	conf_each(c, take_row, &one);
	conf_drop(c);
	assert_true(one.n > 50);
	assert_int_equal(one.not_default, not_default);
	snprintf(again, sizeof(again), "[pgweir]\n%s[databases]\n* = host=127.0.0.1\n", one.text);
	c = load(again);
	conf_each(c, take_row, &two);
	conf_drop(c);
	assert_string_equal(one.text, two.text);
}

static void test_round_trip(void **state)
{
	(void)state;
	round_trip(BASE, 1);
	round_trip(BASE "[pgweir]\nretry_hold_max = 1500\nretry_mem_total = 3G\n"
			"server_lifetime = 1.000001\nretry_backoff_max = 250us\n"
			"retry_backoff_base = 1us\nworkers = 3\ntcp_keepalive = off\n"
			"load_balance_hosts = RANDOM\nuser = a ; b\n"
			"on_marked_down = none\nmax_standby_lag = 7\nzone = eu west\n"
			"health_check_http = https://8080/up\n", 14);
}

static void take_password(void *arg, const char *key, const char *value, const char *def,
			  bool reloadable)
{
	(void)def;
	(void)reloadable;
	assert_null(strstr(value, "SECRET"));
	if (strcmp(key, "health_check_password") == 0)
		*(int *)arg += strcmp(value, "********") == 0;
}

static void test_show_hides(void **state)
{
	struct conf *c = load(BASE "[pgweir]\nhealth_check_password = SECRET\n");
	int hidden = 0;

	(void)state;
	assert_string_equal(c->g.health_check_password, "SECRET");
	conf_each(c, take_password, &hidden);
	assert_int_equal(hidden, 1);
	conf_drop(c);
}

static void test_manual(void **state)
{
	char *text = NULL, want[100], *p;
	const struct key *k;
	size_t len = 0, i;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_non_null(f);
	conf_manual(f);
	fclose(f);
	for (i = 0; (k = key_row(i)); i++) {
		snprintf(want, sizeof(want), ".TP\n.B %s\n", k->name);
		assert_non_null(strstr(text, want));
	}
	/* No line of ours becomes a request by accident. */
	for (p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (*p == '.' && !strchr("TSPnRfBIb", p[1]))
			fail_msg("odd request: %.20s", p);
	assert_null(strstr(text, "\n'"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),     cmocka_unit_test(test_words),
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_show_hides),
		cmocka_unit_test(test_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
