/* proxy/session/console_in.h - the messages of a client of the console.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_CONSOLE_IN_H
#define PGWEIR_SESSION_CONSOLE_IN_H

#include "session/session.h"

/* Handles what is in its buffer. May close it. */
void console_messages(struct client *c);

#endif
