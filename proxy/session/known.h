/* proxy/session/known.h - what auth_query has said of users, kept for a few seconds.
 *
 * Owner:   a hall. Threads: its worker's.
 *
 * Bounded in number: whoever was asked for longest ago makes room. That there is no such
 * user is kept like the rest. What is forgotten is wiped.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_KNOWN_H
#define PGWEIR_SESSION_KNOWN_H

#include <stdint.h>

#include "conf/conf.h"
#include "conf/list.h"
#include "wire/scram.h"

#define KNOWN_USERS 1024u
#define KNOWN_BUCKETS 256u

struct known_user {
	struct link hash, age;
	uint64_t of;                 /* who was asked: an asker's number */
	uint64_t until_us;
	enum secret_kind kind;       /* NONE: no such user, or no secret that is of use */
	char *secret;                /* NULL: the same */
	bool have_scram;             /* made from a password, or for nobody, which takes long: */
	struct scram_secret scram;
	char name[];
};

struct known {
	struct link buckets[KNOWN_BUCKETS];
	struct link age;             /* the oldest first */
	unsigned n, max;
};

void known_init(struct known *k, unsigned max);
/* NULL: not known, or not any more. Good until the next call for this k. */
struct known_user *known_get(struct known *k, uint64_t of, const char *name, uint64_t now_us);
/* In place of what was known. secret NULL: there is none. Without memory it is forgotten. */
void known_put(struct known *k, uint64_t of, const char *name, enum secret_kind kind,
	       const char *secret, uint64_t until_us);
void known_forget(struct known *k, uint64_t of, const char *name);
void known_clear(struct known *k);

#endif
