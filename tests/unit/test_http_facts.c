/* tests/unit/test_http_facts.c - proxy/http/facts, healthy, metrics, status: what is said of
 * a moment that is made up, with more names than are told.
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

#include "http/facts.h"
#include "http/healthy.h"
#include "http/metrics.h"
#include "http/status.h"

struct world {
	struct targets ts;
	struct shared sh;
	struct snapshot *snap;
};

static void begin(struct world *w, const char *databases)
{
	struct conf_over over = { .listen_port = -1, .numeric_hosts = true };
	size_t cap = strlen(databases) + 200;
	char *text = malloc(cap);
	struct conf *c = NULL;
	struct err e;

	assert_non_null(text);
	memset(w, 0, sizeof(*w));
	snprintf(text, cap, "[pgweir]\nauth_type=trust\n[databases]\n%s", databases);
	if (conf_load_mem("t.ini", text, strlen(text), &over, &c, &e))
		fail_msg("%s", e.text);
	free(text);
	w->snap = snapshot_make(c, NULL, &w->ts, NULL, NULL);
	assert_non_null(w->snap);
	assert_int_equal(hubs_init(&w->sh.hubs, 2), 0);
	assert_int_equal(meters_init(&w->sh.meters, 2, 1), 0);
	assert_int_equal(door_init(&w->sh.door), 0);
	limit_init(&w->sh.clients, 100);
}

static void end(struct world *w)
{
	hubs_free(&w->sh.hubs);
	meters_free(&w->sh.meters);
	door_free(&w->sh.door);
	snapshot_drop(w->snap);
	targets_sweep(&w->ts, NULL, NULL);
	assert_null(w->ts.head);
}

static struct target *node(struct world *w, const char *name)
{
	struct target *t;

	for (t = w->ts.head; t; t = t->next)
		if (strcmp(t->addr.name, name) == 0)
			return t;
	fail_msg("no node %s", name);
	return NULL;
}

static void is(struct world *w, const char *name, enum target_state s, enum target_role role)
{
	struct target *t = node(w, name);

	atomic_store(&t->state, (int)s);
	atomic_store(&t->role, (int)role);
	atomic_store(&t->read_only, role == ROLE_STANDBY);
	atomic_store(&t->probe_us, 900);
}

static void keep(void *arg, const char *text)
{
	char *all = arg;

	(void)snprintf(all + strlen(all), 4000 - strlen(all), "%s;", text);
}

static void says(struct world *w, enum health_word want, bool ready, const char *reasons)
{
	char all[4000] = "";
	struct facts f;

	assert_int_equal(facts_read(&f, &w->sh, w->snap), 0);
	assert_int_equal(health_word_of(&f, 500000, keep, all), want);
	assert_string_equal(all, reasons);
	assert_int_equal(health_word_of(&f, 500000, NULL, NULL), want);
	assert_int_equal(health_not_ready(&f, RUNNING) == NULL, ready);
	assert_string_equal(health_not_ready(&f, RUNNING_PAUSED), "paused");
	assert_string_equal(health_not_ready(&f, RUNNING_DRAINING), "draining");
	assert_string_equal(health_not_ready(&f, RUNNING_STOPPING), "stopping");
	facts_free(&f);
}

#define A "10.0.0.1:5432"
#define B "10.0.0.2:5432"

static void test_words(void **state)
{
	struct world w;

	(void)state;
	begin(&w, "any = host=10.0.0.1,10.0.0.2\nrw = host=10.0.0.1,10.0.0.2 target_session_attrs=primary\n");
	says(&w, UNHEALTHY, false,
	     "database any has no live node of the role that it asks for;"
	     "database rw has no live node of the role that it asks for;"
	     "node " A " has not been checked yet;node " B " has not been checked yet;");
	is(&w, A, TARGET_UP, ROLE_PRIMARY);
	says(&w, DEGRADED, true, "node " B " has not been checked yet;");
	is(&w, B, TARGET_UP, ROLE_STANDBY);
	says(&w, HEALTHY, true, "");
	is(&w, B, TARGET_PROBATION, ROLE_STANDBY); /* in doubt is still live */
	says(&w, HEALTHY, true, "");
	is(&w, B, TARGET_DRAINING, ROLE_STANDBY);
	says(&w, DEGRADED, true, "node " B " is draining;");
	is(&w, B, TARGET_UP, ROLE_STANDBY);
	atomic_store(&node(&w, B)->lagging, 1);
	says(&w, DEGRADED, true, "node " B " is lagging;");
	is(&w, A, TARGET_DOWN, ROLE_PRIMARY);
	says(&w, UNHEALTHY, false,
	     "database any has no live node of the role that it asks for;"
	     "database rw has no live node of the role that it asks for;"
	     "node " A " is down;node " B " is lagging;");
	atomic_store(&node(&w, B)->lagging, 0);
	says(&w, DEGRADED, true,
	     "database rw has no live node of the role that it asks for;node " A " is down;");
	/* left out on purpose; and slow at the edge */
	is(&w, A, TARGET_UP, ROLE_PRIMARY);
	atomic_store(&node(&w, B)->excluded, 1);
	is(&w, B, TARGET_DOWN, ROLE_STANDBY);
	says(&w, HEALTHY, true, "");
	atomic_store(&node(&w, A)->probe_us, 500000);
	says(&w, HEALTHY, true, "");
	atomic_store(&node(&w, A)->probe_us, 501000);
	says(&w, DEGRADED, true, "the last check of node " A " took 501 ms;");
	end(&w);
	begin(&w, "x = host=no.such.name\n");
	says(&w, UNHEALTHY, false,
	     "database x has no live node of the role that it asks for;node no.such.name:5432 is unresolved;");
	end(&w);
}

static void test_wait(void **state)
{
	struct hub_max max = { 0 };
	struct world w;
	struct hub *h;
	char all[4000] = "";
	struct facts f;

	(void)state;
	begin(&w, "a = host=10.0.0.1\n");
	is(&w, A, TARGET_UP, ROLE_PRIMARY);
	h = hubs_get(&w.sh.hubs, "a", "u", false, "u", &max);
	assert_non_null(h);
	atomic_store(&h->side[0].clients, 3);
	atomic_store(&h->side[1].clients, 2);
	atomic_store(&h->side[1].waiting, 2);
	atomic_store(&h->side[0].oldest, clock_mono_us() - 100000);
	atomic_store(&h->side[1].oldest, clock_mono_us() - 700000);
	assert_int_equal(facts_read(&f, &w.sh, w.snap), 0);
	assert_int_equal(health_word_of(&f, 500000, keep, all), DEGRADED);
	assert_memory_equal(all, "a client has waited 7", 21);
	assert_int_equal(health_word_of(&f, 5000000, NULL, NULL), HEALTHY);
	assert_int_equal(health_word_of(&f, 0, NULL, NULL), HEALTHY);
	assert_int_equal(f.all.clients, 5);
	assert_int_equal(f.all.waiting, 2);
	assert_int_equal(f.pool[0].clients, 5);
	facts_free(&f);
	hubs_put(&w.sh.hubs, h);
	end(&w);
}

/* ---- names without end ---- */

#define HUBS (FACTS_POOLS + 25u)

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* No sample is there twice, no family is in two pieces; how many lines begin so. */
static size_t look(struct out *o, const char *with)
{
	size_t n = 0, cap = 1, found = 0, i;
	char **line, *p, *save = NULL;

	out_bytes(o, "", 1);
	assert_false(o->bad);
	for (p = o->p; *p; p++)
		cap += *p == '\n';
	line = calloc(cap, sizeof(*line));
	assert_non_null(line);
	for (p = strtok_r(o->p, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		found += strncmp(p, with, strlen(with)) == 0;
		line[n++] = p;
		if (*p != '#' || strncmp(p, "# TYPE", 6) == 0) {
			char *cut = strrchr(p, ' ');

			assert_non_null(cut);
			*cut = 0;
		}
	}
	qsort(line, n, sizeof(*line), by_text);
	for (i = 1; i < n; i++)
		if (strcmp(line[i], line[i - 1]) == 0)
			fail_msg("twice: %s", line[i]);
	free(line);
	out_free(o);
	return found;
}

static void write_metrics(struct out *o, struct world *w, const struct facts *f, bool openmetrics)
{
	struct measured of[METER_KINDS] = { { 0 } };
	struct metrics m = { .openmetrics = openmetrics, .f = f, .workers = 2 };
	struct totals t = { 0 };

	assert_int_equal(measured_read(&of[METER_DB], &w->sh.meters, METER_DB, 2), 0);
	assert_int_equal(measured_read(&of[METER_NODE], &w->sh.meters, METER_NODE, 2), 0);
	m.t = &t;
	m.of[METER_DB] = &of[METER_DB];
	m.of[METER_NODE] = &of[METER_NODE];
	metrics_write(o, &m);
	measured_free(&of[METER_DB]);
	measured_free(&of[METER_NODE]);
}

static void test_many(void **state)
{
	struct hub_max max = { .pool = 7 };
	struct hub *hub[HUBS];
	struct world w;
	struct out o = { 0 };
	struct facts f;
	char name[300];
	size_t i, cap = 60 * (FACTS_DBS + 30);
	char *text = malloc(cap);
	size_t len = 0;

	(void)state;
	assert_non_null(text);
	for (i = 0; i < FACTS_DBS + 20; i++)
		len += (size_t)snprintf(text + len, cap - len, "d%04zu = host=10.1.%zu.%zu\n", i, i / 200,
					i % 200 + 1);
	begin(&w, text);
	free(text);
	for (i = 0; i < HUBS; i++) {
		/* a long name is none that is told; pgweir's own pool has the name of another */
		(void)snprintf(name, sizeof(name), i == 3 ? "%0200zu" : "p%zu", i == 5 ? 4 : i);
		hub[i] = hubs_get(&w.sh.hubs, name, "u", i == 5, "u", &max);
		assert_non_null(hub[i]);
		atomic_store(&hub[i]->side[0].idle, 1);
		(void)limit_take(&hub[i]->limit);
		(void)meters_get(&w.sh.meters, METER_DB, name);
	}
	assert_int_equal(facts_read(&f, &w.sh, w.snap), 0);
	assert_int_equal(f.pools, HUBS);
	assert_int_equal(f.pool_n, FACTS_POOLS + 1);
	assert_string_equal(f.pool[FACTS_POOLS].db, FACTS_OTHERS);
	assert_int_equal(f.pool[FACTS_POOLS].idle, 25);
	assert_int_equal(f.all.idle, HUBS);
	assert_int_equal(f.all.servers, HUBS);
	assert_int_equal(f.node_n, FACTS_NODES);
	assert_int_equal(f.node_left, 20);
	assert_int_equal(f.db_n, FACTS_DBS);
	assert_int_equal(f.db_left, 20);
	write_metrics(&o, &w, &f, true);
	assert_int_equal(look(&o, "pgweir_pool_size{"), FACTS_POOLS + 1);
	write_metrics(&o, &w, &f, false);
	assert_int_equal(look(&o, "pgweir_node_live{"), FACTS_NODES);
	write_metrics(&o, &w, &f, false);
	/* 256, the rest, the lobby */
	assert_int_equal(look(&o, "pgweir_database_queries_total{"), METERS_MAX + 2);
	/* reasons are few, the one for the rest among them or not */
	health_json(&o, &f, RUNNING, 0);
	assert_false(o.bad);
	out_free(&o);
	facts_free(&f);
	for (i = 0; i < HUBS; i++)
		hubs_put(&w.sh.hubs, hub[i]);
	end(&w);
}

/* ---- the last five minutes ---- */

static unsigned points(const struct status *s, const struct facts *f, uint64_t after)
{
	struct totals t = { 0 };
	struct out o = { 0 };
	unsigned n = 0;
	char *p;

	status_json(&o, s, f, &t, RUNNING, 0, after);
	out_bytes(&o, "", 1);
	assert_false(o.bad);
	p = strstr(o.p, "\"history\":[");
	assert_non_null(p);
	for (p += 11; *p && *p != '}'; p++)
		n += *p == '[';
	out_free(&o);
	return n;
}

static void test_history(void **state)
{
	struct status *s = calloc(1, sizeof(*s));
	uint64_t now = 5000000;
	struct world w;
	struct facts f;
	unsigned i;

	(void)state;
	assert_non_null(s);
	begin(&w, "a = host=10.0.0.1\n");
	assert_int_equal(facts_read(&f, &w.sh, w.snap), 0);
	status_init(s, &w.sh, now);
	assert_int_equal(points(s, &f, 0), 0);
	for (i = 1; i <= STATUS_SECONDS + 7; i++) {
		status_tick(s, &w.sh, now += 1000000);
		assert_int_equal(points(s, &f, 0), i < STATUS_SECONDS ? i : STATUS_SECONDS);
		assert_int_equal(points(s, &f, i - 1), 1);
		assert_int_equal(points(s, &f, i), 0);
	}
	assert_int_equal(points(s, &f, 3), STATUS_SECONDS); /* that is gone */
	assert_int_equal(points(s, &f, UINT64_MAX), STATUS_SECONDS);
	facts_free(&f);
	end(&w);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
