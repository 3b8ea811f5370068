/* proxy/session/client.h - a client from its first byte to its end.
 *
 * Threads: its worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_CLIENT_H
#define PGWEIR_SESSION_CLIENT_H

#include "session/relay_down.h"
#include "session/session.h"

/* Takes over an accepted, non-blocking fd. */
void client_accept(struct hall *h, int fd);

/* Handles what there is for c to do: its buffer (readable: and its socket). */
void client_run(struct client *c, bool readable);

/* Upcalls of the server side (struct server_up). */
void client_server_readable(struct server *s);
void client_server_drained(struct server *s);
void client_server_live(struct server *s);
void client_server_failed(struct shard *sh, struct target *t, const char *sqlstate,
			  const char *message, bool hard);
void client_server_late(struct server *s);
void client_cancelled(struct client *c);

/* Shutting down: ends c now if it is between transactions, else when it is. */
void client_drain(struct client *c);

/* Clients that wait for a server of a database that is not served any more. */
void clients_gone(struct hall *h);

/* Clients that were given a server (h->ready). */
void clients_run_ready(struct hall *h);

#endif
