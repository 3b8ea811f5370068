/* proxy/session/login.h - logging in to a server: startup packet, passwords,
 * the facts it reports, up to its first ReadyForQuery.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_LOGIN_H
#define PGWEIR_SESSION_LOGIN_H

#include "session/session.h"

void login_begin(struct server *s);
void login_readable(struct server *s);
/* Closes s and tells up->failed. */
void login_failed(struct server *s, const char *sqlstate, const char *message, bool hard);
/* Frees what only the login needed. */
void login_end(struct server *s);

#endif
