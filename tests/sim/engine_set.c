/* tests/sim/engine_set.c - the values of a session's settings, and SET, RESET, SHOW.
 *
 * Each has a value of the session and perhaps one of the transaction (SET LOCAL). All
 * of them are one table that is shared with the marks of transactions and savepoints
 * until it is changed: going back is taking the old table.
 *
 * SPDX-License-Identifier: ISC
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine_state.h"

struct settings *settings_share(struct settings *s)
{
	s->refs++;
	return s;
}

void settings_unref(struct settings *s)
{
	unsigned i;

	if (!s || --s->refs)
		return;
	for (i = 0; i < s->n; i++) {
		free(s->v[i].session);
		free(s->v[i].local);
	}
	free(s->v);
	free(s);
}

static unsigned count(const struct engine *e)
{
	return guc_count() + e->n_customs;
}

static const struct guc *guc_of(unsigned i)
{
	return i < guc_count() ? guc_at(i) : NULL;
}

const char *settings_name(const struct engine *e, int i)
{
	unsigned u = (unsigned)i;

	return u < guc_count() ? guc_at(u)->name : e->customs[u - guc_count()].name;
}

int settings_find(const struct engine *e, const char *name)
{
	unsigned i;

	for (i = 0; i < count(e); i++)
		if (strcasecmp(settings_name(e, (int)i), name) == 0)
			return guc_of(i) && guc_of(i)->where == (e->crdb ? NOT_CRDB : ONLY_CRDB) ?
				       -1 : (int)i;
	return -1;
}

static struct settings *table_of(const struct engine *e, const struct settings *from)
{
	struct settings *s = mem_grow(NULL, sizeof(*s));
	unsigned i;

	s->refs = 1;
	s->n = count(e);
	s->v = mem_grow(NULL, s->n * sizeof(*s->v));
	for (i = 0; i < s->n; i++) {
		struct setting *v = &s->v[i];

		*v = (struct setting){ 0 };
		if (from && i < from->n) {
			*v = from->v[i];
			v->session = mem_copy(from->v[i].session);
			v->local = mem_copy(from->v[i].local);
		} else {
			v->session = mem_copy(e->reset[i]);
		}
	}
	return s;
}

/* The table, nobody else's, with a place for every setting. */
static struct settings *own(struct engine *e)
{
	struct settings *old = e->settings;

	if (old->refs > 1 || old->n < count(e)) {
		e->settings = table_of(e, old);
		settings_unref(old);
	}
	return e->settings;
}

/* ---- values ---- */

static const char *plain_value(const struct engine *e, unsigned i)
{
	const struct settings *s = e->settings;

	if (i >= s->n)
		return e->reset[i];
	return s->v[i].local ? s->v[i].local : s->v[i].session;
}

static bool is_super(const struct engine *e)
{
	const char *role = plain_value(e, (unsigned)settings_find(e, "role"));
	const char *who = plain_value(e, (unsigned)settings_find(e, "session_authorization"));

	return strcmp(strcmp(role, "none") == 0 ? who : role, e->crdb ? "root" : "postgres") == 0;
}

const char *settings_value(const struct engine *e, int at)
{
	const char *name = settings_name(e, at), *v = plain_value(e, (unsigned)at);

	if (strcmp(name, "is_superuser") == 0)
		return is_super(e) ? "on" : "off";
	if (strcmp(name, "in_hot_standby") == 0)
		return e->conf.standby ? "on" : "off";
	if (strcmp(name, "transaction_read_only") == 0)
		return e->read_only ? "on" : "off";
	if (strcmp(name, "transaction_isolation") == 0 && !*v)
		return settings_get(e, "default_transaction_isolation");
	return v;
}

const char *settings_get(const struct engine *e, const char *name)
{
	int i = settings_find(e, name);

	return i < 0 ? NULL : settings_value(e, i);
}

bool settings_on(const struct engine *e, const char *name)
{
	return strcmp(settings_get(e, name), "on") == 0;
}

/* ---- beginning and end ---- */

static void add_places(struct engine *e, unsigned from, unsigned to)
{
	unsigned i;

	e->reset = mem_grow(e->reset, to * sizeof(*e->reset));
	e->reset_client = mem_grow(e->reset_client, to * sizeof(*e->reset_client));
	e->reported = mem_grow(e->reported, to * sizeof(*e->reported));
	for (i = from; i < to; i++) {
		e->reset[i] = mem_copy(guc_of(i) ? guc_of(i)->boot : "");
		e->reset_client[i] = false;
		e->reported[i] = NULL;
	}
}

static void set_reset(struct engine *e, const char *name, const char *value)
{
	int i = settings_find(e, name);

	free(e->reset[i]);
	e->reset[i] = mem_copy(value);
}

void settings_init(struct engine *e)
{
	unsigned v = e->conf.version;
	char text[24];

	add_places(e, 0, guc_count());
	(void)snprintf(text, sizeof(text), "%u.%u", v / 10000, v % 10000);
	set_reset(e, "server_version", e->crdb ? "13.0.0" : text);
	(void)snprintf(text, sizeof(text), "%u", v);
	set_reset(e, "server_version_num", e->crdb ? "130000" : text);
	if (e->crdb) {
		set_reset(e, "crdb_version", e->version);
		set_reset(e, "default_transaction_isolation", "serializable");
		set_reset(e, "extra_float_digits", "0");
	}
	e->settings = table_of(e, NULL);
}

void settings_free(struct engine *e)
{
	unsigned i;

	for (i = 0; i < count(e); i++) {
		free(e->reset[i]);
		free(e->reported[i]);
	}
	for (i = 0; i < e->n_customs; i++)
		free(e->customs[i].name);
	free(e->customs);
	free(e->reset);
	free(e->reset_client);
	free(e->reported);
	settings_unref(e->settings);
}

/* SET LOCAL is over. */
void settings_commit(struct engine *e)
{
	bool any = false;
	unsigned i;

	for (i = 0; i < e->settings->n; i++)
		any |= e->settings->v[i].local != NULL;
	if (!any)
		return;
	(void)own(e);
	for (i = 0; i < e->settings->n; i++) {
		free(e->settings->v[i].local);
		e->settings->v[i].local = NULL;
	}
}

/* ---- setting ---- */

/* A name with a dot that nobody has used yet. -1: e->err. */
static int new_custom(struct engine *e, const char *name)
{
	bool start = true, ok = strchr(name, '.') && !e->crdb;
	const char *p;

	if (!ok) {
		(void)fail(e, "42704", "unrecognized configuration parameter \"%s\"", name);
		return -1;
	}
	for (p = name; *p; p++) {
		bool letter = isalpha((unsigned char)*p) || *p == '_' || (*p & 0x80);

		ok &= letter || (!start && (isdigit((unsigned char)*p) || *p == '$' || *p == '.'));
		start = *p == '.';
	}
	if (!ok || start) {
		(void)fail(e, "42602", "invalid configuration parameter name \"%s\"", name);
		return -1;
	}
	e->customs = mem_grow(e->customs, (e->n_customs + 1) * sizeof(*e->customs));
	add_places(e, count(e), count(e) + 1);
	e->customs[e->n_customs++].name = mem_copy(name);
	return (int)count(e) - 1;
}

static void put_value(struct engine *e, unsigned i, char *value, bool set, enum set_how how)
{
	struct setting *v = &own(e)->v[i];

	if (how == SET_LOCAL) {
		free(v->local);
		v->local = value;
		v->local_set = set;
		return;
	}
	free(v->local);
	v->local = NULL;
	free(v->session);
	v->session = value;
	v->session_set = set && how == SET_SESSION;
	if (how == SET_STARTUP) {
		free(e->reset[i]);
		e->reset[i] = mem_copy(value);
		e->reset_client[i] = true;
	}
}

/* Facts that only look like settings: of the transaction. */
static bool is_of_transaction(struct engine *e, const struct guc *g, char *value)
{
	if (strcmp(g->name, "transaction_read_only") == 0) {
		e->read_only = strcmp(value, "on") == 0;
		e->read_only_set = true;
		free(value);
		return true;
	}
	return false;
}

enum got settings_set(struct engine *e, const char *name, const char *value, enum set_how how)
{
	int i = settings_find(e, name);
	const struct guc *g;
	bool set = value != NULL;
	char *v;

	if (i < 0)
		i = new_custom(e, name);
	if (i < 0)
		return GOT_FAIL;
	g = guc_of((unsigned)i);
	if (g && g->kind == GUC_FACT)
		return fail(e, "55P02", "parameter \"%s\" cannot be changed", name);
	if (!set)
		v = mem_copy(e->reset[i]);
	else
		v = g ? guc_value(e, g, name, value, settings_value(e, i)) : mem_copy(value);
	if (!v)
		return GOT_FAIL;
	if (g && is_of_transaction(e, g, v))
		return GOT_DONE;
	if (g && strcmp(g->name, "transaction_isolation") == 0)
		how = SET_LOCAL;
	put_value(e, (unsigned)i, v, set, how);
	e->due_name |= g && how != SET_STARTUP && strcmp(g->name, "application_name") == 0;
	e->due_zone |= g && how != SET_STARTUP && strcmp(g->name, "TimeZone") == 0;
	/* who one has become has no role */
	if (g && how != SET_STARTUP && strcmp(g->name, "session_authorization") == 0)
		put_value(e, (unsigned)settings_find(e, "role"), mem_copy("none"), false, how);
	return GOT_DONE;
}

void settings_reset_all(struct engine *e)
{
	unsigned i;

	for (i = 0; i < count(e); i++) {
		const struct guc *g = guc_of(i);

		if (g && (g->no_reset_all || g->kind == GUC_FACT))
			continue;
		put_value(e, i, mem_copy(e->reset[i]), false, SET_SESSION);
	}
}

bool settings_session(const struct engine *e, unsigned *at, struct row *row)
{
	const struct settings *s = e->settings;
	unsigned i;

	for (i = *at; i < guc_count() && i < s->n; i++) {
		const struct setting *v = &s->v[i];
		bool set = v->local ? v->local_set : v->session_set;

		if (strcmp(guc_at(i)->name, "transaction_read_only") == 0)
			set = e->read_only_set;
		if (guc_at(i)->hidden || !set)
			continue;
		row->v = mem_grow(row->v, 2 * sizeof(*row->v));
		row->v[0] = row->v[1] = (struct val){ 0 };
		row->n = 2;
		val_set(&row->v[0], guc_at(i)->name);
		val_set(&row->v[1], settings_value(e, (int)i));
		*at = i + 1;
		return true;
	}
	return false;
}

/* ---- telling the client ---- */

static void report(struct engine *e, unsigned i)
{
	const char *v = settings_value(e, (int)i);

	if (e->reported[i] && strcmp(e->reported[i], v) == 0)
		return;
	free(e->reported[i]);
	e->reported[i] = mem_copy(v);
	out_begin(e, 'S');
	out_str(e, guc_at(i)->name);
	out_str(e, v);
	out_end(e);
}

void settings_report(struct engine *e)
{
	unsigned i;

	for (i = 0; i < guc_count(); i++)
		if (guc_at(i)->report)
			report(e, i);
}

/* ---- statements ---- */

static bool plain_name(const char *v)
{
	if (!islower((unsigned char)*v) && *v != '_')
		return false;
	for (; *v; v++)
		if (!islower((unsigned char)*v) && !isdigit((unsigned char)*v) && *v != '_')
			return false;
	return true;
}

/* Values with commas; search_path's are names. */
static char *joined(const struct sql_stmt *st, bool names)
{
	struct buf b = { 0 };
	const struct sql_expr *x;
	char *out;

	for (x = st->list; x; x = x->next) {
		bool quote = names && x->kind == EX_TEXT && !plain_name(x->text);
		const char *p;

		if (x != st->list)
			buf_put(&b, ", ", 2);
		if (quote)
			buf_put(&b, "\"", 1);
		for (p = x->text; *p; p++) {
			if (quote && *p == '"')
				buf_put(&b, "\"", 1);
			buf_put(&b, p, 1);
		}
		if (quote)
			buf_put(&b, "\"", 1);
	}
	out = mem_copy_n(b.p, b.len);
	buf_free(&b);
	return out;
}

static enum got set_one(struct engine *e, const struct sql_stmt *st)
{
	int i = settings_find(e, st->name);
	const struct guc *g = i < 0 ? NULL : guc_of((unsigned)i);
	bool list = g && (g->kind == GUC_PATH || g->kind == GUC_DATESTYLE);
	enum got got;
	char *v;

	if (st->n_list > 1 && !list)
		return fail(e, "22023", "SET %s takes only one argument", st->name);
	v = st->n_list ? joined(st, g && g->kind == GUC_PATH) : NULL;
	got = settings_set(e, st->name, v, st->local ? SET_LOCAL : SET_SESSION);
	free(v);
	return got;
}

enum got run_set(struct engine *e, struct run *r)
{
	const struct sql_stmt *st = r->st;
	enum got got = GOT_DONE;

	(void)snprintf(r->tag, sizeof(r->tag), "%s",
		       (st->kind == SQL_RESET || st->kind == SQL_RESET_ALL) && !e->crdb ? "RESET" :
											  "SET");
	if (st->local && !xact_in_block(e))
		out_warning(e, "WARNING", "25P01", "SET LOCAL can only be used in transaction blocks");
	if (st->kind == SQL_RESET_ALL)
		settings_reset_all(e);
	else if (st->kind == SQL_RESET)
		got = settings_set(e, st->name, NULL, SET_SESSION);
	else
		got = set_one(e, st);
	return got;
}

enum got run_show(struct engine *e, struct run *r)
{
	int i = settings_find(e, r->st->name);
	struct row row = { 0 };
	char text[32];

	if (i < 0)
		return fail(e, "42704", "unrecognized configuration parameter \"%s\"", r->st->name);
	row.v = mem_grow(NULL, sizeof(*row.v));
	row.v[0] = (struct val){ 0 };
	row.n = 1;
	val_set(&row.v[0], guc_show(e->crdb ? NULL : guc_of((unsigned)i), settings_value(e, i), text, sizeof(text)));
	run_keep(r, &row);
	(void)snprintf(r->tag, sizeof(r->tag), "SHOW");
	return GOT_DONE;
}
