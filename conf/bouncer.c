/* conf/bouncer.c - see bouncer.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/bouncer.h"

#include <string.h>

static const struct bouncer rows[] = {
	/* transaction pooling breaks sessions that were written for the other mode */
	{"pool_mode", "session"},
	/* clients look for the unix socket; nobody expects a TCP port */
	{"unix_socket_dir", "/tmp"},
	{"listen_addr", ""},
	{"listen_backlog", "128"},
	{"auth_type", "md5"},
	{"max_client_conn", "100"},
	{"load_balance_hosts", "round-robin"},
};

const struct bouncer *bouncer_row(size_t i)
{
	return i < sizeof(rows) / sizeof(rows[0]) ? &rows[i] : NULL;
}

const char *bouncer_default(const char *name)
{
	const struct bouncer *b;
	size_t i;

	for (i = 0; (b = bouncer_row(i)); i++)
		if (strcmp(b->name, name) == 0)
			return b->def;
	return NULL;
}
