/* proxy/console/show.c - see show.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/show.h"

#include <stdio.h>
#include <string.h>

#include "conf/version.h"

static uint64_t sum(const struct shared *sh, size_t offset)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < sh->hall_n; i++)
		n += atomic_load_explicit((const _Atomic uint64_t *)(const void *)((const char *)&sh->halls[i].stats +
									     offset),
					  memory_order_relaxed);
	return n;
}

static void config_row(void *arg, const char *key, const char *value, const char *def,
		       bool reloadable)
{
	struct rows *r = arg;

	rows_row(r);
	rows_text(r, key);
	rows_text(r, value);
	rows_text(r, def);
	rows_text(r, reloadable ? "yes" : "no");
	rows_end_row(r);
}

static void show_config(struct task *t)
{
	conf_each(t->c->h->snap->conf, config_row, &t->rows);
	task_done(t);
}

static void show_version(struct task *t)
{
	rows_row(&t->rows);
	rows_text(&t->rows, "pgweir " PGWEIR_VERSION);
	rows_end_row(&t->rows);
	task_done(t);
}

struct pool_sum {
	int cl, waiting, busy, idle, dialling, cleaning;
	uint64_t oldest;
};

static void pool_row(void *arg, struct hub *hub)
{
	struct rows *r = arg;
	struct pool_sum s = { 0 };
	uint64_t now = clock_mono_us(), wait;
	unsigned i;

	for (i = 0; i < hub->worker_n; i++) {
		struct hub_side *d = &hub->side[i];
		uint64_t t = atomic_load(&d->oldest);

		s.cl += atomic_load(&d->clients);
		s.waiting += atomic_load(&d->waiting);
		s.busy += atomic_load(&d->busy);
		s.idle += atomic_load(&d->idle);
		s.dialling += atomic_load(&d->dialling);
		s.cleaning += atomic_load(&d->cleaning);
		if (t && (!s.oldest || t < s.oldest))
			s.oldest = t;
	}
	wait = s.oldest && now > s.oldest ? now - s.oldest : 0;
	rows_row(r);
	rows_text(r, hub->db);
	rows_text(r, hub->user);
	rows_uint(r, (uint64_t)(s.cl - s.waiting));
	rows_uint(r, (uint64_t)s.waiting);
	rows_uint(r, (uint64_t)s.busy);
	rows_uint(r, (uint64_t)s.idle);
	rows_uint(r, (uint64_t)s.dialling);
	rows_uint(r, (uint64_t)s.cleaning);
	rows_uint(r, wait / 1000000);
	rows_uint(r, wait % 1000000);
	rows_uint(r, (uint64_t)atomic_load(&hub->limit.used));
	rows_uint(r, (uint64_t)atomic_load(&hub->limit.max));
	rows_uint(r, (uint64_t)atomic_load(&hub->pins.used));
	rows_uint(r, (uint64_t)atomic_load(&hub->pins.max));
	rows_end_row(r);
}

static void show_pools(struct task *t)
{
	hubs_each(&t->c->h->sh->hubs, pool_row, &t->rows);
	task_done(t);
}

/* Counters of struct stats: those about retries, or the others. */
static void counters(struct task *t, bool retries)
{
	static const struct {
		const char *name, *help;
		size_t at;
	} row[] = {
#define X(name, help) { #name, help, offsetof(struct stats, name) },
		STATS_LIST(X)
#undef X
	};
	struct rows *r = &t->rows;
	size_t i;

	for (i = 0; i < sizeof(row) / sizeof(*row); i++) {
		bool is_retry = strncmp(row[i].name, "retr", 4) == 0 || strncmp(row[i].name, "replay", 6) == 0 ||
				strncmp(row[i].name, "refused_", 8) == 0;

		if (is_retry != retries)
			continue;
		rows_row(r);
		rows_text(r, row[i].name);
		rows_uint(r, sum(t->c->h->sh, row[i].at));
		rows_text(r, row[i].help);
		rows_end_row(r);
	}
	task_done(t);
}

static void show_counters(struct task *t)
{
	counters(t, false);
}

static void show_retries(struct task *t)
{
	counters(t, true);
}

/* One fingerprint, in all workers; of a worker's own only the first one has it. */
static void mismatch_row(struct shared *sh, struct rows *r, unsigned hall, unsigned at)
{
	const struct mismatch *m = &sh->halls[hall].mismatches.row[at];
	uint64_t print = atomic_load(&m->fingerprint), n = atomic_load(&m->count);
	unsigned i, k;
	char text[24];

	for (i = 0; i < sh->hall_n; i++)
		for (k = 0; i != hall && k <= MISMATCHES_MAX; k++) {
			const struct mismatch *o = &sh->halls[i].mismatches.row[k];

			if (atomic_load(&o->fingerprint) != print || (!print && k != MISMATCHES_MAX))
				continue;
			if (i < hall)
				return;
			n += atomic_load(&o->count);
		}
	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)print);
	rows_row(r);
	rows_text(r, print ? text : "others");
	rows_uint(r, atomic_load(&m->unit));
	rows_uint(r, n);
	rows_end_row(r);
}

static void show_mismatches(struct task *t)
{
	struct shared *sh = t->c->h->sh;
	unsigned i, k;

	for (i = 0; i < sh->hall_n; i++)
		for (k = 0; k <= MISMATCHES_MAX; k++)
			if (atomic_load(&sh->halls[i].mismatches.row[k].count))
				mismatch_row(sh, &t->rows, i, k);
	task_done(t);
}

static void count_pool(void *arg, struct hub *hub)
{
	int *n = arg;
	unsigned i;

	n[0]++;
	n[2] += atomic_load(&hub->limit.used);
	for (i = 0; i < hub->worker_n; i++)
		n[1] += atomic_load(&hub->side[i].waiting);
}

static void list_row(struct rows *r, const char *name, uint64_t v)
{
	rows_row(r);
	rows_text(r, name);
	rows_uint(r, v);
	rows_end_row(r);
}

static void show_lists(struct task *t)
{
	struct client *c = t->c;
	struct shared *sh = c->h->sh;
	struct rows *r = &t->rows;
	int n[3] = { 0 };

	hubs_each(&sh->hubs, count_pool, n);
	list_row(r, "databases", c->h->snap->conf->db_n + (c->h->snap->conf->fallback ? 1 : 0));
	list_row(r, "users", c->h->snap->conf->user_n);
	list_row(r, "pools", (uint64_t)n[0]);
	list_row(r, "clients", (uint64_t)atomic_load(&sh->clients.used));
	list_row(r, "login_clients", door_n(&sh->door));
	list_row(r, "waiting_clients", (uint64_t)n[1]);
	list_row(r, "servers", (uint64_t)n[2]);
	list_row(r, "workers", sh->hall_n);
	list_row(r, "held_bytes", (uint64_t)atomic_load(&sh->held_bytes));
	task_done(t);
}

static const struct column config_columns[] = { { "key", ROWS_TEXT },
						{ "value", ROWS_TEXT },
						{ "default", ROWS_TEXT },
						{ "changeable", ROWS_TEXT },
						{ NULL, 0 } };
static const struct column version_columns[] = { { "version", ROWS_TEXT }, { NULL, 0 } };
static const struct column pool_columns[] = {
	{ "database", ROWS_TEXT },  { "user", ROWS_TEXT },	 { "cl_active", ROWS_INT8 },
	{ "cl_waiting", ROWS_INT8 }, { "sv_active", ROWS_INT8 },   { "sv_idle", ROWS_INT8 },
	{ "sv_login", ROWS_INT8 },   { "sv_cleaning", ROWS_INT8 }, { "maxwait", ROWS_INT8 },
	{ "maxwait_us", ROWS_INT8 }, { "sv_total", ROWS_INT8 },	 { "pool_size", ROWS_INT8 },
	{ "sv_pinned", ROWS_INT8 },  { "max_pinned", ROWS_INT8 },  { NULL, 0 },
};
static const struct column counter_columns[] = { { "name", ROWS_TEXT },
						 { "value", ROWS_INT8 },
						 { "meaning", ROWS_TEXT },
						 { NULL, 0 } };
static const struct column mismatch_columns[] = { { "fingerprint", ROWS_TEXT },
						  { "unit", ROWS_INT8 },
						  { "mismatches", ROWS_INT8 },
						  { NULL, 0 } };
static const struct column list_columns[] = { { "list", ROWS_TEXT }, { "items", ROWS_INT8 },
					      { NULL, 0 } };

const struct command show_commands[] = {
	{ "SHOW CONFIG", "", "SHOW CONFIG", "settings in force", false, config_columns, "SHOW",
	  show_config },
	{ "SHOW VERSION", "", "SHOW VERSION", "of pgweir", false, version_columns, "SHOW",
	  show_version },
	{ "SHOW POOLS", "", "SHOW POOLS", "clients and servers of each database and user", false,
	  pool_columns, "SHOW", show_pools },
	{ "SHOW LISTS", "", "SHOW LISTS", "how many there are of what", false, list_columns, "SHOW",
	  show_lists },
	{ "SHOW COUNTERS", "", "SHOW COUNTERS", "counters of what happened, since the start", false,
	  counter_columns, "SHOW", show_counters },
	{ "SHOW RETRIES", "", "SHOW RETRIES", "counters of retries and replays", false,
	  counter_columns, "SHOW", show_retries },
	{ "SHOW MISMATCHES", "", "SHOW MISMATCHES", "replays that came out otherwise", false,
	  mismatch_columns, "SHOW", show_mismatches },
	{ 0 },
};
