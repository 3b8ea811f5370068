/* proxy/session/server.h - a connection to a server: dial, log in, clean, close.
 *
 * Owner:   the hall. Threads: its worker's.
 * Our own login and not libpq's, because libpq hides the cancel key, gives
 * ParameterStatus by name only, and its cancel blocks.
 * Source:  PostgreSQL manual 55.2.1 (Start-up), 55.3 (SASL).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SERVER_H
#define PGWEIR_SESSION_SERVER_H

#include "session/session.h"

/* Takes a seat and dials t. POOL_OK: on its way, up->live or up->failed will
 * tell, never from within this call. Otherwise nothing has happened; POOL_FULL is
 * also for no memory, no socket, and no place at that node. trial: what the login is
 * to prove, or NULL. */
enum pool_grant server_dial(struct shard *sh, struct target *t, const struct dial_limits *limits,
			    struct trial *trial);
/* Once more, with TLS if it was without and the other way (s->second). -1: no socket. */
MUST_CHECK int server_redial(struct server *s);
/* How its dial ended (health/dials.h); once, else nothing. */
void server_dialled(struct server *s, enum dial_end how);

/* Closes for good; idempotent. The caller has dealt with a linked client. why:
 * a word for the log. polite: sends Terminate first. */
void server_close(struct server *s, const char *why, bool polite);

/* Frees what only the login needed. */
void server_login_end(struct server *s);

/* One cancel for s less. true: it was the last one and s is not closed. A
 * closed server is freed with its last cancel. */
bool server_uncancel(struct server *s);

/* Sends ROLLBACK if it is in a transaction, then `reset` if not empty; state
 * clean. false: nothing to do, it is clean. The seat must be free of a client. */
bool server_clean(struct server *s, const char *reset);
/* Sends connect_query to one that has just logged in; state clean, and `greeted` until
 * that is answered. false: there is none. */
bool server_greet(struct server *s);
/* Its client has gone in the middle of something: what is owed is swallowed,
 * the transaction is rolled back, `reset` is sent. State clean. -1: it must be
 * closed. Not for a server that waits for the rest of a message. cancelled: a
 * cancel is on its way, and has to be sent again if it comes too early. */
MUST_CHECK int server_abandon(struct server *s, const char *reset, bool cancelled);
/* Its deadline has come. true: what its client left runs on and is to be cancelled
 * again. A deadline is set unless clean_by_us has come. */
bool server_cancel_again(struct server *s);
/* Cleaned: back to live. */
void server_cleaned(struct server *s);

/* A ParameterStatus: keeps base, the server's own settings and, when c is
 * given, the client's in step. */
void server_param(struct server *s, struct client *c, const char *name, const char *value);

/* After its settings may have changed: can the lexer read SQL as it does? */
void server_look_at_sql(struct server *s);

/* Its statements and its settings are gone (DISCARD ALL, DEALLOCATE ALL). */
void server_forget_statements(struct server *s);

/* Letters: takes the server off this worker's loop, and puts it on h's. */
void server_leave(struct server *s);
void server_join(struct server *s, struct hall *h, struct shard *sh);

/* It is free but for cancels that are on their way to it, or is not so any more. */
void server_park(struct server *s, bool on);

#endif
