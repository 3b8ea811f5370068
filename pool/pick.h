/* pool/pick.h - which target to dial. Pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_POOL_PICK_H
#define PGWEIR_POOL_PICK_H

#include <stddef.h>
#include <stdint.h>

#include "health/target.h"

#define PICK_NONE (-1)               /* nothing suits now: wait for health to say so */

/* Chooses among n targets those that suit attrs and are not in `tried` (a bit
 * for each of the first 64), by the balance rule; among equals a random start.
 * rr: the round-robin position, moved on. Returns an index or PICK_NONE. */
int pick_target(struct target *const *t, size_t n, enum session_attrs attrs, enum balance how,
		uint64_t tried, uint64_t rnd, uint64_t *rr);

#endif
