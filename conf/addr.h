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
	socklen_t sock_len;            /* 0: host is a name that must be looked up */
};

/* Backends: splits "a,b,c" and "1" or "1,2,3". An address or an absolute path (a
 * directory of unix sockets) gets its socket address; a name gets none, what it
 * stands for is found out later and may change (health/resolve.h). *out is
 * calloc'ed (addr_list_free); -1 when a host can be neither address nor name, a
 * port is no port, or the number of ports is neither 1 nor that of hosts. hosts
 * NULL: "localhost" is assumed. ports NULL, or an empty one in the list (libpq
 * writes "h1,h2:1" as ",1"): default_port. Never blocks. */
MUST_CHECK int addr_list(const char *hosts, const char *ports, int default_port,
			 struct addr **out, size_t *n, struct err *e);
void addr_list_free(struct addr *list, size_t n);

/* localhost, which stands for one address however many it has. */
bool addr_is_localhost(const char *host);

/* Whether names may be looked up. ADDR_NUMERIC takes addresses only and never
 * blocks: for tests, and for fuzzing. */
enum addr_names { ADDR_RESOLVE = 0, ADDR_NUMERIC };

/* Listening form: "*" is 0.0.0.0 and ::, empty gives none; each name may
 * resolve to several addresses, all are taken. Blocks on the resolver. */
MUST_CHECK int addr_listen_list(const char *hosts, int port, struct addr **out, size_t *n,
				struct err *e);
MUST_CHECK int addr_listen_list_as(enum addr_names names, const char *hosts, int port,
				   struct addr **out, size_t *n, struct err *e);

/* Addresses for HTTP: "PORT" (of 127.0.0.1), "HOST:PORT" or "[ADDRESS]:PORT", separated by
 * commas; host as in addr_listen_list. Port 0 takes a free one. NULL and empty give none.
 * e has no name of a setting in it. Blocks on the resolver for names. */
MUST_CHECK int addr_http_list(enum addr_names names, const char *text, struct addr **out,
			      size_t *n, struct err *e);

/* The unix socket of this port in dir, as libpq names it; @NAME: an abstract one. -1:
 * too long. */
MUST_CHECK int addr_unix(const char *dir, int port, struct sockaddr_un *un, socklen_t *len,
			 struct err *e);

/* 127.0.0.0/8 (mapped into IPv6 too), ::1 and unix sockets. */
bool addr_is_loopback(const struct sockaddr *sa);

/* "127.0.0.1:5432", "[::1]:5432" or "unix:/dir/.s.PGSQL.5432". Returns out. */
const char *addr_print(const struct sockaddr *sa, socklen_t len, char *out, size_t cap);

#endif
