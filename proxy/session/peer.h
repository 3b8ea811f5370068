/* proxy/session/peer.h - who is at the other end of a client's connection.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_PEER_H
#define PGWEIR_SESSION_PEER_H

#include "session/session.h"

/* Looks who has connected, on fd and as accept told: from, local, peer_uid and peer_pid of
 * c. */
void peer_look(struct client *c, int fd, const struct listen_from *from);
/* Its name in the log from now on. */
void peer_name(struct client *c);

#endif
