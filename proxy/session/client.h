/* proxy/session/client.h - a client from its first byte to its end.
 *
 * Threads: its worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_CLIENT_H
#define PGWEIR_SESSION_CLIENT_H

#include "session/relay_down.h"
#include "session/replay_run.h"
#include "session/session.h"

/* Its deadlines. */
void client_late(struct deadline *d);
void client_idle_late(struct deadline *d);

/* Handles what there is for c to do: its buffer (readable: and its socket). */
void client_run(struct client *c, bool readable);
/* See server_up.auth_done. */
void client_auth_done(struct client *c, enum startup r, const struct startup_no *no);

/* Servers that may be lost in a row over a client's settings. */
#define DRESS_TRIES 3

/* Idle from now, in a server status of `tx`: its timeouts begin. */
void client_set_idle(struct client *c, char tx);
/* It has been told that it is logged in. */
void client_welcomed(struct client *c);
/* Its server is lost: tells it, or goes on with another one. */
void client_lost(struct client *c, struct server *s, const struct down_why *w);
/* A step of its replay has come to this; s may be NULL. */
void client_replay(struct client *c, struct server *s, enum replay_next next);
/* Its server is out of its transaction and owes nothing. */
void client_tx_done(struct client *c, struct server *s);
/* A replication connection: bytes from the client (up) or the server. */
void client_raw(struct client *c, struct server *s, bool up);

/* Shutting down: ends c now if it is between transactions, else when it is. */
void client_drain(struct client *c);

/* Shutting down, and no server is given to anybody: who waits for one, or replicates, goes
 * now. */
void client_turn_away(struct client *c);
/* Its time is over, whatever it does. */
void client_last_word(struct client *c);

/* Clients that wait for a server of a database that is not served any more. */
void clients_gone(struct hall *h);

/* Clients that were given a server (h->ready). */
void clients_run_ready(struct hall *h);

#endif
