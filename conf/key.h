/* conf/key.h - the table of settings (keys.def) at run time: one value of each
 * type parsed and printed.
 *
 * Owner:   nobody; const tables.
 * Threads: any.
 *
 * A setting lives at key->offset in the struct of its scope: conf_global,
 * conf_db_keys, conf_user_keys or conf_peer_keys. Base is a pointer to that struct.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_KEY_H
#define PGWEIR_CONF_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "conf/err.h"

enum key_scope { KEY_GLOBAL = 0, KEY_DB, KEY_USER, KEY_PEER, KEY_SCOPE_N };

enum key_type {
	KEY_STR = 0,
	KEY_BOOL,
	KEY_INT,
	KEY_TIME,
	KEY_SIZE,
	KEY_WORKERS,
	KEY_MODE,
	KEY_POOL_MODE,
	KEY_BALANCE,
	KEY_SESSION_ATTRS,
	KEY_AUTH_TYPE,
	KEY_SSLMODE,
	KEY_SSLNEGOTIATION,
	KEY_CHANNEL_BINDING,
	KEY_CLEARTEXT,
	KEY_RETRY,
	KEY_PIN,
	KEY_RETRY_UNKNOWN,
	KEY_ON_MARKED_DOWN,
	KEY_TYPE_N
};

struct key {
	enum key_scope scope;
	enum key_type type;
	const char *name;
	const char *def;
	double min;                    /* in the file's unit */
	double max;
	bool is_reloadable;
	const char *help;
	size_t offset;
};

/* Room for any value that is not a string. */
#define KEY_TEXT_MAX 64

/* The i-th row in the order of keys.def, NULL behind the last. */
const struct key *key_row(size_t i);

/* NULL when there is none. */
const struct key *key_find(enum key_scope scope, const char *name);

/* The row's place, for tables beside it: 0 .. key_count() - 1. */
size_t key_index(const struct key *k);
size_t key_count(void);

/* Sets every setting of the scope to its default; for the others: to unset.
 * base must be zeroed or hold values set by this module. -1: out of memory. */
MUST_CHECK int key_defaults(enum key_scope scope, void *base, struct err *e);

/* Parses text into the field. On failure the field keeps its value and the
 * sentence says what is allowed: `pool_mode = "x" is unknown; allowed: ...`. */
MUST_CHECK int key_set(const struct key *k, void *base, const char *text, struct err *e);

/* The value in the file's words: out (cap bytes) or, for a string, the string
 * itself. Unset is "". */
const char *key_print(const struct key *k, const void *base, char *out, size_t cap);

/* True for passwords: they are never shown. */
bool key_is_secret(const struct key *k);

/* `; did you mean "x"?` for a name that is none, or "". Returns out. */
const char *key_hint(enum key_scope scope, const char *name, char *out, size_t cap);

/* An enum type's value by its word, in any case: false, there is none. And the other way. */
bool key_word_value(enum key_type type, const char *word, int64_t *value);
const char *key_word(enum key_type type, int64_t value);

/* "session, transaction": the words of an enum type; "" for other types. */
const char *key_words(enum key_type type, char *out, size_t cap);

#endif
