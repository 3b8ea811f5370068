/* tests/unit/test_snapshot.c - hosts to nodes, and who holds them.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include <cmocka.h>

#include "session/snapshot.h"

/* What DNS says, to the tests. */
struct fake {
	const char *host[4];
	struct ip_set set[4];
	const char *why;
};

static const struct ip_set *look_up(void *arg, const char *host, const char **why)
{
	struct fake *f = arg;
	unsigned i;

	*why = f->why;
	for (i = 0; i < 4 && f->host[i]; i++)
		if (strcmp(f->host[i], host) == 0)
			return &f->set[i];
	return NULL;
}

static void is(struct fake *f, unsigned i, const char *host, const char *const *ips)
{
	uint8_t b[16];

	f->host[i] = host;
	f->set[i].n = 0;
	for (; *ips; ips++)
		if (inet_pton(AF_INET, *ips, b) == 1)
			ip_set_add(&f->set[i], IP_4, b);
		else if (inet_pton(AF_INET6, *ips, b) == 1)
			ip_set_add(&f->set[i], IP_6, b);
		else
			fail_msg("%s is no address", *ips);
}

#define IPS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct snapshot *load(const char *hosts, struct targets *ts, struct fake *f)
{
	struct conf_over over = {.listen_port = -1, .numeric_hosts = true};
	struct conf *c = NULL;
	char text[500];
	struct err e;

	snprintf(text, sizeof(text), "[pgweir]\nauth_type=trust\n[databases]\na = host=%s\n", hosts);
	if (conf_load_mem("t.ini", text, strlen(text), &over, &c, &e))
		fail_msg("%s", e.text);
	return snapshot_make(c, ts, f ? look_up : NULL, f);
}

static void names_are(const struct snapshot *s, const char *want)
{
	char text[500] = "";
	size_t len = 0, i;

	for (i = 0; i < s->dbs[0].node_n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
					s->dbs[0].nodes[i].t->addr.name);
	assert_string_equal(text, want);
}

static unsigned count(const struct targets *ts)
{
	const struct target *t;
	unsigned n = 0;

	for (t = ts->head; t; t = t->next)
		n++;
	return n;
}

static void test_mapping(void **state)
{
	struct targets ts = {0};
	struct fake f = {.why = "name does not exist"};
	struct snapshot *s;

	(void)state;
	is(&f, 0, "db", IPS("10.0.0.2", "10.0.0.1", "::1"));
	is(&f, 1, "other", IPS("10.0.0.2", "10.0.0.3"));
	is(&f, 2, "localhost", IPS("127.0.0.1", "::1"));
	s = load("10.0.0.9,db,10.0.0.1,other,10.0.0.9,/run,localhost,nowhere port=5", &ts, &f);
	names_are(s, "10.0.0.9:5 db:5/10.0.0.1 db:5/10.0.0.2 db:5/::1 other:5/10.0.0.3 /run:5 "
		     "localhost:5");
	assert_int_equal(s->dbs[0].missing_n, 1);
	assert_string_equal(s->dbs[0].missing[0].host->host, "nowhere");
	assert_string_equal(s->dbs[0].missing[0].text,
			    "Host name \"nowhere\" cannot be resolved: name does not exist.");
	snapshot_drop(s);
	targets_sweep(&ts, NULL, NULL);
	assert_null(ts.head);
	/* no family but the other: the first of what there is */
	is(&f, 2, "localhost", IPS("::2", "::1"));
	s = load("localhost", &ts, &f);
	assert_int_equal(s->dbs[0].node_n, 1);
	assert_int_equal(s->dbs[0].nodes[0].t->addr.sock.sa.sa_family, AF_INET6);
	snapshot_drop(s);
	s = load("db,localhost", &ts, NULL);
	assert_int_equal(s->dbs[0].node_n, 0);
	assert_int_equal(s->dbs[0].missing_n, 2);
	assert_non_null(strstr(s->dbs[0].missing[0].text, "no answer yet"));
	snapshot_drop(s);
	targets_sweep(&ts, NULL, NULL);
	assert_null(ts.head);
}

static void on_last(void *arg, struct target *t)
{
	(void)t;
	++*(unsigned *)arg;
}

/* The same target for an address that stays, and for one that comes back while
 * somebody holds it; what nobody holds is freed. */
static void test_holding(void **state)
{
	struct targets ts = {0};
	struct fake f = {.why = NULL};
	struct snapshot *s, *old;
	struct target *one, *two;
	unsigned gone = 0, i;

	(void)state;
	is(&f, 0, "db", IPS("10.0.0.1", "10.0.0.2"));
	old = load("db", &ts, &f);
	one = old->dbs[0].nodes[0].t;
	two = old->dbs[0].nodes[1].t;
	target_hold(two); /* a server */
	is(&f, 0, "db", IPS("10.0.0.1"));
	s = load("db", &ts, &f);
	assert_ptr_equal(s->dbs[0].nodes[0].t, one);
	targets_sweep(&ts, on_last, &gone);
	assert_int_equal(count(&ts), 2);
	snapshot_drop(old);
	targets_sweep(&ts, on_last, &gone);
	assert_int_equal(count(&ts), 2); /* the server has it yet */
	is(&f, 0, "db", IPS("10.0.0.1", "10.0.0.2"));
	old = s;
	s = load("db", &ts, &f);
	snapshot_drop(old);
	assert_ptr_equal(s->dbs[0].nodes[1].t, two);
	target_drop(two);
	targets_sweep(&ts, on_last, &gone);
	assert_int_equal(count(&ts), 2);
	for (i = 0; i < 300; i++) {
		char ip[40];

		snprintf(ip, sizeof(ip), "10.0.1.%u", i % 250);
		is(&f, 0, "db", IPS("10.0.0.1", ip));
		old = s;
		s = load("db,10.0.0.1", &ts, &f);
		snapshot_drop(old);
		targets_sweep(&ts, on_last, &gone);
		assert_int_equal(count(&ts), 2);
		assert_ptr_equal(s->dbs[0].nodes[0].t, one);
	}
	assert_int_equal(gone, 300);
	snapshot_drop(s);
	targets_sweep(&ts, NULL, NULL);
	assert_null(ts.head);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mapping),
		cmocka_unit_test(test_holding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
