/* conf/addr.h - host and port lists to socket addresses.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_ADDR_H
#define PGWEIR_CONF_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "conf/err.h"

/* One backend or listening address. */
struct addr {
	char *host;                    /* as written; a directory for unix sockets */
	int port;
	char *name;                    /* "host:port", for people and logs */
	union {
		struct sockaddr sa;
		struct sockaddr_un un;
		struct sockaddr_storage any;
	} sock;
	socklen_t sock_len;
};

/* Splits "a,b,c" and "1" or "1,2,3" and resolves each name to its first
 * address. *out is calloc'ed (addr_list_free); -1 when a name cannot be
 * resolved, a port is no port, or the number of ports is neither 1 nor that of
 * hosts. hosts NULL: "localhost" is assumed. ports NULL: default_port.
 * Blocks on the resolver. */
MUST_CHECK int addr_list(const char *hosts, const char *ports, int default_port,
			 struct addr **out, size_t *n, struct err *e);
void addr_list_free(struct addr *list, size_t n);

/* Listening form: "*" is 0.0.0.0 and ::, empty gives none; each name may
 * resolve to several addresses, all are taken. */
MUST_CHECK int addr_listen_list(const char *hosts, int port, struct addr **out, size_t *n,
				struct err *e);

bool addr_is_loopback(const struct sockaddr *sa);

/* "127.0.0.1:5432", "[::1]:5432" or "unix:/dir/.s.PGSQL.5432". Returns out. */
const char *addr_print(const struct sockaddr *sa, socklen_t len, char *out, size_t cap);

#endif
