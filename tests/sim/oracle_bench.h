/* tests/sim/oracle_bench.h - for the tests of the oracle: clients that speak to the
 * engine itself, with the store behind it, and an oracle for each.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_ORACLE_BENCH_H
#define PGWEIR_SIM_ORACLE_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "oracle.h"
#include "program.h"
#include "rng.h"
#include "store.h"
#include "wire/wire.h"

#define CLIENTS 4u

struct world;

/* A client, its server, and its oracle. */
struct peer {
	struct world *w;
	unsigned number;
	struct engine *e;
	struct engine_env env;
	struct txn *txn;
	struct oracle *o;
	uint32_t pid;
	bool sleeping;
	uint64_t until;
	uint8_t *out;              /* said, and not yet heard */
	size_t out_n, out_at;
	uint8_t head[5];           /* of what is heard */
	size_t head_n;
	uint32_t body_left;
	uint8_t type;
	char body[64];             /* the beginning of an error */
	size_t body_n;
	char status;
	bool copy_in;
	/* driven by a program */
	struct program *p;
	bool done, waits, logging;
	uint64_t pause_until;
};

struct world {
	enum dialect dialect;
	struct store *s;
	struct history *h;
	struct rng r;
	uint64_t now;
	struct peer v[CLIENTS];
	unsigned n;
	char wrong[1500];
};

static void on_wrong(void *arg, const char *what)
{
	struct world *w = arg;

	if (!*w->wrong)
		(void)snprintf(w->wrong, sizeof(w->wrong), "%s", what);
}

/* ---- the server's environment, as in node.c ---- */

static void env_out(void *arg, const uint8_t *p, size_t n)
{
	struct peer *v = arg;

	v->out = realloc(v->out, v->out_n + n + 1);
	assert_non_null(v->out);
	memcpy(v->out + v->out_n, p, n);
	v->out_n += n;
}

static bool env_trouble(void *arg, enum place at, struct engine_error *err)
{
	(void)arg;
	(void)at;
	(void)err;
	return false;
}

static void wake(void *arg)
{
	(void)arg; /* everybody is asked again and again */
}

static void env_begin(void *arg, bool block)
{
	struct peer *v = arg;

	(void)block;
	v->txn = store_begin(v->w->s, wake, v);
}

static enum data env_commit(void *arg, struct engine_error *err)
{
	struct peer *v = arg;
	enum data d = store_commit(v->txn, err);

	if (d != DATA_WAIT)
		v->txn = NULL;
	return d;
}

static void env_rollback(void *arg)
{
	struct peer *v = arg;

	store_rollback(v->txn);
	v->txn = NULL;
}

static void env_savepoint(void *arg, unsigned depth)
{
	store_savepoint(((struct peer *)arg)->txn, depth);
}

static void env_rollback_to(void *arg, unsigned depth)
{
	store_rollback_to(((struct peer *)arg)->txn, depth);
}

static enum data env_read(void *arg, unsigned key, const char **value, struct engine_error *err)
{
	return store_read(((struct peer *)arg)->txn, key, value, err);
}

static enum data env_append(void *arg, unsigned key, const char *tag, struct engine_error *err)
{
	return store_append(((struct peer *)arg)->txn, key, tag, err);
}

static enum data env_lock(void *arg, unsigned number, struct engine_error *err)
{
	struct peer *v = arg;

	(void)err;
	return store_lock(v->w->s, number, v, wake, v) ? DATA_OK : DATA_WAIT;
}

static bool env_try_lock(void *arg, unsigned number)
{
	struct peer *v = arg;
	bool got = store_lock(v->w->s, number, v, wake, v);

	if (!got)
		store_lock_forget(v->w->s, v);
	return got;
}

static bool env_unlock(void *arg, unsigned number)
{
	struct peer *v = arg;

	return store_unlock(v->w->s, number, v);
}

static enum data env_sleep(void *arg, uint64_t us, struct engine_error *err)
{
	struct peer *v = arg;

	(void)err;
	if (!v->sleeping) {
		v->sleeping = true;
		v->until = v->w->now + us;
	}
	if (v->w->now < v->until)
		return DATA_WAIT;
	v->sleeping = false;
	return DATA_OK;
}

static void env_notify(void *arg, const char *channel, const char *payload)
{
	struct peer *v = arg;
	unsigned i;

	for (i = 0; i < v->w->n; i++)
		if (v->w->v[i].e && &v->w->v[i] != v)
			engine_notified(v->w->v[i].e, v->pid, channel, payload);
}

static uint32_t env_pid(void *arg, uint32_t *secret)
{
	struct peer *v = arg;

	*secret = v->pid * 7;
	return v->pid;
}

/* ---- sessions ---- */

static void connect_as(struct peer *v, const uint8_t *params, size_t n)
{
	struct engine_conf conf = { v->w->dialect, false, 150004 };

	v->env = (struct engine_env){ v,	     env_out,	   env_trouble,	    env_begin,
				      env_commit,    env_rollback, env_savepoint,   env_rollback_to,
				      env_read,	     env_append,   env_lock,	    env_try_lock,
				      env_unlock,    env_sleep,	   env_notify,	    env_pid };
	v->pid++;
	v->status = 0;
	v->copy_in = false;
	v->out_n = v->out_at = v->head_n = 0;
	v->body_left = 0;
	v->e = engine_new(&conf, &v->env);
	v->o = oracle_new(v->number, &conf, v->w->h, on_wrong, v->w);
	assert_non_null(v->e);
	assert_non_null(v->o);
	oracle_may(v->o, MAY_SERIALIZE);
	oracle_startup(v->o, params, n);
	engine_login(v->e, params, n);
}

static void hang_up(struct peer *v, bool by_client)
{
	if (!v->e)
		return;
	oracle_over(v->o, by_client, v->w->now);
	oracle_free(v->o);
	engine_free(v->e);
	store_lock_forget(v->w->s, v);
	store_unlock_all(v->w->s, v);
	v->e = NULL;
	v->o = NULL;
	v->sleeping = false;
	assert_null(v->txn);
}

static void send(struct peer *v, const uint8_t *p, size_t n)
{
	v->copy_in = false;
	oracle_sent(v->o, p, n, v->w->now);
	if (!engine_over(v->e))
		engine_input(v->e, p, n);
}

static void tell_error(struct peer *v)
{
	size_t i = 0;

	while (v->p && i + 7 < v->body_n && v->body[i] != 'C')
		i += strnlen(v->body + i, v->body_n - i) + 1;
	if (v->p && i + 7 < v->body_n && v->waits)
		program_error(v->p, v->body + i + 1);
}

/* What a client sees of the framing. */
static void look(struct peer *v, const uint8_t *p, size_t n)
{
	for (; n; p++, n--) {
		if (v->head_n < 5) {
			v->head[v->head_n++] = *p;
			if (v->head_n < 5)
				continue;
			v->type = v->head[0];
			v->body_left = ((uint32_t)v->head[1] << 24 | (uint32_t)v->head[2] << 16 |
					(uint32_t)v->head[3] << 8 | v->head[4]) - 4;
			v->copy_in = v->type == 'G' || (v->copy_in && v->type != 'E');
			v->body_n = 0;
		} else {
			v->body_left--;
			if (v->body_n < sizeof(v->body))
				v->body[v->body_n++] = (char)*p;
			if (v->type == 'Z')
				v->status = (char)*p;
		}
		if (!v->body_left) {
			if (v->type == 'Z')
				v->copy_in = false;
			if (v->type == 'E')
				tell_error(v);
			v->head_n = 0;
		}
	}
}

static void hear(struct peer *v, size_t n)
{
	uint8_t *p = malloc(n + 1);

	assert_non_null(p);
	if (n > v->out_n - v->out_at)
		n = v->out_n - v->out_at;
	memcpy(p, v->out + v->out_at, n);
	v->out_at += n;
	oracle_got(v->o, p, n, v->w->now);
	look(v, p, n);
	free(p);
}

static const char *final_value(void *arg, unsigned key)
{
	return store_value(arg, key);
}

static void world_make(struct world *w, enum dialect d, unsigned n, uint64_t seed)
{
	unsigned i;

	memset(w, 0, sizeof(*w));
	w->dialect = d;
	w->n = n;
	w->r = rng_make(seed, 1);
	w->s = store_new(d);
	w->h = history_new();
	w->now = 1000;
	assert_non_null(w->s);
	assert_non_null(w->h);
	for (i = 0; i < n; i++) {
		w->v[i].w = w;
		w->v[i].number = i;
		w->v[i].pid = 1000 * i;
	}
}

static void world_end(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n; i++) {
		hang_up(&w->v[i], true);
		program_free(w->v[i].p);
		free(w->v[i].out);
	}
	if (!*w->wrong)
		(void)history_check(w->h, KEYS, final_value, w->s, w->wrong, sizeof(w->wrong));
	history_free(w->h);
	store_free(w->s);
}

#endif
