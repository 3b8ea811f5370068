/* tests/unit/test_snapshot.c - hosts to nodes, and who holds them.
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
#include <unistd.h>

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
	return snapshot_make(c, NULL, ts, f ? look_up : NULL, f);
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

/* A passfile goes by the names of the configuration, not by what they stand for. */
static void test_secrets(void **state)
{
	static const char lines[] = "db:5:d:u:by name\n10.0.0.9:5:d:u:by address\n/run:5:*:u:by dir\n"
				    "10.0.0.1:*:*:*:not this\n";
	static const char *const want[] = {"by name", "by name", "by address", "by dir", NULL};
	struct targets ts = {0};
	struct fake f = {.why = NULL};
	char path[] = "/tmp/pgweir-snapshot-XXXXXX", hosts[200];
	struct snapshot *s;
	struct target *gone;
	size_t i;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, lines, strlen(lines)), strlen(lines));
	close(fd);
	is(&f, 0, "db", IPS("10.0.0.2", "10.0.0.1"));
	snprintf(hosts, sizeof(hosts), "db,10.0.0.9,/run,10.0.0.7 port=5 passfile=%s", path);
	s = load(hosts, &ts, &f);
	assert_int_equal(s->dbs[0].node_n, 5);
	for (i = 0; i < 5; i++) {
		const char *got = snapshot_secret_for(&s->dbs[0], s->dbs[0].nodes[i].t, "d", "u");

		if (!got != !want[i] || (got && strcmp(got, want[i]) != 0))
			fail_msg("node %zu has %s", i, got ? got : "nothing");
		assert_null(snapshot_secret_for(&s->dbs[0], s->dbs[0].nodes[i].t, "d", NULL));
	}
	/* one that the entry does not have (any more) goes by its own name */
	gone = s->dbs[0].nodes[0].t;
	target_hold(gone);
	snapshot_drop(s);
	snprintf(hosts, sizeof(hosts), "10.0.0.7 port=5 passfile=%s", path);
	s = load(hosts, &ts, &f);
	assert_string_equal(snapshot_secret_for(&s->dbs[0], gone, "d", "u"), "by name");
	target_drop(gone);
	snapshot_drop(s);
	targets_sweep(&ts, NULL, NULL);
	assert_null(ts.head);
	unlink(path);
}

/* ---- who is no user ---- */

#define KEY_44 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define SCRAM_9000 "SCRAM-SHA-256$9000:c2FsdHNhbHRzYWx0c2FsdA==$" KEY_44 ":" KEY_44

static struct snapshot *with_users(const char *path, int plain, int md5, int scram,
				   struct targets *ts)
{
	struct conf_over over = {.listen_port = -1, .numeric_hosts = true};
	struct conf *c = NULL;
	struct err e;
	char text[500];
	FILE *f = fopen(path, "w");
	int i;

	assert_non_null(f);
	for (i = 0; i < plain; i++)
		fprintf(f, "\"plain%d\" \"pencil\"\n", i);
	for (i = 0; i < md5; i++)
		fprintf(f, "\"md5%d\" \"md500112233445566778899aabbccddeeff\"\n", i);
	for (i = 0; i < scram; i++)
		fprintf(f, "\"scram%d\" \"" SCRAM_9000 "\"\n", i);
	fprintf(f, "\"empty\" \"\"\n");
	fclose(f);
	snprintf(text, sizeof(text), "[pgweir]\nauth_file = %s\n[databases]\na = host=127.0.0.1\n", path);
	if (conf_load_mem("t.ini", text, strlen(text), &over, &c, &e))
		fail_msg("%s", e.text);
	return snapshot_make(c, NULL, ts, NULL, NULL);
}

static void kinds_are(struct snapshot *s, enum secret_kind *kind, unsigned n, const uint8_t key[32])
{
	struct scram_secret k;
	char name[20];
	unsigned i;

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "nobody%u", i);
		kind[i] = snapshot_mock(s, name, key, &k);
		assert_int_equal(k.iterations, kind[i] == SECRET_SCRAM ? 9000 : 4096);
		assert_int_equal(k.salt_len, 16);
	}
}

/* What strangers look like: as the users do, and the same when one more comes. */
static void test_strangers(void **state)
{
	static const uint8_t key[32] = "some key of a process, 32 bytes";
	static enum secret_kind before[2000], after[2000];
	struct targets ts = {0};
	char path[] = "/tmp/test_snapshot_XXXXXX";
	int fd = mkstemp(path);
	struct snapshot *s;
	unsigned i, n[4] = {0}, changed = 0;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	s = with_users(path, 50, 25, 25, &ts);
	kinds_are(s, before, 2000, key);
	for (i = 0; i < 2000; i++)
		n[before[i]]++;
	assert_int_equal(n[SECRET_NONE], 0);
	assert_in_range(n[SECRET_PLAIN], 900, 1100);
	assert_in_range(n[SECRET_MD5], 400, 600);
	assert_in_range(n[SECRET_SCRAM], 400, 600);
	/* work is pretended for those only who look like a password in clear, and once */
	for (i = 0; i < 20; i++) {
		char name[20];

		snprintf(name, sizeof(name), "nobody%u", i);
		assert_int_equal(snapshot_secret_is_heavy(s, NULL, name, before[i]),
				 before[i] == SECRET_PLAIN);
		assert_null(snapshot_secret(s, NULL, name, before[i], key));
		assert_false(snapshot_secret_is_heavy(s, NULL, name, before[i]));
	}
	assert_true(snapshot_secret_is_heavy(s, conf_find_user(s->conf, "plain0"), "plain0", SECRET_PLAIN));
	assert_false(snapshot_secret_is_heavy(s, conf_find_user(s->conf, "scram0"), "scram0", SECRET_SCRAM));
	snapshot_drop(s);
	s = with_users(path, 51, 25, 25, &ts);
	kinds_are(s, after, 2000, key);
	for (i = 0; i < 2000; i++)
		changed += before[i] != after[i];
	assert_in_range(changed, 0, 40);
	snapshot_drop(s);
	s = with_users(path, 0, 0, 0, &ts);
	assert_int_equal(snapshot_mock(s, "x", key, &(struct scram_secret){.iterations = 0}), SECRET_PLAIN);
	snapshot_drop(s);
	targets_sweep(&ts, NULL, NULL);
	unlink(path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_mapping),
		cmocka_unit_test(test_holding),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
