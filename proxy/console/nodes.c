/* proxy/console/nodes.c - see nodes.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/nodes.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Has this target been shown in an entry before (d, i)? */
static bool seen_before(const struct snapshot *s, size_t d, size_t i, const struct target *t)
{
	size_t k, j;

	for (k = 0; k <= d; k++) {
		const struct snapshot_db *db = k < s->conf->db_n ? &s->dbs[k] : &s->fallback;

		for (j = 0; j < db->node_n && (k < d || j < i); j++)
			if (db->nodes[j].t == t)
				return true;
	}
	return false;
}

/* When it was, on the clock on the wall. */
static void when(struct rows *r, uint64_t us)
{
	time_t s = (time_t)((clock_wall_us(NULL) - (int64_t)(clock_mono_us() - us)) / 1000000);
	char text[64];
	struct tm tm;

	if (us && localtime_r(&s, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm))
		rows_text(r, text);
	else
		rows_null(r);
}

/* As the first entry that has it says. */
static void one_node_row(void *arg, const struct snapshot_db *db, const struct pick_node *n)
{
	const struct conf_host *h = &db->conf->host_conf[n->host];
	char note[TARGET_NOTE];
	struct target *t = n->t;
	struct rows *r = arg;
	uint64_t noted;

	rows_row(r);
	rows_text(r, t->addr.name);
	rows_text(r, target_shown(t));
	rows_text(r, target_role_name((enum target_role)atomic_load(&t->role)));
	rows_text(r, atomic_load(&t->read_only) ? "yes" : "no");
	rows_uint(r, (uint64_t)atomic_load(&t->conns));
	rows_uint(r, atomic_load(&t->probe_us));
	rows_uint(r, atomic_load(&t->fails_total));
	rows_uint(r, atomic_load(&t->lag_us));
	rows_uint(r, (uint64_t)atomic_load(&t->dialling));
	rows_text(r, h->zone);
	rows_text(r, n->near ? "yes" : "no");
	rows_uint(r, n->weight);
	rows_uint(r, atomic_load(&t->login_us));
	noted = target_noted(t, note);
	rows_text(r, noted ? note : NULL);
	when(r, noted);
	rows_end_row(r);
}

/* A name that has no address. */
static void missing_row(struct rows *r, const char *name, const char *why)
{
	int i;

	rows_row(r);
	rows_text(r, name);
	rows_text(r, "unresolved");
	rows_text(r, target_role_name(ROLE_UNKNOWN));
	rows_text(r, "no");
	for (i = 0; i < 5; i++)
		rows_uint(r, 0);
	for (i = 0; i < 4; i++)
		rows_null(r);
	rows_text(r, why);
	rows_null(r);
	rows_end_row(r);
}

static bool missing_before(const struct snapshot *s, size_t d, size_t i, const char *name)
{
	size_t k, j;

	for (k = 0; k <= d; k++) {
		const struct snapshot_db *db = k < s->conf->db_n ? &s->dbs[k] : &s->fallback;

		for (j = 0; j < db->missing_n && (k < d || j < i); j++)
			if (strcmp(db->missing[j].host->name, name) == 0)
				return true;
	}
	return false;
}

static void missing_rows(const struct snapshot *s, struct rows *r)
{
	size_t d, i;

	for (d = 0; d <= s->conf->db_n; d++) {
		const struct snapshot_db *db = d < s->conf->db_n ? &s->dbs[d] : &s->fallback;

		for (i = 0; i < db->missing_n; i++)
			if (!missing_before(s, d, i, db->missing[i].host->name))
				missing_row(r, db->missing[i].host->name, db->missing[i].text);
	}
}

/* Each target of the snapshot once. */
static void each_node(const struct snapshot *s,
		      void (*fn)(void *arg, const struct snapshot_db *db, const struct pick_node *n),
		      void *arg)
{
	size_t d, i;

	for (d = 0; d <= s->conf->db_n; d++) {
		const struct snapshot_db *db = d < s->conf->db_n ? &s->dbs[d] : &s->fallback;

		for (i = 0; i < db->node_n; i++)
			if (!seen_before(s, d, i, db->nodes[i].t))
				fn(arg, db, &db->nodes[i]);
	}
}

static void show_nodes(struct task *t)
{
	each_node(t->c->h->snap, one_node_row, &t->rows);
	missing_rows(t->c->h->snap, &t->rows);
	task_done(t);
}

/* ---- orders ---- */

/* An order on its way to the nodes of this name, NULL: to all. */
struct errand {
	struct client *c;
	const char *name;
	enum node_order what;
	unsigned found;
	bool failed;
	char known[360];         /* names, for who gave another; three dots at the end: more */
};

static void add_known(struct errand *e, const char *name)
{
	static const char more[] = ", ...";
	size_t n = strlen(e->known), room = sizeof(e->known) - n, k = strlen(name);

	if (n >= sizeof(more) && strcmp(e->known + n + 1 - sizeof(more), more) == 0)
		return;
	(void)snprintf(e->known + n, room, "%s%s", n ? ", " : "",
		       k + 2 + sizeof(more) > room ? "..." : name);
}

static void run_errand(void *arg, const struct snapshot_db *db, const struct pick_node *n)
{
	struct target *t = n->t;
	struct errand *e = arg;
	struct shared *sh = e->c->h->sh;

	(void)db;
	add_known(e, t->addr.name);
	if (e->name && strcmp(e->name, t->addr.name) != 0)
		return;
	e->found++;
	e->failed |= !sh->node_order(sh, t, e->what);
}

/* Of the node that the argument names, or of all. */
static void run_order(struct task *t, enum node_order what)
{
	struct errand e = { .c = t->c, .name = task_arg(t, 0), .what = what };
	char text[320];

	each_node(t->c->h->snap, run_errand, &e);
	if (!e.found) {
		(void)snprintf(text, sizeof(text), "there is no node \"%.255s\"", e.name ? e.name : "");
		task_fail(t, "42704", text, e.known, NULL);
	} else if (e.failed) {
		task_fail(t, "53200", "out of memory", NULL, NULL);
	} else {
		task_done(t);
	}
}

static void exclude(struct task *t)
{
	run_order(t, ORDER_EXCLUDE);
}

static void include(struct task *t)
{
	run_order(t, ORDER_INCLUDE);
}

static void probe(struct task *t)
{
	run_order(t, ORDER_PROBE);
}

static const struct column columns[] = {
	{ "node", ROWS_TEXT },	   { "state", ROWS_TEXT },   { "role", ROWS_TEXT },
	{ "read_only", ROWS_TEXT }, { "conns", ROWS_INT8 },   { "probe_us", ROWS_INT8 },
	{ "fails", ROWS_INT8 },	   { "lag_us", ROWS_INT8 },  { "dialling", ROWS_INT8 },
	{ "zone", ROWS_TEXT },	   { "near", ROWS_TEXT },    { "weight", ROWS_INT4 },
	{ "login_us", ROWS_INT8 },  { "last_error", ROWS_TEXT }, { "last_error_time", ROWS_TEXT },
	{ NULL, 0 },
};

const struct command node_commands[] = {
	{ "SHOW NODES", "", "SHOW NODES", "the nodes and what is known of them", false, columns,
	  "SHOW", show_nodes },
	{ "EXCLUDE NODE", "q", "EXCLUDE NODE 'NAME'", "no connections to this node until INCLUDE",
	  true, NULL, "EXCLUDE", exclude },
	{ "INCLUDE NODE", "q", "INCLUDE NODE 'NAME'", "undoes EXCLUDE", true, NULL, "INCLUDE",
	  include },
	{ "UNDRAIN NODE", "q", "UNDRAIN NODE 'NAME'", "undoes DRAIN, as INCLUDE NODE", true, NULL,
	  "UNDRAIN", include },
	{ "PROBE", "", "PROBE [NODE 'NAME']", "checks this node, or all, now", true, NULL, "PROBE",
	  probe },
	{ "PROBE NODE", "q", "PROBE [NODE 'NAME']", NULL, true, NULL, "PROBE", probe },
	{ 0 },
};
