/* tests/sim/engine.h - one backend of a simulated PostgreSQL or CockroachDB: the
 * protocol and a small SQL, without sockets, clock or data of its own.
 *
 * It is used twice. A simulated server (node.c) gives it the shared store: what it
 * answers then is what pgweir hears. A checker (oracle.c) gives it the frontend
 * messages of one client and lets the answers that the client got decide what the
 * store said: it then tells what a lone server would have answered, byte for byte.
 * So the same messages with the same outcomes of env must give the same bytes.
 *
 * Owner: whoever made it. Everything it asks for goes through env; env functions
 * must not call back into the engine.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_ENGINE_H
#define PGWEIR_SIM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;

enum dialect { DIALECT_PG = 0, DIALECT_CRDB };

struct engine_error {
	char sqlstate[6];
	char message[200];
	const char *hint;              /* static, or NULL */
	bool fatal;                    /* severity FATAL: the session is over */
};

/* What asking for data gave. */
enum data {
	DATA_OK = 0,
	DATA_WAIT,                     /* not yet: engine_resume(), then it is asked again,
					  with the same arguments */
	DATA_ERROR                     /* *err says what; the transaction has failed */
};

/* Where trouble() is asked. */
enum place {
	AT_QUERY = 0,                  /* before the first statement of a Query is parsed */
	AT_PARSE, AT_BIND, AT_DESCRIBE, AT_EXECUTE, AT_CLOSE, AT_SYNC, AT_COPY_END,
	AT_STATEMENT                   /* before each statement is run (simple, or at Execute) */
};

/* All functions must be there. key: 0..KEYS-1. */
struct engine_env {
	void *arg;
	/* Backend messages, whole ones. */
	void (*out)(void *arg, const uint8_t *p, size_t n);
	/* Should this fail? Asked before anything else is done there. */
	bool (*trouble)(void *arg, enum place at, struct engine_error *err);
	/* A transaction begins (the block's BEGIN, or the first statement of an implicit
	 * one), ends well, or is undone. commit: DATA_ERROR means rolled back. */
	void (*begin)(void *arg, bool block);
	enum data (*commit)(void *arg, struct engine_error *err);
	void (*rollback)(void *arg);
	/* Savepoints by depth, 1 is the outermost. rollback_to keeps the savepoint. */
	void (*savepoint)(void *arg, unsigned depth);
	void (*rollback_to)(void *arg, unsigned depth);
	/* The value of a key is the tags appended to it, each with a comma behind it.
	 * *value is env's, valid until the next call. */
	enum data (*read)(void *arg, unsigned key, const char **value, struct engine_error *err);
	enum data (*append)(void *arg, unsigned key, const char *tag, struct engine_error *err);
	/* Session-level advisory locks, of the whole world. */
	enum data (*lock)(void *arg, unsigned number, struct engine_error *err);
	bool (*try_lock)(void *arg, unsigned number);
	bool (*unlock)(void *arg, unsigned number);
	/* pg_sleep: DATA_WAIT until it is over. */
	enum data (*sleep)(void *arg, uint64_t us, struct engine_error *err);
	/* NOTIFY of a transaction that has committed. */
	void (*notify)(void *arg, const char *channel, const char *payload);
	/* pg_backend_pid(), and the key of BackendKeyData. */
	uint32_t (*pid)(void *arg, uint32_t *secret);
};

struct engine_conf {
	enum dialect dialect;
	bool standby;                  /* in recovery: writes fail with 25006 */
	unsigned version;              /* server_version_num-like, e.g. 150004 */
};

/* NULL: out of memory. conf is copied, env borrowed. */
struct engine *engine_new(const struct engine_conf *conf, const struct engine_env *env);
/* Rolls back what is open and gives its advisory locks back, through env. */
void engine_free(struct engine *e);

/* The startup packet without its length and version: name and value pairs. Answers
 * AuthenticationOk, ParameterStatus, BackendKeyData, ReadyForQuery; or an error
 * (22023 and the like, FATAL) for a setting that is refused. */
void engine_login(struct engine *e, const uint8_t *params, size_t n);
/* Frontend bytes, cut anywhere. What it cannot do yet (it waits) is kept. */
void engine_input(struct engine *e, const uint8_t *p, size_t n);
/* What it waited for may be there: tries again and goes on. */
void engine_resume(struct engine *e);
/* It waits in a lock, commit or sleep. */
bool engine_waits(const struct engine *e);
/* Status 'I', no batch open, nothing half read or waited for. */
bool engine_at_rest(const struct engine *e);
/* 'I', 'T', 'E' */
char engine_status(const struct engine *e);
/* What the transaction block failed with that is open, empty: there is none. */
const char *engine_abort_code(const struct engine *e);
/* CancelRequest: a statement that waits ends with 57014; else nothing. */
void engine_cancel(struct engine *e);
/* Says err (FATAL) and is over. */
void engine_end(struct engine *e, const struct engine_error *err);
/* Terminate was read, or a FATAL error said: nothing more is read or said. */
bool engine_over(const struct engine *e);
/* A notification for a channel it may listen on; sent now, or when it is idle. */
void engine_notified(struct engine *e, uint32_t pid, const char *channel, const char *payload);
/* Its statements and portals and settings, one line each, for a trace. */
void engine_dump(const struct engine *e, void (*line)(void *arg, const char *text), void *arg);
/* Is there anything that another session must never see: prepared statements not
 * of the protocol, listens, temporary tables, held cursors, session locks, or an open
 * transaction? A bit for each (enum engine_left). */
enum engine_left {
	LEFT_TXN = 1, LEFT_PREPARE = 2, LEFT_LISTEN = 4, LEFT_TEMP = 8, LEFT_HOLD = 16,
	LEFT_LOCK = 32
};
unsigned engine_left(const struct engine *e);
/* The session's value of a setting; NULL: there is no such setting. */
const char *engine_setting(const struct engine *e, const char *name);
/* The same as SHOW has it, the engine's own or in out. */
const char *engine_show(const struct engine *e, const char *name, char *out, size_t cap);

#endif
