/* conf/draft.c - see draft.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/draft.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/bouncer.h"
#include "conf/foreign.h"
#include "conf/key.h"
#include "conf/pairs.h"
#include "conf/text.h"

#define COMMAND_LINE "command line"
#define WHERE_MAX 300

int draft_init(struct draft *d, const char *path, enum addr_names names, struct err *e)
{
	*d = (struct draft){.path = path, .names = names};
	d->conf = calloc(1, sizeof(*d->conf));
	if (d->conf)
		atomic_init(&d->conf->refs, 1);
	d->set = calloc(key_count(), sizeof(*d->set));
	if (!d->conf || !d->set) {
		draft_free(d);
		return err_set(e, "out of memory");
	}
	if (key_defaults(KEY_GLOBAL, &d->conf->g, e) < 0) {
		draft_free(d);
		return -1;
	}
	return 0;
}

void draft_free(struct draft *d)
{
	size_t i;

	for (i = 0; i < d->db_n; i++)
		conf_db_clear(&d->dbs[i].d);
	free(d->dbs);
	for (i = 0; i < d->user_n; i++)
		conf_user_clear(&d->users[i].u);
	free(d->users);
	for (i = 0; i < d->peer_n; i++)
		conf_peer_clear(&d->peers[i].p);
	free(d->peers);
	for (i = 0; i < d->file_n; i++)
		free(d->files[i]);
	free(d->files);
	free(d->set);
	conf_drop(d->conf);
	*d = (struct draft){0};
}

/* A place that outlives the reader. Files come in runs, so the last is tried
 * first and mostly it is the one. .file NULL: out of memory. */
static struct dialect_pos keep_pos(struct draft *d, const struct dialect_pos *pos)
{
	struct dialect_pos kept = {.line = pos->line};
	char **files;
	size_t i;

	for (i = d->file_n; i-- > 0 && !kept.file;)
		if (strcmp(d->files[i], pos->file) == 0)
			kept.file = d->files[i];
	if (kept.file)
		return kept;
	files = text_grow(d->files, &d->file_cap, d->file_n, sizeof(*files));
	if (!files)
		return kept;
	d->files = files;
	d->files[d->file_n] = strdup(pos->file);
	kept.file = d->files[d->file_n];
	d->file_n += kept.file != NULL;
	return kept;
}

static const char *print_pos(const char *file, int line, char *out, size_t cap)
{
	if (line > 0)
		snprintf(out, cap, "%s:%d", file, line);
	else
		snprintf(out, cap, "%s", file);
	return out;
}

const char *draft_where(const struct draft *d, const char *key, char *out, size_t cap)
{
	const struct key *k = key_find(KEY_GLOBAL, key);
	struct dialect_pos pos = {.file = d->path};

	if (k && d->set[key_index(k)].file)
		pos = d->set[key_index(k)];
	return print_pos(pos.file, pos.line, out, cap);
}

const char *draft_db_where(const struct draft_db *db, char *out, size_t cap)
{
	return print_pos(db->file, db->d.line, out, cap);
}

const char *draft_peer_where(const struct draft_peer *p, char *out, size_t cap)
{
	return print_pos(p->file, p->p.line, out, cap);
}

/* --- warnings ---------------------------------------------------------------- */

void draft_warn(struct draft *d, const char *fmt, ...)
{
	struct conf *c = d->conf;
	char **list, text[1024];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	list = text_grow(c->warnings, &d->warning_cap, c->warning_n, sizeof(*list));
	if (!list)
		return;
	c->warnings = list;
	list[c->warning_n] = strdup(text);
	c->warning_n += list[c->warning_n] != NULL;
}

/* Is it one of PgBouncer's that means nothing here? The first of each is told of. */
static bool is_foreign(struct draft *d, const struct dialect_pos *pos, const char *name)
{
	int i = foreign_find(name);

	if (i < 0)
		return false;
	if (!(d->foreign_told >> i & 1))
		draft_warn(d, "%s:%d: %s has no effect: %s", pos->file, pos->line, name,
			   foreign_row((size_t)i)->why);
	d->foreign_told |= UINT64_C(1) << i;
	return true;
}

/* --- from a file ----------------------------------------------------------- */

static int enter_global(struct draft *d, const struct dialect_pos *pos, bool is_pgbouncer,
			struct err *e)
{
	if (d->global.file && d->conf->from_pgbouncer != is_pgbouncer)
		return err_set(e, "%s:%d: [%s] here and [%s] at %s:%d: use one of the two names",
			       pos->file, pos->line, is_pgbouncer ? "pgbouncer" : "pgweir",
			       is_pgbouncer ? "pgweir" : "pgbouncer", d->global.file,
			       d->global.line);
	if (!d->global.file)
		d->global = keep_pos(d, pos);
	if (!d->global.file)
		return err_set(e, "out of memory");
	d->conf->from_pgbouncer = is_pgbouncer;
	d->section = DRAFT_GLOBAL;
	return 0;
}

static int on_section(void *arg, const struct dialect_pos *pos, const char *name, struct err *e)
{
	struct draft *d = arg;

	if (strcmp(name, "pgweir") == 0)
		return enter_global(d, pos, false, e);
	if (strcmp(name, "pgbouncer") == 0)
		return enter_global(d, pos, true, e);
	if (strcmp(name, "databases") == 0)
		d->section = DRAFT_DATABASES;
	else if (strcmp(name, "users") == 0)
		d->section = DRAFT_USERS;
	else if (strcmp(name, "peers") == 0)
		d->section = DRAFT_PEERS;
	else
		return err_set(e, "%s:%d: unknown section [%s]; allowed: [pgweir] (or "
			       "[pgbouncer]), [databases], [users], [peers]", pos->file, pos->line,
			       name);
	return 0;
}

static int on_global(struct draft *d, const struct dialect_pos *pos, const char *name,
		     const char *value, struct err *e)
{
	const struct key *k = key_find(KEY_GLOBAL, name);
	struct dialect_pos kept;
	struct err why;
	char hint[128];

	if (!k && is_foreign(d, pos, name))
		return 0;
	if (!k)
		return err_set(e, "%s:%d: unknown setting \"%.64s\" in [%s]%s", pos->file,
			       pos->line, name, d->conf->from_pgbouncer ? "pgbouncer" : "pgweir",
			       key_hint(KEY_GLOBAL, name, hint, sizeof(hint)));
	if (key_set(k, &d->conf->g, value, &why) < 0)
		return err_set(e, "%s:%d: %s", pos->file, pos->line, why.text);
	kept = keep_pos(d, pos);
	if (!kept.file)
		return err_set(e, "out of memory");
	d->set[key_index(k)] = kept;
	return 0;
}

/* What the pairs of one line are set on. */
struct entry {
	struct draft *d;
	const struct dialect_pos *pos;
	enum key_scope scope;
	const char *section;
	void *base;
};

static int on_pair(void *arg, const char *name, const char *value, struct err *e)
{
	const struct entry *en = arg;
	/* PgBouncer's older name */
	const bool old = strcmp(name, "reserve_pool") == 0 && en->scope == KEY_DB;
	const struct key *k = key_find(en->scope, old ? "reserve_pool_size" : name);
	char hint[128];

	if (!k && is_foreign(en->d, en->pos, name))
		return 0;
	if (!k)
		return err_set(e, "unknown setting \"%.64s\" in [%s]%s", name, en->section,
			       key_hint(en->scope, name, hint, sizeof(hint)));
	return key_set(k, en->base, value, e);
}

struct draft_db *draft_db(struct draft *d, const char *name, const struct dialect_pos *pos)
{
	struct dialect_pos kept = keep_pos(d, pos);
	struct draft_db *db = text_grow(d->dbs, &d->db_cap, d->db_n, sizeof(*db));

	if (!db)
		return NULL;
	d->dbs = db;
	if (!kept.file)
		return NULL;
	db += d->db_n;
	*db = (struct draft_db){.file = kept.file, .seq = d->db_n};
	db->d.line = pos->line;
	db->d.name = strdup(name);
	if (!db->d.name)
		return NULL;
	d->db_n++;
	return key_defaults(KEY_DB, &db->d.k, NULL) < 0 ? NULL : db;
}

static int on_database(struct draft *d, const struct dialect_pos *pos, const char *name,
		       const char *value, struct err *e)
{
	struct draft_db *db = draft_db(d, name, pos);
	struct entry en = {.d = d, .pos = pos, .scope = KEY_DB, .section = "databases"};
	struct err why;

	if (!db)
		return err_set(e, "out of memory");
	en.base = &db->d.k;
	if (pairs_each(value, on_pair, &en, &why) < 0)
		return err_set(e, "%s:%d: database \"%.64s\": %s", pos->file, pos->line, name,
			       why.text);
	return 0;
}

static struct draft_user *add_user(struct draft *d, const char *name)
{
	struct draft_user *u = text_grow(d->users, &d->user_cap, d->user_n, sizeof(*u));

	if (!u)
		return NULL;
	d->users = u;
	u += d->user_n;
	*u = (struct draft_user){.seq = d->user_n};
	u->u.name = strdup(name);
	if (!u->u.name)
		return NULL;
	d->user_n++;
	return key_defaults(KEY_USER, &u->u.k, NULL) < 0 ? NULL : u;
}

static int on_user(struct draft *d, const struct dialect_pos *pos, const char *name,
		   const char *value, struct err *e)
{
	struct draft_user *u = add_user(d, name);
	struct entry en = {.d = d, .pos = pos, .scope = KEY_USER, .section = "users"};
	struct err why;

	if (!u)
		return err_set(e, "out of memory");
	en.base = &u->u.k;
	if (pairs_each(value, on_pair, &en, &why) < 0)
		return err_set(e, "%s:%d: user \"%.64s\": %s", pos->file, pos->line, name,
			       why.text);
	return 0;
}

/* 0: no number of a peer. */
static int peer_id(const char *name)
{
	char *end;
	long id = strtol(name, &end, 10);

	return *name >= '1' && *name <= '9' && !*end && id <= CONF_PEER_ID_MAX ? (int)id : 0;
}

static int on_peer(struct draft *d, const struct dialect_pos *pos, const char *name,
		   const char *value, struct err *e)
{
	struct dialect_pos kept = keep_pos(d, pos);
	struct draft_peer *p = text_grow(d->peers, &d->peer_cap, d->peer_n, sizeof(*p));
	struct entry en = {.d = d, .pos = pos, .scope = KEY_PEER, .section = "peers"};
	struct err why;

	if (!p || !kept.file)
		return err_set(e, "out of memory");
	d->peers = p;
	if (!peer_id(name))
		return err_set(e, "%s:%d: \"%.64s\" is not the peer_id of a process; allowed: 1 to "
			       "%d", pos->file, pos->line, name, CONF_PEER_ID_MAX);
	p += d->peer_n;
	*p = (struct draft_peer){.file = kept.file, .seq = d->peer_n};
	p->p.id = peer_id(name);
	p->p.line = pos->line;
	d->peer_n++;
	if (key_defaults(KEY_PEER, &p->p.k, e) < 0)
		return -1;
	en.base = &p->p.k;
	if (pairs_each(value, on_pair, &en, &why) < 0)
		return err_set(e, "%s:%d: peer %d: %s", pos->file, pos->line, p->p.id, why.text);
	if (p->p.k.port == CONF_UNSET)
		p->p.k.port = 6432;
	return 0;
}

static int on_setting(void *arg, const struct dialect_pos *pos, const char *name,
		      const char *value, struct err *e)
{
	struct draft *d = arg;

	switch (d->section) {
	case DRAFT_GLOBAL:
		return on_global(d, pos, name, value, e);
	case DRAFT_DATABASES:
		return on_database(d, pos, name, value, e);
	case DRAFT_USERS:
		return on_user(d, pos, name, value, e);
	case DRAFT_PEERS:
		return on_peer(d, pos, name, value, e);
	case DRAFT_NONE:
		break;
	}
	return err_set(e, "%s:%d: \"%.64s\" stands before any section; begin with [pgweir], "
		       "[databases], [users] or [peers]", pos->file, pos->line, name);
}

struct dialect_sink draft_sink(struct draft *d)
{
	return (struct dialect_sink){.arg = d, .section = on_section, .setting = on_setting};
}

int draft_secret(void *arg, const char *name, const char *secret, enum secret_kind kind,
		 struct err *e)
{
	struct draft_user *u = add_user(arg, name);

	if (!u)
		return err_set(e, "out of memory");
	u->is_secret_only = true;
	u->u.secret_kind = kind;
	u->u.in_file = true;
	if (kind == SECRET_NONE)
		return 0;
	u->u.secret = strdup(secret);
	return u->u.secret ? 0 : err_set(e, "out of memory");
}

/* --- from the command line --------------------------------------------------- */

static int override_one(struct draft *d, const char *name, const char *value, struct err *e)
{
	const struct key *k = key_find(KEY_GLOBAL, name);
	struct err why;

	if (!k || key_set(k, &d->conf->g, value, &why) < 0)
		return err_set(e, "%s: %s", COMMAND_LINE, k ? why.text : name);
	d->set[key_index(k)] = (struct dialect_pos){.file = COMMAND_LINE};
	return 0;
}

int draft_override(struct draft *d, const struct conf_over *over, struct err *e)
{
	struct conf_global *g = &d->conf->g;
	char number[16];

	if (!over)
		return 0;
	if (over->listen_addr && override_one(d, "listen_addr", over->listen_addr, e) < 0)
		return -1;
	snprintf(number, sizeof(number), "%d", over->listen_port);
	if (over->listen_port != -1 && override_one(d, "listen_port", number, e) < 0)
		return -1;
	if (over->user && override_one(d, "user", over->user, e) < 0)
		return -1;
	if (over->verbose > 0)
		g->verbose += over->verbose > 3 ? 3 : over->verbose;
	if (g->verbose > 3)
		g->verbose = 3;
	return 0;
}

/* --- the end of writing ------------------------------------------------------ */

static int db_order(const void *a, const void *b)
{
	const struct draft_db *x = a, *y = b;
	int c = strcmp(x->d.name, y->d.name);

	return c ? c : (x->seq > y->seq) - (x->seq < y->seq);
}

static int user_order(const void *a, const void *b)
{
	const struct draft_user *x = a, *y = b;
	int c = strcmp(x->u.name, y->u.name);

	return c ? c : (x->seq > y->seq) - (x->seq < y->seq);
}

static void settle_dbs(struct draft *d)
{
	char where[WHERE_MAX];
	size_t i, n = 0;

	if (d->db_n == 0)
		return;
	qsort(d->dbs, d->db_n, sizeof(*d->dbs), db_order);
	for (i = 0; i < d->db_n; i++) {
		if (i + 1 < d->db_n && strcmp(d->dbs[i].d.name, d->dbs[i + 1].d.name) == 0) {
			draft_warn(d, "%s: database \"%.64s\" stands here and in line %d again, "
				   "which is the one that counts",
				   draft_db_where(&d->dbs[i], where, sizeof(where)),
				   d->dbs[i].d.name, d->dbs[i + 1].d.line);
			conf_db_clear(&d->dbs[i].d);
		}
		else
			d->dbs[n++] = d->dbs[i];
	}
	d->db_n = n;
}

/* auth_file is read behind [users]: the newer one's secret holds, and so do its
 * settings if it can have any. */
static void join_users(struct draft_user *into, struct draft_user *from)
{
	struct conf_user_keys k = into->u.k;

	if (into->is_secret_only && !from->is_secret_only) {
		into->u.k = from->u.k;
		from->u.k = k;
		into->is_secret_only = false;
	}
	conf_user_clear(&from->u);
}

static void settle_users(struct draft *d)
{
	size_t i, n = 0;

	if (d->user_n == 0)
		return;
	qsort(d->users, d->user_n, sizeof(*d->users), user_order);
	for (i = 1; i < d->user_n; i++) {
		if (strcmp(d->users[n].u.name, d->users[i].u.name) == 0) {
			struct draft_user older = d->users[n];

			if (older.u.in_file && d->users[i].u.in_file)
				draft_warn(d, "%s: user \"%.64s\" stands there more than once; the "
					   "last counts", d->conf->g.auth_file, older.u.name);
			d->users[n] = d->users[i];
			join_users(&d->users[n], &older);
		} else {
			d->users[++n] = d->users[i];
		}
	}
	d->user_n = n + 1;
}

static int peer_order(const void *a, const void *b)
{
	const struct draft_peer *x = a, *y = b;

	return x->p.id != y->p.id ? (x->p.id > y->p.id) - (x->p.id < y->p.id) :
				    (x->seq > y->seq) - (x->seq < y->seq);
}

static void settle_peers(struct draft *d)
{
	size_t i, n = 0;

	if (d->peer_n == 0)
		return;
	qsort(d->peers, d->peer_n, sizeof(*d->peers), peer_order);
	for (i = 0; i < d->peer_n; i++) {
		if (i + 1 < d->peer_n && d->peers[i].p.id == d->peers[i + 1].p.id)
			conf_peer_clear(&d->peers[i].p);
		else
			d->peers[n++] = d->peers[i];
	}
	d->peer_n = n;
}

/* Who kept the name [pgbouncer] gets PgBouncer's defaults, and a database without a host
 * is on the socket in the directory where pgweir's own is. */
static int settle_pgbouncer(struct draft *d, struct err *e)
{
	const struct key *host = key_find(KEY_DB, "host");
	const struct bouncer *b;
	size_t i;

	for (i = 0; (b = bouncer_row(i)); i++) {
		const struct key *k = key_find(KEY_GLOBAL, b->name);

		if (k && !d->set[key_index(k)].file && key_set(k, &d->conf->g, b->def, e) < 0)
			return -1;
	}
	for (i = 0; host && d->conf->g.unix_socket_dir && i < d->db_n; i++) {
		struct conf_db_keys *k = &d->dbs[i].d.k;

		if (!k->host && !k->hostaddr && *d->conf->g.unix_socket_dir == '/' &&
		    key_set(host, k, d->conf->g.unix_socket_dir, e) < 0)
			return -1;
	}
	return 0;
}

int draft_settle(struct draft *d, struct err *e)
{
	settle_dbs(d);
	settle_users(d);
	settle_peers(d);
	return d->conf->from_pgbouncer ? settle_pgbouncer(d, e) : 0;
}

int draft_host_conf(const struct conf_db *db, const struct conf_global *g, struct conf_host **out,
		    struct err *e)
{
	const struct host_lists lists = {
		.names = db->k.hostaddr ? db->k.host : NULL,
		.weight = db->k.weight,
		.zones = db->k.zones,
		.http = db->k.health_check_http ? db->k.health_check_http : g->health_check_http,
		.zone = g->zone,
	};

	return hosts_make(&lists, db->host_n, out, e);
}

int draft_hosts(struct draft *d, struct err *e)
{
	struct err why;
	char where[WHERE_MAX];
	size_t i;

	for (i = 0; i < d->db_n; i++) {
		struct conf_db *db = &d->dbs[i].d;

		if (addr_list(db->k.hostaddr ? db->k.hostaddr : db->k.host, db->k.port, 5432,
			      &db->hosts, &db->host_n, &why) < 0 ||
		    draft_host_conf(db, &d->conf->g, &db->host_conf, &why) < 0)
			return err_set(e, "%s: database \"%.64s\": %s",
				       draft_db_where(&d->dbs[i], where, sizeof(where)), db->name,
				       why.text);
	}
	return 0;
}

struct conf *draft_take(struct draft *d)
{
	struct conf *c = d->conf;
	size_t i;

	if (!c->from_uri)
		c->path = strdup(d->path);
	/* One more than may be needed, so that empty lists are no special case. */
	c->dbs = calloc(d->db_n + 1, sizeof(*c->dbs));
	c->users = calloc(d->user_n + 1, sizeof(*c->users));
	c->peers = calloc(d->peer_n + 1, sizeof(*c->peers));
	c->fallback = calloc(1, sizeof(*c->fallback));
	if ((!c->from_uri && !c->path) || !c->dbs || !c->users || !c->peers || !c->fallback)
		return NULL;
	for (i = 0; i < d->db_n; i++) {
		const struct conf_db_keys *k = &d->dbs[i].d.k;

		c->has_limits |= k->query_timeout > 0 || k->transaction_timeout > 0;
		if (strcmp(d->dbs[i].d.name, "*") == 0)
			*c->fallback = d->dbs[i].d;
		else
			c->dbs[c->db_n++] = d->dbs[i].d;
	}
	d->db_n = 0;
	for (i = 0; i < d->user_n; i++) {
		const struct conf_user_keys *k = &d->users[i].u.k;

		c->users[c->user_n++] = d->users[i].u;
		c->has_limits |= k->query_timeout > 0 || k->transaction_timeout > 0;
	}
	d->user_n = 0;
	for (i = 0; i < d->peer_n; i++)
		c->peers[c->peer_n++] = d->peers[i].p;
	d->peer_n = 0;
	if (!c->fallback->name) {
		free(c->fallback);
		c->fallback = NULL;
	}
	d->conf = NULL;
	return c;
}
