/* proxy/io/uids.h - what users are called, by their numbers.
 *
 * getpwuid_r() may ask a directory server and so take any time: it runs in a thread of
 * its own, that begins with the first question and answers by letter. Names are kept for
 * a while, for the many clients of one user.
 *
 * Owner:   struct daemon. Threads: any may ask; one makes and frees it.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_UIDS_H
#define PGWEIR_IO_UIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/mbox.h"

#define UID_NAME_MAX 256             /* with the zero */
#define UIDS_WAITING_MAX 1024u       /* questions that are not answered yet */
#define UIDS_THREAD "pgweir-uids"    /* its name */
#define UIDS_LIFE_US 10000000u       /* how long a name is kept */

struct uids;

/* A question, and then its answer. From malloc(); the asker's until uids_ask has taken it
 * and again when l.deliver is called, on the asker's thread. By then whatever asked may be
 * gone. */
struct uid_letter {
	struct letter l;             /* deliver: the asker's; it frees the letter */
	struct worker *to;           /* the asker; outlives struct uids */
	uint64_t about;              /* its own */
	uint32_t uid;
	bool known;                  /* name is filled in; else: */
	int error;                   /* errno of the lookup, 0: there is no such user */
	char name[UID_NAME_MAX];
};

/* May block. 0: name is filled in; ENOENT: no such user; else errno. */
typedef int uids_lookup_fn(uint32_t uid, char *name, size_t cap);

/* lookup NULL: getpwuid_r(). What is no name is kept for a tenth of life_us. NULL: out of
 * memory. */
struct uids *uids_new(uids_lookup_fn *lookup, uint64_t life_us);
/* Any thread; never blocks for long. false: too many wait, or no thread can be had; the
 * letter stays the caller's. */
MUST_CHECK bool uids_ask(struct uids *u, struct uid_letter *l);
/* Nobody asks any more; who has not been answered is not. Waits for the thread, but not
 * for long when a lookup does not come back: then that is left to itself. NULL is fine. */
void uids_free(struct uids *u);

#endif
