/* proxy/session/raw.h - replication connections: bytes as they are, both ways.
 *
 * A client that asks for replication has a pool of its own with one server, which
 * is dialled with the client's startup parameters and goes when the client goes.
 * What they say to each other is not looked at (PostgreSQL manual 55.4).
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_RAW_H
#define PGWEIR_SESSION_RAW_H

#include "session/relay.h"
#include "session/session.h"

enum replication { REPLICATION_NONE = 0, REPLICATION_PHYSICAL, REPLICATION_LOGICAL };

/* Reads the startup parameter `replication`, as PostgreSQL does. -1: no such value. */
int raw_replication(const char *value);

/* What there is goes over. RELAY_ON, RELAY_PAUSE (the other side does not keep up),
 * RELAY_CLIENT_GONE or RELAY_SERVER_GONE: that end has closed, or cannot be written
 * to. */
enum relay raw_up(struct client *c, struct server *s);
enum relay raw_down(struct client *c, struct server *s);

#endif
