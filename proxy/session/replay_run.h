/* proxy/session/replay_run.h - a transaction is replayed: after a definite abort on its
 * own server, after the loss of its server on another one.
 *
 * The failed transaction is rolled back. After a pause the unit with the BEGIN runs
 * again; when it has been answered, the other units that were answered run in one
 * pipeline, and their answers are compared with what the client was told. When all are
 * equal the interrupted unit runs, and the client's conversation goes on. Nothing that
 * commits is sent before that.
 *
 * When something differs, time or attempts are used up, or the client cancels, the
 * server is brought to the state that the client expects - a real transaction that has
 * failed - and the client gets the error of its first attempt. Where the server was
 * lost, it gets the error it would have got without a replay.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_REPLAY_RUN_H
#define PGWEIR_SESSION_REPLAY_RUN_H

#include "session/relay.h"
#include "session/replay.h"

/* What the caller has to do. */
enum replay_next {
	REPLAY_WAIT = 0,         /* nothing: an answer or the timer comes */
	REPLAY_BROKEN,           /* the server cannot be used: it is lost */
	REPLAY_GOES_ON,          /* the client's conversation does */
	REPLAY_TOLD,             /* the client has got its error; c has its server */
	REPLAY_LEFT,             /* ... and has no server */
	REPLAY_CLIENT_GONE       /* close it */
};

/* The unit that has just been answered is to be run again. */
enum replay_next replay_recover(struct client *c, struct server *s);
/* The pause is over. */
enum replay_next replay_due(struct client *c, struct server *s);
/* The server has answered something. */
enum replay_next replay_step(struct client *c, struct server *s);
/* The client wants an end of it; s may be NULL. */
enum replay_next replay_cancel(struct client *c, struct server *s);

/* s is lost for the reason w: may c's transaction be replayed on another? */
bool replay_may_move(const struct client *c, const struct server *s, const struct down_why *w);
/* c needs a server then; s is closed. */
void replay_move(struct client *c, struct server *s, const struct down_why *w);
/* c has one. */
enum replay_next replay_moved(struct client *c, struct server *s);
/* It cannot go on: c, which has no server, gets its error. sqlstate NULL: the one that
 * is due. */
void replay_abandon(struct client *c, const char *sqlstate, const char *message,
		    const char *detail, const char *hint);

#endif
