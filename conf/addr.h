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

/* Whether names may be looked up. ADDR_NUMERIC takes addresses and paths only
 * and never blocks: for tests, and for fuzzing. */
enum addr_names { ADDR_RESOLVE = 0, ADDR_NUMERIC };

/* Splits "a,b,c" and "1" or "1,2,3" and resolves each name to its first
 * address (localhost to an IPv4 one where there is one: servers that listen on
 * 127.0.0.1 alone are common, on ::1 alone rare). *out is calloc'ed (addr_list_free); -1 when a name cannot be
 * resolved, a port is no port, or the number of ports is neither 1 nor that of
 * hosts. An absolute path is a directory of unix sockets. hosts NULL:
 * "localhost" is assumed. ports NULL, or an empty one in the list (libpq writes
 * "h1,h2:1" as ",1"): default_port. Blocks on the resolver. */
MUST_CHECK int addr_list(const char *hosts, const char *ports, int default_port,
			 struct addr **out, size_t *n, struct err *e);
MUST_CHECK int addr_list_as(enum addr_names names, const char *hosts, const char *ports,
			    int default_port, struct addr **out, size_t *n, struct err *e);
void addr_list_free(struct addr *list, size_t n);

/* Listening form: "*" is 0.0.0.0 and ::, empty gives none; each name may
 * resolve to several addresses, all are taken. */
MUST_CHECK int addr_listen_list(const char *hosts, int port, struct addr **out, size_t *n,
				struct err *e);
MUST_CHECK int addr_listen_list_as(enum addr_names names, const char *hosts, int port,
				   struct addr **out, size_t *n, struct err *e);

/* 127.0.0.0/8 (mapped into IPv6 too), ::1 and unix sockets. */
bool addr_is_loopback(const struct sockaddr *sa);

/* "127.0.0.1:5432", "[::1]:5432" or "unix:/dir/.s.PGSQL.5432". Returns out. */
const char *addr_print(const struct sockaddr *sa, socklen_t len, char *out, size_t cap);

#endif
