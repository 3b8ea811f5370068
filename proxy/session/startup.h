/* proxy/session/startup.h - a client's way in: startup packet, password, and
 * what it is told at the end of it.
 *
 * Source: PostgreSQL manual 55.2.1 (Start-up), 55.3 (SASL).
 * Until the login is done a client costs one buffer and struct login, and no
 * more however long its messages claim to be.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_STARTUP_H
#define PGWEIR_SESSION_STARTUP_H

#include "session/refusal.h"
#include "session/session.h"

/* client.negotiations: asked for, and not to be asked for again */
#define NEGOTIATED_TLS 1u
#define NEGOTIATED_GSS 2u

/* Handles one packet or message in the buffer of a client in state startup or
 * password. */
enum startup startup_message(struct client *c, struct startup_no *no);

#endif
