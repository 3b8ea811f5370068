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

static void list_row(struct rows *r, const char *name, uint64_t v)
{
	rows_row(r);
	rows_text(r, name);
	rows_uint(r, v);
	rows_end_row(r);
}

static unsigned count_names(const struct conf *c)
{
	unsigned n = 0;
	size_t d, i;

	for (d = 0; d <= c->db_n; d++) {
		const struct conf_db *db = d < c->db_n ? &c->dbs[d] : c->fallback;

		for (i = 0; db && i < db->host_n; i++)
			n += !db->hosts[i].sock_len;
	}
	return n;
}

static void show_lists(struct task *t)
{
	struct client *c = t->c;
	struct shared *sh = c->h->sh;
	const struct conf *conf = c->h->snap->conf;
	struct rows *r = &t->rows;
	struct hub *hub = NULL;
	uint64_t pools = 0, waiting = 0, servers = 0, clients;
	unsigned i;

	while ((hub = hubs_next(&sh->hubs, hub))) {
		pools++;
		servers += (uint64_t)atomic_load(&hub->limit.used);
		for (i = 0; i < hub->worker_n; i++)
			waiting += (uint64_t)atomic_load(&hub->side[i].waiting);
	}
	clients = (uint64_t)atomic_load(&sh->clients.used);
	list_row(r, "databases", conf->db_n + (conf->fallback ? 1 : 0));
	list_row(r, "users", conf->user_n);
	list_row(r, "peers", conf->peer_n);
	list_row(r, "pools", pools);
	list_row(r, "peer_pools", conf->peer_n);
	list_row(r, "free_clients", 0);
	list_row(r, "used_clients", clients + (uint64_t)atomic_load(&sh->consoles.used) +
					    door_n(&sh->door));
	list_row(r, "login_clients", door_n(&sh->door));
	list_row(r, "free_servers", 0);
	list_row(r, "used_servers", servers);
	list_row(r, "dns_names", count_names(conf));
	list_row(r, "dns_zones", 0);
	list_row(r, "dns_queries", 0);
	list_row(r, "dns_pending", 0);
	list_row(r, "clients", clients);
	list_row(r, "waiting_clients", waiting);
	list_row(r, "servers", servers);
	list_row(r, "workers", sh->hall_n);
	list_row(r, "held_bytes", (uint64_t)atomic_load(&sh->held_bytes));
	task_done(t);
}

/* ---- STATE, DNS, PEER_POOLS ---- */

static void state_row(struct rows *r, const char *key, bool yes)
{
	rows_row(r);
	rows_text(r, key);
	rows_text(r, yes ? "yes" : "no");
	rows_end_row(r);
}

static void show_state(struct task *t)
{
	bool paused = t->h->gates && t->h->gates->paused;

	state_row(&t->rows, "active", !paused);
	state_row(&t->rows, "paused", paused);
	state_row(&t->rows, "suspended", false);
	task_done(t);
}

/* Has a host before this one of db d the same name? */
static bool named_before(const struct snapshot *s, size_t d, size_t i, const char *host)
{
	size_t k, j;

	for (k = 0; k <= d; k++) {
		const struct conf_db *c = k < s->conf->db_n ? &s->conf->dbs[k] : s->conf->fallback;

		for (j = 0; c && j < c->host_n && (k < d || j < i); j++)
			if (!c->hosts[j].sock_len && strcmp(c->hosts[j].host, host) == 0)
				return true;
	}
	return false;
}

/* What the i-th host, a name, stands for in this database. */
static void name_row(struct rows *r, const struct snapshot_db *db, size_t i)
{
	char addrs[1024] = "", one[128], *end;
	size_t k, n = 0;

	for (k = 0; k < db->node_n; k++) {
		const struct addr *a = &db->nodes[k].t->addr;

		if (db->nodes[k].host != i || !a->sock_len)
			continue;
		(void)addr_print(&a->sock.sa, a->sock_len, one, sizeof(one));
		end = strrchr(one, ':');
		if (end)
			*end = 0;
		if (n + strlen(one) + 2 < sizeof(addrs))
			n += (size_t)snprintf(addrs + n, sizeof(addrs) - n, "%s%s", n ? "," : "", one);
	}
	rows_row(r);
	rows_text(r, db->conf->hosts[i].host);
	rows_null(r);
	rows_text(r, addrs);
	rows_end_row(r);
}

static void show_dns_hosts(struct task *t)
{
	const struct snapshot *s = t->h->snap;
	size_t d, i;

	for (d = 0; d <= s->conf->db_n; d++) {
		const struct snapshot_db *db = d < s->conf->db_n ? &s->dbs[d] : &s->fallback;

		for (i = 0; db->conf && i < db->conf->host_n; i++)
			if (!db->conf->hosts[i].sock_len &&
			    !named_before(s, d, i, db->conf->hosts[i].host))
				name_row(&t->rows, db, i);
	}
	task_done(t);
}

/* There are no zones: names are looked up one by one, whatever their zone's serial says. */
static void no_rows(struct task *t)
{
	task_done(t);
}

static const struct column state_columns[] = { { "key", ROWS_TEXT }, { "value", ROWS_TEXT },
					       { NULL, 0 } };
static const struct column dns_host_columns[] = { { "hostname", ROWS_TEXT },
						  { "ttl", ROWS_INT8 },
						  { "addrs", ROWS_TEXT },
						  { NULL, 0 } };
static const struct column dns_zone_columns[] = { { "zonename", ROWS_TEXT },
						  { "serial", ROWS_INT8 },
						  { "count", ROWS_INT4 },
						  { NULL, 0 } };
static const struct column config_columns[] = { { "key", ROWS_TEXT },
						{ "value", ROWS_TEXT },
						{ "default", ROWS_TEXT },
						{ "changeable", ROWS_TEXT },
						{ NULL, 0 } };
static const struct column version_columns[] = { { "version", ROWS_TEXT }, { NULL, 0 } };
static const struct column counter_columns[] = { { "name", ROWS_TEXT },
						 { "value", ROWS_INT8 },
						 { "meaning", ROWS_TEXT },
						 { NULL, 0 } };
static const struct column mismatch_columns[] = { { "fingerprint", ROWS_TEXT },
						  { "unit", ROWS_INT8 },
						  { "mismatches", ROWS_INT8 },
						  { NULL, 0 } };
static const struct column list_columns[] = { { "list", ROWS_TEXT }, { "items", ROWS_INT4 },
					      { NULL, 0 } };

const struct command show_commands[] = {
	{ "SHOW CONFIG", "", "SHOW CONFIG", "settings in force", false, config_columns, "SHOW",
	  show_config },
	{ "SHOW VERSION", "", "SHOW VERSION", "of pgweir", false, version_columns, "SHOW",
	  show_version },
	{ "SHOW LISTS", "", "SHOW LISTS", "how many there are of what", false, list_columns, "SHOW",
	  show_lists },
	{ "SHOW STATE", "", "SHOW STATE", "active, paused or suspended", false, state_columns, "SHOW",
	  show_state },
	{ "SHOW DNS_HOSTS", "", "SHOW DNS_HOSTS", "host names and the addresses they stand for", false,
	  dns_host_columns, "SHOW", show_dns_hosts },
	{ "SHOW DNS_ZONES", "", "SHOW DNS_ZONES", "nothing: names are not looked up by zones", false,
	  dns_zone_columns, "SHOW", no_rows },
	{ "SHOW COUNTERS", "", "SHOW COUNTERS", "counters of what happened, since the start", false,
	  counter_columns, "SHOW", show_counters },
	{ "SHOW RETRIES", "", "SHOW RETRIES", "counters of retries and replays", false,
	  counter_columns, "SHOW", show_retries },
	{ "SHOW MISMATCHES", "", "SHOW MISMATCHES", "replays that came out otherwise", false,
	  mismatch_columns, "SHOW", show_mismatches },
	{ 0 },
};
