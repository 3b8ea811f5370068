/* proxy/session/asker.h - auth_query: asks a server for the secrets of users.
 *
 * An asker stands for a database, a user to ask as and a query; each worker has its own.
 * It is a client like any other, of pgweir itself: one end of a pair of sockets is a
 * struct client that nobody asks for a password, and the other end, here, speaks the
 * protocol of clients. So it waits for servers, is given another one when a node dies,
 * and counts against the limits of servers like everybody. It does not count as a client.
 *
 * Its servers are a pool of their own, which no client comes to by any name, and it has no
 * setting of any client: what clients do to sessions does not meet it.
 *
 * Who asks for the same user meanwhile waits for the same answer. Answers are kept for
 * auth_query_cache_time (session/known.h).
 *
 * Owner:   a hall. Threads: its worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_ASKER_H
#define PGWEIR_SESSION_ASKER_H

#include "session/session.h"

/* What is asked for whom, by the settings; borrowed from a snapshot. */
struct ask_how {
	const char *db, *user, *query;
	bool invented;               /* db is in no configuration: * stands for it */
};

/* One that waits for an answer; embedded in what waits. list_del(&w->link) is enough to
 * wait no longer. */
struct ask_wait {
	struct link link;
	/* failed: a SQLSTATE when nothing could be learned. secret NULL: no such user, or no
	 * usable secret; it is good during the call. */
	void (*answered)(struct ask_wait *w, const char *failed, enum secret_kind kind,
			 const char *secret);
};

enum asked {
	ASKED_KNOWN,                 /* *known */
	ASKED_WAIT,
	ASKED_NOBODY,                /* no server has a user with such a name */
	ASKED_NO                     /* too many ask already, or out of memory */
};

/* What holds for a client of this database. false: nobody is asked. */
bool asker_how(const struct snapshot *snap, const char *db, struct ask_how *out);

/* anew: what is kept is not taken, nor an answer that may be under way already. */
enum asked asker_ask(struct hall *h, const struct ask_how *how, const char *name, bool anew,
	       struct ask_wait *w, struct known_user **known);
/* w waits for the answer to a question that is under way. false: there is none. */
bool asker_join(struct hall *h, const struct ask_how *how, const char *name, struct ask_wait *w);
/* What is kept, or NULL; and to be kept no longer. */
struct known_user *asker_known(struct hall *h, const struct ask_how *how, const char *name);
void asker_forget(struct hall *h, const struct ask_how *how, const char *name);

/* Ends what has been idle, or has waited too long for an answer. */
void askers_tick(struct hall *h);
/* The configuration has changed: all is forgotten, and who is asked now is asked by it. */
void askers_reconf(struct hall *h);
/* Ends all; nobody is told. */
void askers_drop(struct hall *h);

#endif
