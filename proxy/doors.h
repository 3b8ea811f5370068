/* proxy/doors.h - where clients come in: the sockets that the service manager gave, that a
 * process before had, or new ones, of listen_addr and unix_socket_dir.
 *
 * Threads: the control loop's, at start.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_DOORS_H
#define PGWEIR_DOORS_H

#include "conf/conf.h"
#include "io/listen.h"
#include "predecessor.h"

/* All but the unix socket. before: whose sockets are taken where they fit, if there is one.
 * *port: what it got. */
MUST_CHECK int doors_open(struct listener *l, const struct conf_global *g,
			  struct predecessor *before, int *port, struct err *e);
/* The unix socket, if one is wished: as the user that pgweir has become, so that it can
 * be taken away at the end. */
MUST_CHECK int doors_open_unix(struct listener *l, const struct conf_global *g,
			       struct predecessor *before, int port, struct err *e);
/* May clients come in by these as g lets them? Listening is for a restart, auth_type for a
 * reload: what was closed to others must not be opened to them. */
MUST_CHECK int doors_fit(const struct listener *l, const struct conf_global *g, struct err *e);
/* What libpq wants for host=. Returns out. */
const char *doors_host(const struct listener *l, const struct conf_global *g, char *out,
		       size_t cap);

#endif
