/* proxy/session/resend.h - an armed unit is sent to its server once more.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_RESEND_H
#define PGWEIR_SESSION_RESEND_H

#include "session/session.h"

/* Sends c's unit again from its log. A named Parse that the first attempt left
 * on the server is closed first. false: the server is lost. */
bool resend_unit(struct client *c, struct server *s);
/* Sends the records of log from at to end again. Result as resend_unit(). */
bool resend_log(struct client *c, struct server *s, const struct hold *log, size_t at, size_t end);

#endif
