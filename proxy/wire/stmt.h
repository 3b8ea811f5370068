/* proxy/wire/stmt.h - prepared statements of the extended protocol, as clients
 * name them and as servers know them.
 *
 * Pure but for malloc. One struct stmts per worker, one struct stmt_names per
 * client, one struct stmt_cache per server connection.
 *
 * Each client has names of its own. Equal texts (query and parameter types)
 * are one struct stmt in a worker, with a number that is never used again; on
 * a server the statement is called after that number. A server that moves to
 * another worker takes its numbers along: the worker's number is part of them.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_STMT_H
#define PGWEIR_WIRE_STMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "wire/replayable.h"

#define STMT_PREFIX "pgweir_"
#define STMT_NAME_CAP 32               /* "pgweir_" + 16 hex digits + zero */

/* One text: what follows the name in a Parse message. */
struct stmt {
	unsigned refs;
	bool all_or_nothing, session_only;  /* the same */
	bool retryable;                /* by its text, see wire/lexer.h */
	bool retired;                  /* not to be shared any more: its plan is stale */
	bool may_commit;               /* a COMMIT, or not understood */
	bool ends_only;              /* a COMMIT or ROLLBACK alone */
	bool may_exit;                 /* ends a failed transaction, or not understood */
	bool sure;                     /* understood */
	bool nextval;                  /* may call nextval() */
	bool hint_off, hint_idempotent; /* said by its leading comment (wire/hints.h) */
	bool switches;                 /* SET, SHOW or RESET of a pgweir.*, for us to answer */
	bool barrier;                  /* DEALLOCATE or DISCARD: the names change with its answer */
	uint16_t leaves;               /* what it may leave behind: lex_leaves */
	struct replayable replayable;  /* what it means for a replay */
	uint32_t len;
	uint64_t print;                /* its fingerprint, 0: nobody has asked */
	uint64_t id;
	uint64_t hash;
	struct stmt *next;             /* in its bucket */
	uint8_t body[];                /* query, zero, number of types, types */
};

struct stmts {
	struct stmt **bucket;
	uint32_t cap, n;               /* cap is a power of two, 0 at first */
	uint64_t next_id;
	uint64_t key[2];               /* of the hash: random, not to be guessed */
	size_t bytes;
};

/* worker: 0..32767. key: random. */
void stmts_init(struct stmts *t, unsigned worker, const uint64_t key[2]);
/* Finds or makes the statement; one reference more. *fresh: it was made now.
 * NULL when out of memory. */
struct stmt *stmts_get(struct stmts *t, const uint8_t *body, uint32_t len, bool *fresh);
void stmts_put(struct stmts *t, struct stmt *s);       /* NULL is fine */
/* Whoever prepares the text again gets a fresh number, and so a fresh plan. */
void stmts_retire(struct stmts *t, uint64_t id);
void stmts_free(struct stmts *t);

/* The number in a server's name for it, 0: it is none. *len: of the name. */
uint64_t stmt_name_id(const char *name, size_t *len);
/* A RowDescription's body (PostgreSQL manual 55.7) as one number: names, types and
 * sizes of its columns; where they come from and their format do not count. */
uint64_t stmt_rows(const uint8_t *body, size_t len);

/* What a server calls it. */
void stmt_name(uint64_t id, char out[STMT_NAME_CAP]);

/* ---- a client's names ---- */

/* The columns of a statement's rows, as one number. */
#define ROWS_UNKNOWN 0u                /* never described */
#define ROWS_NONE 1u                   /* NoData */
#define ROWS_TOO_MANY 2u               /* a description too long to be looked at */

struct stmt_named {
	struct stmt *stmt;
	uint64_t rows;                 /* what the client was told of them */
	struct stmt_named *next;
	uint64_t hash;
	char name[];
};

struct stmt_names {
	struct stmt_named **bucket;
	uint32_t cap, n;
	size_t bytes;                  /* of the names and the texts they stand for */
	uint64_t key[2];               /* as stmts: set by the owner before use */
};

struct stmt *stmt_names_get(const struct stmt_names *m, const char *name);
/* The same with what the client was told, NULL when it is not there. */
const struct stmt_named *stmt_names_entry(const struct stmt_names *m, const char *name);
/* The client is told this of statement id, under whatever names. */
void stmt_names_tell(struct stmt_names *m, uint64_t id, uint64_t rows);
/* Takes over the caller's reference to s. -1: out of memory, or the name is
 * there already; the reference stays with the caller. */
MUST_CHECK int stmt_names_add(struct stmt_names *m, const char *name, struct stmt *s);
/* Takes the name out and gives the reference back, NULL when it is not there. */
struct stmt *stmt_names_del(struct stmt_names *m, const char *name);
/* A statement by its number, whatever its name here: *name is one of them. NULL:
 * none. */
struct stmt *stmt_names_find(const struct stmt_names *m, uint64_t id, const char **name);
/* Every name of statement id. */
void stmt_names_forget(struct stmt_names *m, struct stmts *t, uint64_t id);
void stmt_names_clear(struct stmt_names *m, struct stmts *t);

/* ---- what a server has ---- */

struct stmt_slot {
	uint64_t id;                   /* 0: free */
	uint64_t rows;                 /* what this server says of them */
	uint32_t newer, older;         /* neighbours by use, STMT_NIL at the ends */
};
#define STMT_NIL UINT32_MAX

struct stmt_cache {
	struct stmt_slot *slot;        /* open addressing, NULL until first used */
	uint32_t cap, n;
	uint32_t newest, oldest;
};

/* True when it is there; it is then the most recently used. */
bool stmt_cache_use(struct stmt_cache *c, uint64_t id);
/* What the server has said of id's rows. */
uint64_t stmt_cache_rows(const struct stmt_cache *c, uint64_t id);
void stmt_cache_tell(struct stmt_cache *c, uint64_t id, uint64_t rows);
MUST_CHECK int stmt_cache_add(struct stmt_cache *c, uint64_t id);
void stmt_cache_del(struct stmt_cache *c, uint64_t id);
/* The least recently used, 0 when empty. */
uint64_t stmt_cache_oldest(const struct stmt_cache *c);
void stmt_cache_clear(struct stmt_cache *c);

#endif
