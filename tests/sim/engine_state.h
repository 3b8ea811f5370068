/* tests/sim/engine_state.h - what a backend knows, and what its parts ask of each
 * other: engine.c (outside), engine_proto.c (messages), engine_task.c (what is being
 * run), engine_run.c and engine_words.c (statements), engine_expr.c (values and types),
 * engine_txn.c (transactions), engine_set.c and engine_guc.c (settings), engine_out.c
 * (bytes), engine_copy.c (COPY).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_ENGINE_STATE_H
#define PGWEIR_SIM_ENGINE_STATE_H

#include "engine.h"
#include "sql.h"
#include "store.h"

#define OID_BOOL 16u
#define OID_INT8 20u
#define OID_INT4 23u
#define OID_TEXT 25u
#define OID_FLOAT8 701u
#define OID_NUMERIC 1700u
#define OID_VOID 2278u

/* What doing something gave. GOT_FAIL: e->err says what. GOT_COPY: wants CopyData. */
enum got { GOT_DONE = 0, GOT_ROW, GOT_WAIT, GOT_FAIL, GOT_COPY };

struct buf {
	uint8_t *p;
	size_t len, cap;
};

struct val {
	char *text;                /* NULL: null; else its own, with a zero behind */
	size_t len;
};

struct row {
	struct val *v;
	unsigned n;
};

struct col {
	char *name;
	uint32_t oid;
	int16_t len;
};

/* n 0 and !any: returns no rows. */
struct cols {
	struct col *v;
	unsigned n;
	bool any;
};

/* A statement that is being run, from its beginning to its end, waits included. */
struct run {
	struct sql *ast;           /* a reference, for st */
	const struct sql_stmt *st;
	struct val *args;          /* parameters */
	unsigned n_args;
	uint32_t *oids;            /* their types */
	struct run *inner;         /* EXECUTE's */
	size_t pos;                /* how far it is: items, rows */
	unsigned step;             /* and inside of one */
	struct row row;            /* being made; row.n columns are ready */
	struct row *rows;          /* results that are kept */
	size_t n_rows, cap_rows, at_row;
	uint64_t count;
	char tag[64];
	bool full;                 /* all rows are kept in rows */
};

struct prepared {
	struct prepared *next;
	char *name;                /* "": the unnamed one */
	struct sql *ast;           /* first: NULL for an empty text */
	uint32_t *oids;
	unsigned n_params;
	bool from_sql;
};

enum portal_state { PORTAL_READY = 0, PORTAL_DONE, PORTAL_FAILED };

struct portal {
	struct portal *next;
	char *name;
	struct run *run;           /* NULL: of an empty text */
	uint16_t *formats;
	unsigned n_formats;
	struct cols cols;
	enum portal_state state;
	unsigned level;            /* of the savepoint it was made in; 0: the transaction */
	bool at_end;               /* no more rows */
	bool suspended;            /* for CockroachDB: it stands in the way of others */
	bool filled;               /* all is done that is not a plain SELECT */
	bool cursor, hold;
	bool late;                 /* made in a block that had failed */
	bool held;                 /* outlived its transaction */
};

/* Values of settings, shared until somebody changes them. */
struct setting {
	char *session, *local;     /* local: NULL: there is none */
	bool session_set, local_set; /* by SET, rather than what RESET gives */
};

struct settings {
	unsigned refs, n;
	struct setting *v;
};

struct temp {
	char *name;
	bool on_commit_drop;
};

struct temps {
	unsigned refs, n;
	struct temp *v;
};

/* LISTEN, UNLISTEN and NOTIFY of a transaction, done when it commits. */
struct deed {
	enum sql_kind kind;
	char *name, *text;         /* name NULL: all */
};

/* The beginning of a transaction (0) or a savepoint. */
struct mark {
	char *name;
	struct settings *settings;
	struct temps *temps;
	size_t n_deeds;
	bool read_only;
	bool fresh;                /* no data had been looked at */
};

/* xact.c's states; those of subtransactions follow from the number of marks. */
enum block {
	BLOCK_DEFAULT = 0, BLOCK_STARTED, BLOCK_BEGIN, BLOCK_INPROGRESS, BLOCK_IMPLICIT,
	BLOCK_END, BLOCK_RESTART, BLOCK_RELEASE, BLOCK_ABORT, BLOCK_ABORT_END, BLOCK_ABORT_PENDING,
	BLOCK_DONE                 /* CockroachDB: released, to be ended by COMMIT */
};

enum task_kind { TASK_NONE = 0, TASK_QUERY, TASK_EXECUTE, TASK_SYNC };
enum phase { PHASE_START = 0, PHASE_RUN, PHASE_FINISH };

struct task {
	enum task_kind kind;
	enum phase phase;
	bool waits, described, copying;
	bool ends;                 /* this Execute ends the transaction */
	bool suspended;            /* and it is its limit that does */
	struct sql *ast;           /* of a Query */
	const struct sql_stmt *st;
	struct run *run;           /* a Query's; or the portal's */
	struct portal *portal;
	uint32_t limit;
	uint64_t sent;             /* rows of this Execute */
	char tag[64];
	struct cols cols;
};

struct copy {
	struct buf data;           /* not yet a whole line */
	bool ended;                /* \. was read */
	bool done;                 /* CopyDone was */
	bool asked;                /* trouble AT_COPY_END was */
};

struct held_lock {
	unsigned number, count;
};

struct notice {
	struct notice *next;
	uint32_t pid;
	char *channel, *payload;
};

struct custom {
	char *name;
};

struct engine {
	struct engine_conf conf;
	struct engine_env env;
	bool crdb, logged_in, over, ended;
	struct buf out, in;
	size_t in_at, msg_at;      /* msg_at: where the message in out began */
	struct engine_error err;
	char abort_code[6];        /* of what the open block has failed with */
	char context[200];         /* of err: W; empty: none */
	const char *routine;       /* of err: R; static, or NULL */
	bool skip, extended, batch, busy;
	struct task task;
	struct copy copy;
	/* transaction */
	enum block block;
	bool open, chain, read_only, read_only_set, immediate, pipelined;
	bool did_work;             /* has looked at data */
	bool retry;                /* CockroachDB: 40001 was said */
	unsigned statements;       /* of this block */
	bool due_name, due_zone;   /* CockroachDB: to be told before CommandComplete */
	struct mark *marks;
	unsigned n_marks, cap_marks;
	unsigned restart;          /* BLOCK_RESTART: the mark to go back to */
	struct deed *deeds;
	size_t n_deeds, cap_deeds;
	/* session */
	struct settings *settings;
	char **reset;              /* what RESET gives, for each */
	bool *reset_client;        /* it came with the startup packet */
	char **reported;           /* what the client was told last */
	struct custom *customs;
	unsigned n_customs;
	struct temps *temps;
	struct prepared *prepared;
	struct portal *portals;
	char **listens;
	size_t n_listens;
	struct notice *notices;
	struct held_lock *locks;
	unsigned n_locks;
	uint32_t pid, secret;
	char version[160];
};

/* ---- engine_out.c: memory and bytes ---- */

void *mem_grow(void *p, size_t n);
char *mem_copy(const char *s);
char *mem_copy_n(const void *s, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_free(struct buf *b);

void out_begin(struct engine *e, char type);
void out_end(struct engine *e);
void out_u8(struct engine *e, uint8_t v);
void out_u16(struct engine *e, unsigned v);
void out_u32(struct engine *e, uint32_t v);
void out_str(struct engine *e, const char *s);
void out_bytes(struct engine *e, const void *p, size_t n);
void out_msg(struct engine *e, char type);
void out_flush(struct engine *e);
void out_tag(struct engine *e, const char *tag);
void out_cols(struct engine *e, const struct cols *c, const uint16_t *formats, unsigned n_formats);
void out_row(struct engine *e, const struct row *r, const struct cols *c, const uint16_t *formats,
	     unsigned n_formats);
/* severity: ERROR, FATAL, WARNING, NOTICE. */
void out_error(struct engine *e, const char *severity, const struct engine_error *err);
void out_warning(struct engine *e, const char *severity, const char *sqlstate, const char *text);
/* Parameters that changed, notifications, then ReadyForQuery. */
void out_ready(struct engine *e);
void out_notices(struct engine *e);

/* env said no: e->err is its own. */
enum got env_fail(struct engine *e);
/* Sets e->err; always GOT_FAIL. */
enum got fail(struct engine *e, const char *sqlstate, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void val_free(struct val *v);
void val_set(struct val *v, const char *text);
void val_set_n(struct val *v, const void *p, size_t n);
void row_free(struct row *r);
void cols_free(struct cols *c);
void cols_add(struct cols *c, const char *name, uint32_t oid);

/* ---- engine_proto.c ---- */

/* What e->err says: told, undone, and skipping or ready. */
void engine_failed(struct engine *e);
/* Deals with one whole message. */
void proto_message(struct engine *e, uint8_t type, const uint8_t *body, size_t n);
/* The session ends, without a word. */
void engine_close(struct engine *e);

/* A cursor over a body. */
struct get {
	struct engine *e;
	const uint8_t *p, *end;
	bool bad;
	bool told;                 /* e->err says what: no UTF-8 */
};
/* false: *g is bad, and e->err says why. */
bool get_utf8(struct get *g, const uint8_t *p, size_t n);
unsigned get_u8(struct get *g);
unsigned get_u16(struct get *g);
uint32_t get_u32(struct get *g);
const char *get_str(struct get *g);
const uint8_t *get_bytes(struct get *g, size_t n);
bool get_end(struct get *g);

/* engine_bind.c */
void proto_bind(struct engine *e, struct get *g);

/* ---- engine_task.c ---- */

void task_query(struct engine *e, struct sql *ast);
void task_execute(struct engine *e, struct portal *p, uint32_t limit);
void task_sync(struct engine *e);
/* Goes on. false: it waits, or wants CopyData. */
bool task_step(struct engine *e);
void task_drop(struct engine *e);
/* Checks that stand before anything else: 25P02. */
bool is_exit(const struct sql_stmt *st);
enum got refuse_aborted(struct engine *e);
enum got asked(struct engine *e, enum place at);

/* ---- engine_run.c ---- */

enum strategy { ONE_SELECT, ONE_RETURNING, UTIL_SELECT, NO_ROWS };

struct run *run_new(struct sql *ast, const struct sql_stmt *st);
void run_free(struct run *r);
void run_keep(struct run *r, struct row *row);
enum strategy run_strategy(const struct engine *e, const struct sql_stmt *st);
/* ONE_SELECT: the next row, in r->row. */
enum got run_next(struct engine *e, struct run *r);
/* The others: to the end; rows are in r->rows, the tag in r->tag. */
enum got run_whole(struct engine *e, struct run *r);
/* May it write now? */
enum got may_write(struct engine *e, const char *what);
/* engine_words.c: statements without data. */
enum got run_words(struct engine *e, struct run *r);
enum got run_copy_in(struct engine *e, struct run *r);
enum got run_copy_out(struct engine *e, struct run *r);
struct prepared *prepared_find(struct engine *e, const char *name);
void prepared_drop(struct engine *e, const char *name);
void prepared_drop_all(struct engine *e);
struct portal *portal_find(struct engine *e, const char *name);
struct portal *portal_new(struct engine *e, const char *name);
void portal_drop(struct engine *e, struct portal *p);
struct temp *temp_find(const struct engine *e, const char *name);

/* ---- engine_expr.c ---- */

/* Are relations, functions, columns there, and of which type are parameters?
 * oids: n of them are given (0: not said); afterwards *n_out of them, malloc'ed. NULL:
 * there are no parameters. */
enum got analyze(struct engine *e, const struct sql_stmt *st, uint32_t **oids, unsigned n,
		 unsigned *n_out);
/* What can be calculated before it is run, and must not fail then. */
enum got plan(struct engine *e, const struct run *r);
void describe(struct engine *e, const struct sql_stmt *st, const uint32_t *oids, struct cols *out);
enum got eval(struct engine *e, const struct run *r, const struct sql_expr *x, struct val *out);
/* *null: it is NULL. */
enum got eval_number(struct engine *e, const struct run *r, const struct sql_expr *x, int64_t *out,
		     bool *null);
enum got parse_number(struct engine *e, const char *text, uint32_t oid, int64_t *out);

/* ---- engine_txn.c ---- */

void xact_start(struct engine *e);
void xact_implicit(struct engine *e);
void xact_end_implicit(struct engine *e);
/* The data's transaction, when a statement needs it. */
void xact_data(struct engine *e, bool block);
enum got xact_finish(struct engine *e);
void xact_abort(struct engine *e);
bool xact_aborted(const struct engine *e);
bool xact_in_block(const struct engine *e);
enum got require_block(struct engine *e, const char *what);
enum got prevent_block(struct engine *e, const char *what);
enum got run_begin(struct engine *e, struct run *r);
enum got run_commit(struct engine *e, struct run *r);
enum got run_rollback(struct engine *e, struct run *r);
enum got run_savepoint(struct engine *e, struct run *r);
enum got run_release(struct engine *e, struct run *r);
enum got run_rollback_to(struct engine *e, struct run *r);
void deed_add(struct engine *e, enum sql_kind kind, const char *name, const char *text);
struct temps *temps_share(struct temps *t);
void temps_drop(struct temps *t);
struct temps *temps_own(struct engine *e);
void listens_drop(struct engine *e);

/* ---- engine_crdb.c ---- */

struct guc;
/* May this statement be run now? Its own refusals. */
enum got crdb_check(struct engine *e, const struct sql_stmt *st, bool alone);
enum got crdb_end(struct engine *e, struct run *r);
enum got crdb_savepoint(struct engine *e, const struct sql_stmt *st);
enum got crdb_rollback_to(struct engine *e, unsigned at);
void crdb_restart(struct engine *e, unsigned at);
enum got crdb_release(struct engine *e);
void crdb_report(struct engine *e);
void crdb_login(struct engine *e);
enum got crdb_startup(struct engine *e, const char *name, const char *value);
bool crdb_refuses(struct engine *e, const struct guc *g, const char *value);
enum got crdb_words(struct engine *e, const struct sql_stmt *st);

/* ---- engine_set.c: the values of settings; engine_guc.c: which there are ---- */

struct settings *settings_share(struct settings *s);
void settings_unref(struct settings *s);
void settings_init(struct engine *e);
void settings_free(struct engine *e);
void settings_commit(struct engine *e);
/* -1: there is none. */
int settings_find(const struct engine *e, const char *name);
const char *settings_value(const struct engine *e, int i);
const char *settings_name(const struct engine *e, int i);
/* As in SHOW: with units. */
const char *settings_get(const struct engine *e, const char *name);
bool settings_on(const struct engine *e, const char *name);
enum set_how { SET_SESSION, SET_LOCAL, SET_STARTUP };
/* value NULL: what RESET gives. */
enum got settings_set(struct engine *e, const char *name, const char *value, enum set_how how);
void settings_reset_all(struct engine *e);
void settings_report(struct engine *e);
/* The next setting that the session has set, by name, from *at on. */
bool settings_session(const struct engine *e, unsigned *at, struct row *row);
enum got run_set(struct engine *e, struct run *r);
enum got run_show(struct engine *e, struct run *r);

enum guc_kind { GUC_TEXT, GUC_BOOL, GUC_ENUM, GUC_INT, GUC_MS, GUC_KB, GUC_ENCODING, GUC_DATESTYLE,
		GUC_ZONE, GUC_PATH, GUC_NAME, GUC_WHO, GUC_FACT };
struct guc {
	const char *name, *boot;
	enum guc_kind kind;
	bool report, no_reset_all, hidden; /* hidden: not in pg_settings */
	const char *const *words;          /* GUC_ENUM */
	int64_t min, max;
	enum { EVERYWHERE = 0, NOT_CRDB, ONLY_CRDB } where;
};
/* By name, as PostgreSQL sorts them. */
const struct guc *guc_at(unsigned i);
unsigned guc_count(void);
/* The value as it will be kept, malloc'ed; NULL: *e's err. old: what it was. */
char *guc_value(struct engine *e, const struct guc *g, const char *as_typed, const char *value,
		const char *old);
/* The value as SHOW says it. */
const char *guc_show(const struct guc *g, const char *value, char *out, size_t cap);

#endif
