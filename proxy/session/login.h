/* proxy/session/login.h - logging in to a server: startup packet, passwords,
 * the facts it reports, up to its first ReadyForQuery.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_LOGIN_H
#define PGWEIR_SESSION_LOGIN_H

#include "session/session.h"

/* The TCP connection is there (error 0), or not. */
void login_begin(struct server *s, int error);
void login_readable(struct server *s);
/* The handshake is over; error: errno or 0. */
void login_secured(struct server *s, int error);
/* Closes s and tells up->failed, or up->tried. */
void login_failed(struct server *s, const char *sqlstate, const char *message, bool hard);
/* The server has refused this user with this password. */
bool login_refused(const struct login_end *e);

#endif
