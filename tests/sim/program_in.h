/* tests/sim/program_in.h - between the files of program*.c (and its test).
 *
 * A program makes one unit of work at a time: bytes in a buffer and a list of steps
 * over it. The body of a unit may be cut short by an error; its tail is always gone
 * through and leaves no block, no COPY and no lock behind.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_PROGRAM_IN_H
#define PGWEIR_SIM_PROGRAM_IN_H

#include "program.h"
#include "wire/wire.h"
#include "conf/err.h"

#define STEPS_MAX 512u
#define BYTES_MAX (384u << 10)
#define TEXT_MAX (96u << 10)
#define STMTS 6u
#define LOCKS 3u
#define TRIES_MAX 6u

enum step_flag {
	IF_COPY = 1,          /* only while the server waits for CopyData */
	IF_BLOCK = 2,         /* only in a block */
	IN_COPY = 4,          /* also while it waits for CopyData */
	TAIL = 8,             /* also after an error */
	IF_FAILED = 16,       /* only in a block that has failed */
	IF_ERROR = 32,        /* only after an error */
	ENDS_COPY = 64        /* CopyDone or CopyFail is in it */
};

struct step {
	uint8_t move;
	uint8_t flags;
	uint32_t at, len;
	uint64_t us;
};

/* What is prepared under a name. */
enum tmpl {
	T_READ = 0, T_READ_UPDATE, T_READ_3, T_APPEND, T_APPEND_RETURNING, T_INSERT,
	T_INSERT_RETURNING, T_LITERAL, T_SERIES, T_REPEAT, T_SHOW, T_SET, T_DIVIDE, T_NOTHING,
	T_SYNTAX, T_EMPTY, T_BEGIN, T_COMMIT, T_ROLLBACK, T_N
};

enum known { GONE = 0, THERE, UNSURE };

struct stmt {
	enum known known;
	enum tmpl tmpl;
	unsigned unit;                 /* that prepared it */
};

struct text {
	size_t n;
	char s[TEXT_MAX];
};

struct program {
	struct program_conf c;
	struct rng r;
	struct rng shape;              /* r as it was when the unit was begun */
	unsigned left;                 /* units still to be made */
	unsigned number;               /* of the last tag */
	unsigned unit;                 /* for says */
	unsigned kind;                 /* of the unit at hand */
	unsigned tries;                /* of this unit */
	unsigned guards;               /* how often it was got out of a COPY or block */
	unsigned at, nsteps;
	size_t sent;                   /* of the step at hand */
	size_t cut;                    /* end of the last step made */
	char status;
	bool careful;                  /* an error ends the body of the unit */
	bool tail;                     /* new steps belong to the tail */
	bool copy_ext;                 /* its COPY needs a Sync to come out of */
	bool ends_copy;                /* will be said of the next step */
	bool in_copy;                  /* the server waits for data, as far as is known */
	bool erred, conflict, gone, ending, wait_next, waited;
	bool residue;                  /* something may be left in the session */
	bool holds;                    /* an advisory lock, tried for */
	struct stmt stmts[STMTS];
	struct step steps[STEPS_MAX];
	struct wire_put w;
	bool wishes;                   /* its startup packet asked for settings */
	struct text t;                 /* the statement being written */
	char tags[8][24];
	char says[80];
	uint8_t bytes[BYTES_MAX];
};

/* ---- program_sql.c: texts ---- */

/* A tag, or marker, that nothing else has; one of the last eight. */
const char *mark(struct program *p);
unsigned some_key(struct program *p);
void text_begin(struct program *p);
void say_text(struct program *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Adds a statement of a kind; each may stand in a Query of several. */
void add_read(struct program *p);
void add_append(struct program *p);
void add_other(struct program *p);     /* without data, without errors */
void add_error(struct program *p);
void add_any(struct program *p, unsigned errors);
void add_begin(struct program *p);
void add_end(struct program *p);
const char *some_setting(struct program *p, const char **value);

/* ---- program_sql.c: messages, into p->w ---- */

void put_query(struct program *p);     /* the text, in some spelling */
void put_simple(struct program *p, const char *sql);
void put_parse(struct program *p, const char *name, const char *sql);
/* The text of a template. */
void put_parse_tmpl(struct program *p, const char *name, enum tmpl t);
void put_bind_tmpl(struct program *p, const char *portal, const char *name, enum tmpl t);
void put_describe(struct program *p, char what, const char *name);
void put_close(struct program *p, char what, const char *name);
void put_execute(struct program *p, const char *portal, unsigned rows);
void put_sync(struct program *p);
/* Parse, Bind, Execute of a text. */
void put_all(struct program *p, const char *sql);
void put_copy_data(struct program *p, const char *data, size_t n);

/* ---- program.c: steps ---- */

/* What was put since the last step becomes a step. */
void step_send(struct program *p, unsigned flags);
void step_wait(struct program *p, unsigned flags);
/* Send, then wait. */
void step_ask(struct program *p, unsigned flags);
void step_pause(struct program *p, unsigned us);
void step_move(struct program *p, enum move m);
/* Sometimes a little while. */
void step_think(struct program *p);
/* The tail: waits, then the block is left. Sync first, where a batch is open. */
void tail_begin(struct program *p, bool sync);

/* ---- kinds of work ---- */

struct kind {
	const char *name;
	void (*make)(struct program *p);
	uint8_t weight[MANNERS_N];
	bool retry;                    /* is made again after 40001 */
	bool pg;                       /* not for CockroachDB */
};
const struct kind *program_kind(unsigned i);   /* NULL: no more */

void make_read(struct program *p);
void make_append(struct program *p);
void make_multi(struct program *p);
void make_txn(struct program *p);
void make_modify(struct program *p);
void make_savepoint(struct program *p);
void make_chain(struct program *p);
void make_failed(struct program *p);
void make_empty(struct program *p);
void make_large(struct program *p);
void make_copy_in(struct program *p);
void make_copy_out(struct program *p);
void make_queries(struct program *p);
void make_copies(struct program *p);

void make_libpq(struct program *p);
void make_pgjdbc(struct program *p);
void make_asyncpg(struct program *p);
void make_pgx(struct program *p);
void make_npgsql(struct program *p);
void make_named(struct program *p);
void make_portal(struct program *p);
void make_batch(struct program *p);
void make_flush(struct program *p);
void make_units(struct program *p);
void make_long(struct program *p);
void make_copy_ext(struct program *p);

void make_set(struct program *p);
void make_set_block(struct program *p);
void make_set_config(struct program *p);
void make_role(struct program *p);
void make_listen(struct program *p);
void make_notify(struct program *p);
void make_temp(struct program *p);
void make_hold(struct program *p);
void make_lock(struct program *p);
void make_try_lock(struct program *p);
void make_prepare(struct program *p);
void make_sleep(struct program *p);
void make_cancel(struct program *p);
void make_clean(struct program *p);
/* Steps that leave nothing in the session. */
void add_clean(struct program *p);

void make_order(struct program *p);
void make_syncs(struct program *p);
void make_copy_outside(struct program *p);
void make_function(struct program *p);
void make_malformed(struct program *p);
void make_type(struct program *p);
void make_length(struct program *p);
void make_half(struct program *p);
void make_leave_block(struct program *p);
void make_leave_copy(struct program *p);
void make_leave_batch(struct program *p);
void make_terminate(struct program *p);
void make_odd_cancel(struct program *p);
void make_reconnect(struct program *p);
void make_copy_wrong(struct program *p);

#endif
