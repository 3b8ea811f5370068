/* tests/sim/test_oracle.c - oracle.c: what a lone server says passes, whatever the
 * clients do; each kind of damage on the way is found; and what pgweir says when a
 * server is lost is allowed where it may be, and nowhere else.
 *
 * Clients speak to the engine itself here, with the store behind it.
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

#include "oracle.h"
#include "program.h"
#include "rng.h"
#include "store.h"
#include "wire/wire.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CLIENTS 4u
#define ALL_MAY 0x7fu

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

/* ---- clients that do all kinds of things ---- */

static void move(struct peer *v)
{
	static uint8_t buf[1 << 18];
	uint8_t start[600];
	uint64_t us = 0;
	size_t n = 0;

	switch (program_next(v->p, v->status, v->copy_in, buf, sizeof(buf), &n, &us)) {
	case MOVE_SEND:
		send(v, buf, n);
		break;
	case MOVE_WAIT:
		v->waits = true;
		break;
	case MOVE_PAUSE:
		v->pause_until = v->w->now + us;
		break;
	case MOVE_CANCEL:
		oracle_may(v->o, MAY_CANCEL);
		v->sleeping = v->sleeping && !engine_waits(v->e);
		if (v->txn)
			store_unwait(v->txn);
		store_lock_forget(v->w->s, v);
		engine_cancel(v->e);
		break;
	case MOVE_RECONNECT:
		hang_up(v, true);
		connect_as(v, start, program_startup(v->p, start, sizeof(start)));
		v->logging = true;
		break;
	case MOVE_CLOSE:
	case MOVE_DONE:
	default:
		hang_up(v, true);
		v->done = true;
	}
}

/* The server has ended the session. */
static void lost(struct peer *v)
{
	uint8_t start[600];

	hang_up(v, false);
	program_lost(v->p);
	connect_as(v, start, program_startup(v->p, start, sizeof(start)));
	v->logging = true;
	v->waits = false;
}

static void one_step(struct peer *v)
{
	size_t have = v->out_n - v->out_at;

	if (v->done)
		return;
	engine_resume(v->e);
	if (have && rng_chance(&v->w->r, 70)) {
		hear(v, rng_chance(&v->w->r, 50) ? have : 1 + rng_below(&v->w->r, (unsigned)have));
		return;
	}
	if (engine_over(v->e) && !have && (v->waits || v->logging)) {
		lost(v);
		return;
	}
	if (v->logging && v->status)
		v->logging = false;
	if (v->waits && (v->copy_in || !oracle_owed(v->o)))
		v->waits = false;
	if (!v->logging && !v->waits && v->w->now >= v->pause_until)
		move(v);
}

static const char *final_value(void *arg, unsigned key)
{
	return store_value(arg, key);
}

static bool all_done(const struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n; i++)
		if (!w->v[i].done)
			return false;
	return true;
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

static void play(enum dialect d, enum manners m, uint64_t seed)
{
	static struct world w;
	unsigned i, turns = 0;
	uint8_t start[600];

	world_make(&w, d, 1 + (unsigned)(seed % CLIENTS), seed);
	if (seed % 5 == 4)
		store_disturb(w.s, 10, seed);
	for (i = 0; i < w.n; i++) {
		struct program_conf pc = { m < MANNERS_N ? m : (enum manners)rng_below(&w.r, MANNERS_N), d,
					   i, 12, w.n };

		w.v[i].p = program_new(&pc, rng_make(seed, 10 + i));
		assert_non_null(w.v[i].p);
		connect_as(&w.v[i], start, program_startup(w.v[i].p, start, sizeof(start)));
		w.v[i].logging = true;
	}
	while (!all_done(&w) && !*w.wrong && ++turns < 400000) {
		w.now += rng_below(&w.r, 200);
		one_step(&w.v[rng_below(&w.r, w.n)]);
	}
	for (i = 0; turns >= 400000 && i < w.n && !*w.wrong; i++)
		if (!w.v[i].done)
			(void)snprintf(w.wrong, sizeof(w.wrong),
				       "client %u does not end: %u owed, status %d, %zu unheard, at %s", i,
				       oracle_owed(w.v[i].o), w.v[i].status,
				       w.v[i].out_n - w.v[i].out_at, program_says(w.v[i].p));
	world_end(&w);
	if (*w.wrong)
		fail_msg("dialect %d manners %d seed %u: %s", (int)d, (int)m, (unsigned)seed, w.wrong);
}

static void test_programs(void **state)
{
	const char *from = getenv("ORACLE_FROM"), *n = getenv("ORACLE_N");
	uint64_t seed = from ? strtoull(from, NULL, 10) : 0;
	uint64_t end = seed + (n ? strtoull(n, NULL, 10) : 60);

	(void)state;
	for (; seed < end; seed++) {
		unsigned m;

		for (m = 0; m <= MANNERS_N; m++) {
			play(DIALECT_PG, (enum manners)m, seed);
			play(DIALECT_CRDB, (enum manners)m, seed);
		}
	}
}

/* ---- scripts: one client, word by word ----
 *
 * A client's message: "Q sql", "P name|sql", "B portal|statement", "D Sname", "E portal",
 * "C Sname", "S", "H", "d data", "c", "f why", "X". Then:
 *   "."      the server's answers are heard        "-"   they are not
 *   "> E 40001 text", "> Z T", "> C TAG", "> D text", "> 1" ...   this is heard instead
 *   "lose"   the server is another one now, and what was open is rolled back
 *   "other N tag"    somebody else appends to key N
 *   "may N", "over", "left"   allowed; the connection ends, by itself or by the client
 */

static const char lost_block[] = "> E 40001 the connection to the server was lost inside a transaction";
static const char lost_commit[] =
	"> E 40003 the connection to the server was lost while COMMIT was in flight";
static const char lost_flight[] =
	"> E 40003 the connection to the server was lost while a statement was in flight";
static const char in_limbo[] = "> E 25P02 current transaction is aborted, commands ignored until end of "
			       "transaction block";
#define LOST_BLOCK lost_block, "> Z E"
#define LOST_COMMIT lost_commit, "> Z I"
#define LOST_FLIGHT lost_flight, "> Z I"
#define LIMBO in_limbo, "> Z E"
#define LEAVE "Q ROLLBACK", "> C ROLLBACK", "> Z I"

static const uint8_t params[] = "user\0app\0database\0db\0application_name\0me\0";

static void put_client(struct wire_put *w, const char *word)
{
	const char *rest = word[1] ? word + 2 : "", *bar = strchr(rest, '|');

	wire_begin(w, *word);
	switch (*word) {
	case 'P':
		wire_put_bytes(w, rest, (size_t)(bar - rest));
		wire_put_u8(w, 0);
		wire_put_str(w, bar + 1);
		wire_put_u16(w, 0);
		break;
	case 'B':
		wire_put_bytes(w, rest, (size_t)(bar - rest));
		wire_put_u8(w, 0);
		wire_put_str(w, bar + 1);
		wire_put_u16(w, 0);
		wire_put_u16(w, 0);
		wire_put_u16(w, 0);
		break;
	case 'E':
		wire_put_str(w, rest);
		wire_put_u32(w, 0);
		break;
	case 'd':
		wire_put_bytes(w, rest, strlen(rest));
		wire_put_u8(w, '\n');
		break;
	case 'Q':
	case 'D':
	case 'C':
	case 'f':
		wire_put_str(w, rest);
		break;
	default:
		break;
	}
	wire_end(w);
}

static void put_error(struct wire_put *w, const char *rest, const char *severity)
{
	char code[6];
	struct wire_error e = { severity, code, rest + 6, "some detail", "a hint", NULL };

	memcpy(code, rest, 5);
	code[5] = 0;
	wire_put_error(w, 'E', &e);
}

static void put_server(struct wire_put *w, const char *word)
{
	const char *rest = word[1] ? word + 2 : "";

	switch (*word) {
	case 'E':
		put_error(w, rest, "ERROR");
		return;
	case 'F':
		put_error(w, rest, "FATAL");
		return;
	case 'D':
		wire_begin(w, 'D');
		wire_put_u16(w, 1);
		wire_put_u32(w, (uint32_t)strlen(rest));
		wire_put_bytes(w, rest, strlen(rest));
		break;
	case 'Z':
		wire_put_ready(w, *rest);
		return;
	case 'C':
		wire_put_msg_str(w, 'C', rest);
		return;
	default:
		wire_begin(w, *word);
	}
	wire_end(w);
}

static void other_appends(struct world *w, const char *word)
{
	unsigned t = history_begin(w->h, 9, w->now), key = (unsigned)(word[0] - '0');
	struct txn *x = store_begin(w->s, wake, NULL);
	struct engine_error err;

	assert_int_equal(store_append(x, key, word + 2, &err), DATA_OK);
	assert_int_equal(store_commit(x, &err), DATA_OK);
	history_append(w->h, t, key, word + 2);
	history_end(w->h, t, FATE_COMMITTED, w->now);
}

static void do_word(struct world *w, const char *word)
{
	struct peer *v = &w->v[0];
	struct engine_conf conf = { w->dialect, false, 150004 };
	uint8_t b[2048];
	struct wire_put p = wire_put_to(b, sizeof(b));

	w->now += 10;
	if (strcmp(word, ".") == 0) {
		hear(v, v->out_n);
	} else if (strcmp(word, "-") == 0) {
		v->out_at = v->out_n;
	} else if (*word == '>') {
		put_server(&p, word + 2);
		oracle_got(v->o, b, p.len, w->now);
	} else if (strcmp(word, "lose") == 0) {
		engine_free(v->e);
		v->e = engine_new(&conf, &v->env);
		assert_non_null(v->e);
		engine_login(v->e, params, sizeof(params));
		v->out_at = v->out_n;
	} else if (strncmp(word, "other ", 6) == 0) {
		other_appends(w, word + 6);
	} else if (strncmp(word, "may ", 4) == 0) {
		oracle_may(v->o, (unsigned)strtoul(word + 4, NULL, 0));
	} else if (strcmp(word, "over") == 0 || strcmp(word, "left") == 0) {
		oracle_over(v->o, *word == 'l', w->now);
	} else {
		put_client(&p, word);
		send(v, b, p.len);
	}
}

/* want: NULL: nothing is wrong; else a part of what must be said. */
static void check_script(const char *const *words, const char *want)
{
	static struct world w;
	unsigned i, owed;
	char all[2000] = "";

	world_make(&w, DIALECT_PG, 1, 1);
	connect_as(&w.v[0], params, sizeof(params));
	hear(&w.v[0], w.v[0].out_n);
	for (i = 0; words[i]; i++) {
		(void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "[%s] ", words[i]);
		do_word(&w, words[i]);
	}
	owed = oracle_owed(w.v[0].o);
	world_end(&w);
	if (!*w.wrong && owed)
		(void)snprintf(w.wrong, sizeof(w.wrong), "%u owed", owed);
	if (want ? !strstr(w.wrong, want) : *w.wrong != 0)
		fail_msg("%s\n  wanted \"%s\", got \"%s\"", all, want ? want : "nothing wrong", w.wrong);
	assert_true(!want || *w.wrong);
}

#define RIGHT(...) check_script((const char *const[]){ __VA_ARGS__, NULL }, NULL)
#define WRONG(want, ...) check_script((const char *const[]){ __VA_ARGS__, NULL }, want)
#define MAY_ALL "may 0x7f"

static void test_scripts(void **state)
{
	(void)state;
	RIGHT("Q SELECT 1", ".", "Q ", ".", "Q nonsense", ".");
	RIGHT("P |SELECT 'x'", "B |", "D P", "E ", "S", ".");
	RIGHT("Q BEGIN", "Q UPDATE kv SET v = v || 'a' WHERE k = 1", "Q COMMIT", ".",
	      "Q SELECT v FROM kv WHERE k = 1", ".");
	RIGHT("Q COPY kv FROM STDIN", ".", "d 1\tx", "d 2\ty", "c", ".");
	RIGHT("Q SET TimeZone = 'Asia/Tokyo'", ".", "Q SHOW TimeZone", ".");
	RIGHT("X", "over");
	WRONG("should be", "Q SELECT 1", "> C SELECT 1", "> Z I");
	WRONG("unasked", "> Z I");
	WRONG("owed", "Q SELECT 1");
	WRONG("without a reason", "over");
	WRONG("without a reason", "Q SELECT 1", "over");
	RIGHT("left");
	/* another's row */
	WRONG("should be", "Q SELECT 'mine' AS a", "> D yours", "> C SELECT 1", "> Z I");
}

static void test_lost_block(void **state)
{
#define BLOCK MAY_ALL, "Q BEGIN", ".", "Q UPDATE kv SET v = v || 'a' WHERE k = 1", ".", "lose"
	(void)state;
	RIGHT(BLOCK, "Q SELECT 1", "-", LOST_BLOCK, "Q SELECT 1", "-", LIMBO, "Q ROLLBACK TO s", "-", LIMBO,
	      LEAVE, "-", "Q SELECT v FROM kv WHERE k = 1", ".");
	RIGHT(BLOCK, "Q SELECT 1", "-", LOST_BLOCK, "Q nonsense", "-", LIMBO, "Q COMMIT", "-", "> C ROLLBACK",
	      "> Z I", "Q SELECT 1", ".");
	/* nothing was in flight: the next one hears of it */
	RIGHT(BLOCK, "Q COMMIT", "-", lost_block, "> Z I", "Q SELECT v FROM kv WHERE k = 1", ".");
	RIGHT(BLOCK, LEAVE, "-", "Q SELECT 1", ".");
	/* in the extended protocol, each message */
	RIGHT(BLOCK, "P |SELECT 1", "B |", "S", "-", LOST_BLOCK, "P |ROLLBACK", "B |", "E ", "S", "-", "> 1",
	      "> 2", "> C ROLLBACK", "> Z I", "P |SELECT 1", "B |", "E ", "S", ".");
	RIGHT(BLOCK, "C Snone", "-", "> 3", lost_block, "D Snone", "S", "-", "> Z E", LEAVE);
	RIGHT(BLOCK, "P |COMMIT", "B |", "E ", "S", "-", "> 1", "> 2", lost_block, "> Z I");
	/* with units in flight */
	RIGHT(BLOCK, "Q SELECT 1", "Q SELECT 2", "Q ROLLBACK", "-", LOST_BLOCK, LOST_BLOCK, LOST_BLOCK, LEAVE);
	/* a batch that had ended the block already */
	RIGHT(BLOCK, "P |ROLLBACK", "B |", "E ", "P |SELECT 1", "S", "-", "> 1", "> 2", "> C ROLLBACK",
	      LOST_BLOCK, "Q SELECT 1", "-", LIMBO, LEAVE);
	WRONG("40001", MAY_ALL, "Q SELECT 1", "-", LOST_BLOCK);
	WRONG("Z I", BLOCK, "Q SELECT 1", "-", lost_block, "> Z I");
	WRONG("40001", "Q BEGIN", ".", "Q SELECT 1", "-", LOST_BLOCK);
	WRONG("25P02", BLOCK, "Q SELECT 1", "-", LOST_BLOCK, LEAVE, "Q SELECT 1", "-", LIMBO);
	WRONG("COMMIT", BLOCK, "Q SELECT 1", "-", LOST_BLOCK, "Q COMMIT", "-", "> C COMMIT", "> Z I");
}

static void test_lost_unknown(void **state)
{
#define A "Q UPDATE kv SET v = v || 'a' WHERE k = 1"
#define B "Q UPDATE kv SET v = v || 'b' WHERE k = 2"
#define SEE "Q SELECT k, v FROM kv WHERE k IN (1, 2)", "."
	(void)state;
	/* done, and not done */
	RIGHT(MAY_ALL, A, "-", LOST_FLIGHT, "lose", SEE);
	RIGHT(MAY_ALL, "Q BEGIN", ".", A, ".", B, ".", "Q COMMIT", "-", LOST_COMMIT, SEE);
	RIGHT(MAY_ALL, "Q BEGIN", ".", A, ".", B, ".", "lose", "Q COMMIT", "-", LOST_COMMIT, SEE);
	RIGHT(MAY_ALL, "Q BEGIN", ".", A, B, "Q COMMIT", "-", LOST_COMMIT, LOST_COMMIT, LOST_COMMIT, SEE);
	RIGHT(MAY_ALL, "Q BEGIN", A, B, "Q COMMIT", "-", LOST_FLIGHT, LOST_FLIGHT, LOST_FLIGHT, LOST_FLIGHT,
	      SEE);
	RIGHT(MAY_ALL, "P |UPDATE kv SET v = v || 'a' WHERE k = 1", "B |", "E ", "S", "-", "> 1", "> 2",
	      "> C UPDATE 1", LOST_FLIGHT, SEE);
	RIGHT(MAY_ALL, "Q UPDATE kv SET v = v || 'a' WHERE k = 1; UPDATE kv SET v = v || 'b' WHERE k = 2", "-",
	      "> C UPDATE 1", LOST_FLIGHT, SEE);
	RIGHT(MAY_ALL, "Q COPY kv FROM STDIN", ".", "d 1\ta", "c", "-", LOST_FLIGHT, SEE);
	RIGHT(MAY_ALL, "Q COPY kv FROM STDIN", ".", "d 1\ta", "lose", "-", LOST_FLIGHT, "d 1\tb", "c", SEE);
	RIGHT(MAY_ALL, "Q COPY kv FROM STDIN", ".", "lose", "-", LOST_FLIGHT, "d 1\tb", "c", SEE);
	RIGHT(MAY_ALL, "P |COPY kv FROM STDIN", "B |", "E ", "S", ".", "lose", "-", LOST_FLIGHT, "d 1\tb", "c", "S",
	      ".", SEE);
	/* it was told: then it must be there */
	WRONG("missing", MAY_ALL, "Q BEGIN", ".", A, ".", "lose", "Q COMMIT", "-", "> C COMMIT", "> Z I", SEE);
	/* half of it */
	WRONG("half", MAY_ALL, "Q BEGIN", ".", A, ".", "lose", B, "-", "> C UPDATE 1", "> Z T", "Q COMMIT", "-",
	      LOST_COMMIT, SEE);
	/* statements that were not acknowledged are not there */
	RIGHT(MAY_ALL, "P s|SELECT 1", "B |s", "E ", "S", "-", LOST_FLIGHT, "lose", "P s|SELECT 2", "B |s", "E ",
	      "S", ".");
	WRONG("40003", A, "-", LOST_FLIGHT);
	WRONG("Z T", MAY_ALL, A, "-", lost_flight, "> Z T");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),	     cmocka_unit_test(test_lost_block),
		cmocka_unit_test(test_lost_unknown), cmocka_unit_test(test_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
