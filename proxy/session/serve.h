/* proxy/session/serve.h - what servers say and what becomes of it: the upcalls of
 * struct server_up.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SERVE_H
#define PGWEIR_SESSION_SERVE_H

#include "session/session.h"

void serve_readable(struct server *s);
void serve_drained(struct server *s);
void serve_live(struct server *s);
void serve_failed(struct shard *sh, struct target *t, const char *sqlstate, const char *message,
		  bool hard);
void serve_tried(struct trial *t, const struct login_end *e);
void serve_late(struct server *s);
void serve_cancelled(struct client *c);

/* Some target's state or role has changed: those who run where nothing answers are
 * told, the rest moves (session/link.h). */
void serve_targets_changed(struct hall *h);

#endif
