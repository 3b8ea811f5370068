/* tests/sim/oracle_env.c - what the oracle's engine asks: answered from what the client
 * got, and kept, so that the engine can be made anew as it was at any moment.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_in.h"
#include "wire/wire.h"

/* What is asked for and cannot be found among what came: the engine's row is then told
 * by this mark. */
static const char unseen[] = "\001";

/* ---- the journal ---- */

void asks_free(struct oracle *o)
{
	while (o->ask_n)
		free(o->ask[--o->ask_n].value);
}

static void keep(struct oracle *o, struct ask a, const char *value)
{
	if (o->how != HOW_LIVE && o->how != HOW_MUTE)
		return;
	if (o->ask_n == o->ask_cap) {
		o->ask_cap = o->ask_cap ? 2 * o->ask_cap : 64;
		o->ask = mem_grow(o->ask, o->ask_cap * sizeof(*o->ask));
	}
	a.value = mem_copy(value);
	if (a.kind == ASK_TROUBLE)
		o->last_trouble = o->ask_n;
	o->ask[o->ask_n++] = a;
}

/* HOW_REPLAY: what was answered before. NULL: it is another mode, or this is the ask
 * that is to fail now (*fail). */
static const struct ask *before(struct oracle *o, enum ask_kind kind, bool *fail)
{
	const struct ask *a;

	*fail = false;
	match_said(o);
	if (o->how != HOW_REPLAY)
		return NULL;
	if (o->ask_at == o->target) {
		while (o->ask_n > o->target)
			free(o->ask[--o->ask_n].value);
		o->how = HOW_LIVE;
		*fail = true;
		return NULL;
	}
	if (o->ask_at >= o->ask_n || o->ask[o->ask_at].kind != kind) {
		oracle_fail(o, "the oracle's engine does not repeat itself");
		o->how = HOW_BLIND;
		return NULL;
	}
	a = &o->ask[o->ask_at++];
	return a;
}

static enum data fail_as_told(struct oracle *o, enum ask_kind kind, struct engine_error *err)
{
	*err = o->target_err;
	keep(o, (struct ask){ .kind = kind, .result = DATA_ERROR, .yes = true, .err = *err }, NULL);
	return DATA_ERROR;
}

/* The error that came instead of an answer, if it may be here. */
static const struct msg *error_here(struct oracle *o, enum excuse *x)
{
	const struct msg *m = o->how == HOW_LIVE ? match_next(o) : NULL;

	*x = m && m->p[0] == 'E' ? excuse_of(o, m) : NO_EXCUSE;
	return *x == NO_EXCUSE ? NULL : m;
}

/* A question that may fail. */
static enum data ask_data(struct oracle *o, enum ask_kind kind, struct engine_error *err)
{
	const struct msg *m;
	const struct ask *a;
	enum excuse x;
	bool fail;

	a = before(o, kind, &fail);
	if (a) {
		*err = a->err;
		return a->result;
	}
	if (fail)
		return fail_as_told(o, kind, err);
	m = error_here(o, &x);
	if (m && (x == EX_SERIALIZE || x == EX_REFUSED || x == EX_LOST_BLOCK)) {
		*err = error_of(m);
		keep(o, (struct ask){ .kind = kind, .result = DATA_ERROR, .err = *err }, NULL);
		return DATA_ERROR;
	}
	if (m)
		match_cut(o, m, x);
	return DATA_OK;
}

static bool env_trouble(void *arg, enum place at, struct engine_error *err)
{
	struct oracle *o = arg;
	const struct msg *m;
	const struct ask *a;
	enum excuse x;
	struct ask now = { .kind = ASK_TROUBLE };
	bool fail, yes;

	(void)at;
	o->asked = true;
	a = before(o, ASK_TROUBLE, &fail);
	if (a) {
		*err = a->err;
		return a->yes;
	}
	if (fail)
		return fail_as_told(o, ASK_TROUBLE, err) == DATA_ERROR;
	if (o->how == HOW_MUTE && o->repair == 'E') {
		*err = (struct engine_error){ "XX000", "the oracle fails its block", NULL, false };
		keep(o, (struct ask){ .kind = ASK_TROUBLE, .yes = true, .err = *err }, NULL);
		return true;
	}
	m = error_here(o, &x);
	yes = m && (x == EX_LOST_BLOCK || x == EX_LIMBO ||
		    /* a COMMIT that failed says so itself: the block is over */
		    (x == EX_REFUSED && (o->e->block != BLOCK_INPROGRESS ||
					   match_status_behind(o, m) != 'I')));
	if (yes)
		now.err = *err = error_of(m);
	now.yes = yes;
	keep(o, now, NULL); /* in front of the cut, which fails it when all is done again */
	if (m && !yes && (x == EX_LOST_UNKNOWN || x == EX_FATAL))
		match_cut(o, m, x);
	return yes;
}

/* ---- transactions ---- */

static bool tells_history(const struct oracle *o)
{
	return o->h && (o->how == HOW_LIVE || o->how == HOW_GHOST);
}

static void end_txn(struct oracle *o, enum fate fate, uint64_t at_us)
{
	if (o->h && o->txn != NO_TXN)
		history_end(o->h, o->txn, fate, at_us);
	o->txn = NO_TXN;
}

static void env_begin(void *arg, bool block)
{
	struct oracle *o = arg;

	match_said(o);
	if (!tells_history(o))
		return;
	o->txn = history_begin(o->h, o->client, o->now_us);
	o->loose = false;
	o->ghost_block = block && o->how == HOW_GHOST;
	o->begun_here |= block;
}

/* When what is matched next came: what the client knows then. */
static uint64_t heard_us(struct oracle *o)
{
	const struct msg *m = match_next(o);

	return m ? m->at_us : o->now_us;
}

static enum data env_commit(void *arg, struct engine_error *err)
{
	struct oracle *o = arg;
	enum data d = ask_data(o, ASK_COMMIT, err);

	if (o->how == HOW_LIVE && d == DATA_ERROR) {
		end_txn(o, FATE_ABORTED, heard_us(o));
	} else if (o->how == HOW_GHOST) {
		end_txn(o, FATE_UNKNOWN, o->now_us);
	} else if (o->how == HOW_LIVE) {
		keep(o, (struct ask){ .kind = ASK_COMMIT, .result = DATA_OK }, NULL);
		if (o->h && o->txn != NO_TXN && o->acks < ACKS)
			o->ack[o->acks++] = o->txn;
		o->txn = NO_TXN;
	} else if (o->how == HOW_MUTE) {
		keep(o, (struct ask){ .kind = ASK_COMMIT, .result = DATA_OK }, NULL);
	}
	return d;
}

static void env_rollback(void *arg)
{
	struct oracle *o = arg;

	match_said(o);
	if (tells_history(o))
		end_txn(o, FATE_ABORTED, heard_us(o));
}

static void env_savepoint(void *arg, unsigned depth)
{
	struct oracle *o = arg;

	match_said(o);
	if (tells_history(o) && depth < MARKS)
		o->marks[depth] = history_mark(o->h, o->txn);
}

static void env_rollback_to(void *arg, unsigned depth)
{
	struct oracle *o = arg;

	match_said(o);
	if (tells_history(o) && depth < MARKS)
		history_undo(o->h, o->txn, o->marks[depth]);
}

void oracle_history_over(struct oracle *o, enum fate open, enum fate unanswered)
{
	unsigned i;

	end_txn(o, open, o->now_us);
	for (i = 0; i < o->acks; i++)
		history_end(o->h, o->ack[i], unanswered, o->now_us);
	o->acks = 0;
}

/* ---- data ---- */

/* The row that this value is in: one row for each that was asked. */
static bool value_ahead(const struct oracle *o, const char **p, uint32_t *n)
{
	unsigned i, k = 0;

	for (i = o->got_at; i < o->got.n; i++) {
		const struct msg *m = &o->got.v[i];

		if (strchr("CsIEZGc", m->p[0]))
			return false;
		if (m->p[0] != 'D' && m->p[0] != 'd')
			continue;
		if (k++ < o->rows_ahead)
			continue;
		if (m->p[0] == 'D')
			return row_column(m, 0, true, p, n);
		*p = memchr(m->p + WIRE_HEADER, '\t', m->len - WIRE_HEADER);
		if (!*p || m->p[m->len - 1] != '\n')
			return false;
		++*p;
		*n = (uint32_t)((const char *)m->p + m->len - 1 - *p);
		return true;
	}
	return false;
}

static void give(struct oracle *o, const char *p, size_t n)
{
	free(o->value);
	o->value = mem_copy_n(p, n);
}

static enum data env_read(void *arg, unsigned key, const char **value, struct engine_error *err)
{
	struct oracle *o = arg;
	const struct ask *a = o->how == HOW_REPLAY && o->ask_at < o->ask_n ? &o->ask[o->ask_at] : NULL;
	const char *replayed = a && a->value ? a->value : "";
	enum data d = ask_data(o, ASK_READ, err);
	const char *p = "";
	uint32_t n = 0;
	bool seen;

	if (d != DATA_OK)
		return d;
	if (o->how == HOW_LIVE) {
		seen = value_ahead(o, &p, &n) && !memchr(p, 0, n);
		give(o, seen ? p : unseen, seen ? n : 1);
		o->rows_ahead++;
		keep(o, (struct ask){ .kind = ASK_READ, .result = DATA_OK }, o->value);
		if (seen && o->h) {
			history_read(o->h, o->txn, key, o->value);
			o->effects = true;
		}
	} else {
		give(o, replayed, strlen(replayed));
	}
	*value = o->value;
	return DATA_OK;
}

static enum data env_append(void *arg, unsigned key, const char *tag, struct engine_error *err)
{
	struct oracle *o = arg;
	enum data d = ask_data(o, ASK_APPEND, err);

	if (d != DATA_OK)
		return d;
	keep(o, (struct ask){ .kind = ASK_APPEND, .result = DATA_OK }, NULL);
	if (!tells_history(o))
		return d;
	o->effects = true;
	if (o->loose && o->how == HOW_GHOST) {
		/* its BEGIN may have failed, and this be all of the transaction */
		unsigned t = history_begin(o->h, o->client, o->now_us);

		history_append(o->h, t, key, tag);
		history_end(o->h, t, FATE_UNKNOWN, o->now_us);
	} else {
		history_append(o->h, o->txn, key, tag);
	}
	return d;
}

/* ---- locks, sleep, pid ---- */

static enum data env_lock(void *arg, unsigned number, struct engine_error *err)
{
	struct oracle *o = arg;
	enum data d = ask_data(o, ASK_LOCK, err);

	if (d != DATA_OK)
		return d;
	keep(o, (struct ask){ .kind = ASK_LOCK, .result = DATA_OK }, NULL);
	o->held[number % 64]++;
	return d;
}

static bool env_try_lock(void *arg, unsigned number)
{
	struct oracle *o = arg;
	const char *p = "";
	uint32_t n = 0;
	bool fail, yes;
	const struct ask *a = before(o, ASK_TRY, &fail);

	if (a)
		yes = a->yes;
	else if (o->how == HOW_LIVE)
		yes = value_ahead(o, &p, &n) && n == 1 && (*p == 't' || *p == 1);
	else
		yes = true;
	/* who has it can have it again */
	yes |= o->how == HOW_LIVE && o->held[number % 64] > 0;
	keep(o, (struct ask){ .kind = ASK_TRY, .yes = yes }, NULL);
	o->held[number % 64] += yes;
	return yes;
}

static bool env_unlock(void *arg, unsigned number)
{
	struct oracle *o = arg;
	bool fail, yes;
	const struct ask *a;

	if (o->how == HOW_OFF)
		return true;
	a = before(o, ASK_UNLOCK, &fail);
	yes = a ? a->yes : o->held[number % 64] > 0;
	keep(o, (struct ask){ .kind = ASK_UNLOCK, .yes = yes }, NULL);
	if (yes && o->held[number % 64])
		o->held[number % 64]--;
	return yes;
}

static enum data env_sleep(void *arg, uint64_t us, struct engine_error *err)
{
	struct oracle *o = arg;
	enum data d = ask_data(o, ASK_SLEEP, err);

	(void)us;
	if (d == DATA_OK)
		keep(o, (struct ask){ .kind = ASK_SLEEP, .result = DATA_OK }, NULL);
	return d;
}

static void env_notify(void *arg, const char *channel, const char *payload)
{
	(void)arg;
	(void)channel;
	(void)payload;
}

/* A backend's own is not the one that pgweir tells: both are taken as they come. */
static uint32_t env_pid(void *arg, uint32_t *secret)
{
	struct oracle *o = arg;
	bool fail;
	const struct ask *a = before(o, ASK_PID, &fail);
	struct ask now = { .kind = ASK_PID };
	const char *p = "";
	uint32_t n = 0;
	unsigned i;

	if (a) {
		*secret = a->secret;
		return a->pid;
	}
	for (i = o->got_at; !o->logged_in && i < o->got.n; i++) {
		struct wire_get g = wire_body(o->got.v[i].p, o->got.v[i].len);

		if (o->got.v[i].p[0] != 'K')
			continue;
		now.pid = wire_get_u32(&g);
		now.secret = wire_get_u32(&g);
		break;
	}
	if (o->logged_in && o->how == HOW_LIVE && value_ahead(o, &p, &n)) {
		for (i = 0; i < n && p[i] >= '0' && p[i] <= '9'; i++)
			now.pid = now.pid * 10 + (uint32_t)(p[i] - '0');
		if (n == 4 && i < n) /* binary */
			for (now.pid = i = 0; i < n; i++)
				now.pid = now.pid << 8 | (uint8_t)p[i];
	}
	keep(o, now, NULL);
	*secret = now.secret;
	return now.pid;
}

/* ---- making the engine ---- */

void oracle_env(struct oracle *o)
{
	o->env = (struct engine_env){
		.arg = o,
		.out = match_out,
		.trouble = env_trouble,
		.begin = env_begin,
		.commit = env_commit,
		.rollback = env_rollback,
		.savepoint = env_savepoint,
		.rollback_to = env_rollback_to,
		.read = env_read,
		.append = env_append,
		.lock = env_lock,
		.try_lock = env_try_lock,
		.unlock = env_unlock,
		.sleep = env_sleep,
		.notify = env_notify,
		.pid = env_pid,
	};
}

static void feed_again(struct oracle *o, const struct input *in)
{
	const struct msg *m = in->sent == NO_ASK ? NULL : &o->sent.v[in->sent];

	if (m) {
		o->now_us = m->at_us;
		o->sent_type = m->p[0];
	}
	o->asked = false;
	engine_input(o->e, m ? m->p : in->own, m ? m->len : in->own_n);
}

void oracle_rebuild(struct oracle *o, unsigned n_in, unsigned target)
{
	unsigned i;

	o->how = HOW_OFF;
	engine_free(o->e);
	memset(o->held, 0, sizeof(o->held));
	o->rows_ahead = 0;
	o->said = 0;
	o->ask_at = 0;
	o->target = target;
	msgs_drop(&o->told, o->told.n);
	o->e = engine_new(&o->conf, &o->env);
	if (!o->e)
		abort();
	o->how = HOW_REPLAY;
	engine_login(o->e, o->startup, o->startup_n);
	for (i = 0; i < n_in && o->how == HOW_REPLAY; i++)
		feed_again(o, &o->in[i]);
	if (o->how == HOW_REPLAY) {
		if (target != NO_ASK)
			oracle_fail(o, "the oracle's engine does not ask again what it asked");
		while (o->ask_n > o->ask_at)
			free(o->ask[--o->ask_n].value);
		o->how = HOW_LIVE;
	}
	o->sent_at = 0;
	while (o->in_n > i)
		free(o->in[--o->in_n].own);
	while (i-- > 0)
		if (o->in[i].sent != NO_ASK) {
			o->sent_at = o->in[i].sent + 1;
			break;
		}
}

/* A message of the oracle's own, played for its effect. */
void oracle_feed_own(struct oracle *o, const uint8_t *p, size_t n, enum how how)
{
	enum how was = o->how;

	if (o->in_n == o->in_cap) {
		o->in_cap = o->in_cap ? 2 * o->in_cap : 64;
		o->in = mem_grow(o->in, o->in_cap * sizeof(*o->in));
	}
	o->in[o->in_n++] = (struct input){ NO_ASK, (uint8_t *)mem_copy_n(p, n), n };
	o->how = how;
	o->asked = false;
	engine_input(o->e, p, n);
	match_said(o);
	if (how == HOW_MUTE)
		o->how = was;
}
