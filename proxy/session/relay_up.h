/* proxy/session/relay_up.h - from client to server: which messages, when, and
 * what is rewritten on the way.
 *
 * A message goes on only when it is whole, so that half a message never takes
 * a server; one that is longer than the buffer streams through once its head
 * is here. Parse, Bind, Describe and Close carry the client's statement names
 * and are rewritten; all else passes untouched from the buffer it came in.
 *
 * The log of an armed unit (struct unit) is a row of records: one byte of
 * enum up_record, then a frontend message as it was sent to the server, or for
 * UP_LOCAL eight bytes of enum up_local.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_RELAY_UP_H
#define PGWEIR_SESSION_RELAY_UP_H

#include "session/session.h"

enum relay {
	RELAY_ON = 0,         /* all done for now */
	RELAY_NEED_SERVER,    /* a whole message waits and there is no server */
	RELAY_PAUSE,          /* the other side does not keep up */
	RELAY_TX_DONE,        /* down: the server is free */
	RELAY_RETRY,          /* down: the unit is to be run again */
	RELAY_CLIENT_GONE,
	RELAY_SERVER_GONE
};

enum up_record { UP_FORWARD = 0, UP_SWALLOW, UP_LOCAL };
enum up_local { LOCAL_PARSE_COMPLETE = 1, LOCAL_CLOSE_COMPLETE };

/* Longest Query or Parse that is looked at as a whole. */
#define UP_WHOLE_MAX (1u << 20)

/* ref of an owed Parse: the statement's id, or */
#define REF_UNNAMED UINT64_MAX

struct ending;

/* Handles what is in the client's buffer, then (readable) reads on. *why says
 * for RELAY_CLIENT_GONE what happened, for the log; sqlstate and message for
 * the client when not NULL. */
struct up_why {
	const char *why;
	const char *sqlstate;
	const char *message;
};
enum relay relay_up(struct client *c, bool readable, struct up_why *why);

/* Sends the difference between the server's settings and the client's in front
 * of everything. 0; -1: the server is not usable (close it). *sent: anything? */
MUST_CHECK int up_sync_settings(struct client *c, struct server *s, bool *sent);

/* Sends the armed unit again. false: the server is lost. */
bool up_resend(struct client *c, struct server *s);

/* The unit cannot be retried any more: what is held back goes to the client. */
void unit_pass(struct client *c, unsigned reason);
void unit_end(struct client *c);

/* A server has dropped or refused entries: what they had registered is undone.
 * An owed_drop_fn; arg is the server. */
void up_dropped(void *server, const struct owed_entry *e, bool failed);
/* The entry was answered well. */
void up_settled(struct server *s, const struct owed_entry *e);
/* A reply of our own is due: writes it, returns its length (5). */
size_t up_local_reply(struct server *s, uint64_t ref, uint8_t out[5]);

#endif
