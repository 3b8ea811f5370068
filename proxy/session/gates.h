/* proxy/session/gates.h - what operators have closed: databases that are paused, disabled,
 * to be reconnected; all of it.
 *
 * A table is made by the control loop and never changes; each worker holds the latest that
 * it was handed (session/obey.h). NULL is the table in which all is open.
 *
 * Owner:   counted references. Threads: any; the count is atomic.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_GATES_H
#define PGWEIR_SESSION_GATES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

/* One database, by the name that clients ask for. */
struct gate {
	char *name;
	bool paused;                   /* no server is given to anybody */
	bool disabled;                 /* nobody new is let in */
	uint64_t renew_us;             /* servers born before that are not used again */
};

struct gates {
	_Atomic unsigned refs;
	bool paused;                   /* PAUSE of all */
	bool shutting;                 /* ... for good: who needs a server is told to go */
	uint64_t renew_us;
	size_t n;
	struct gate *gate;
};

/* A copy with one reference, to be changed before anybody else has it. g may be NULL. name:
 * has an entry in it, or NULL. NULL: out of memory. */
struct gates *gates_copy(const struct gates *g, const char *name);
/* NULL: there is none. */
struct gate *gates_entry(struct gates *g, const char *name);
struct gates *gates_hold(struct gates *g);
void gates_drop(struct gates *g);      /* NULL is fine, for both */

/* By all and by its own entry. */
bool gates_paused(const struct gates *g, const char *name);
bool gates_disabled(const struct gates *g, const char *name);
uint64_t gates_renew(const struct gates *g, const char *name);

#endif
