/* proxy/wire/params.h - the settings in which a session differs from a fresh
 * one, and the SQL that turns one session's settings into another's.
 *
 * Pure but for malloc. One struct per client and one per server; the owner's
 * thread. Names compare without regard to case, as PostgreSQL's do.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_PARAMS_H
#define PGWEIR_WIRE_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "wire/wire.h"

#define PARAMS_MAX 128u              /* entries */
#define PARAMS_BYTES_MAX 32768u      /* names and values together */

struct param {
	char *name;                  /* name, zero, value, zero in one block */
	char *value;
};

struct params {
	struct param *v;
	uint32_t n, cap;
	size_t bytes;
	uint64_t hash;               /* of the set: the order does not count */
};

/* -1: out of memory or over a limit; nothing has changed then. */
MUST_CHECK int params_set(struct params *p, const char *name, const char *value);
void params_unset(struct params *p, const char *name);
/* NULL when not set. Borrowed until the next change. */
const char *params_get(const struct params *p, const char *name);
MUST_CHECK int params_copy(struct params *to, const struct params *from);
void params_clear(struct params *p);

bool params_same(const struct params *a, const struct params *b);

/* Appends Query messages that make a session with `have` one with `want`:
 * RESET for what is only in have, set_config() for what differs. Values are
 * quoted for standard_conforming_strings = on; scs_off says that it is off in
 * that session now: then it is switched on before and put right after. Returns
 * how many Query messages were written (0 to 5), -1 when it does not fit.
 *
 * They are BEGIN, client_encoding if it changes (what follows is read by it), and
 * the rest with COMMIT: when a setting is refused the session stays in the failed
 * transaction, and whatever follows in the pipeline fails with 25P02 instead of
 * running under the wrong settings. BEGIN is a message of its own so that two
 * things must fail before that is not so: if it is cancelled from outside the
 * rest is applied all the same. What ends a failed transaction (COMMIT, ROLLBACK,
 * PREPARE TRANSACTION) must not follow before the answers are here. */
MUST_CHECK int params_diff(const struct params *want, const struct params *have, bool scs_off,
			   struct wire_put *w);

/* Appends SQL text that sets all of `which`, for inside a transaction or out. */
void params_put_sets(const struct params *which, struct wire_put *w);

/* Who one is ("role", "session_authorization"): RESET ALL leaves these alone. */
bool params_is_identity(const char *name);

/* Appends a text as a string literal, for standard_conforming_strings = on. */
void params_put_literal(struct wire_put *w, const char *text);

/* Takes "-c name=value", "-cname=value" and "--name=value" with backslash
 * escapes (PostgreSQL's options startup parameter) apart into p. -1 with *bad
 * set to a literal reason when it is anything else. */
MUST_CHECK int params_options(struct params *p, const char *options, const char **bad);

#endif
