/* conf/addr.c - see addr.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT_MAX 65535
#define NAME_LEN_MAX 253u  /* what DNS can carry */
#define LABEL_LEN_MAX 63u

/* One item of a comma separated list, blanks around it cut off. Borrowed. */
struct item {
	const char *at;
	size_t len;
};

static size_t items_count(const char *list)
{
	size_t n = 1;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

/* Takes the next item off the list; *list is NULL after the last. */
static struct item item_next(const char **list)
{
	const char *p = *list, *end = strchrnul(p, ',');
	struct item it;

	*list = *end ? end + 1 : NULL;
	while (p < end && isblank((unsigned char)*p))
		p++;
	while (end > p && isblank((unsigned char)end[-1]))
		end--;
	it.at = p;
	it.len = (size_t)(end - p);
	return it;
}

static int port_parse(struct item it, int default_port, int *out, struct err *e)
{
	int port = 0;
	size_t i;

	if (it.len == 0) {
		*out = default_port;
		return 0;
	}
	for (i = 0; i < it.len; i++) {
		if (!isdigit((unsigned char)it.at[i]) || port > PORT_MAX)
			break;
		port = port * 10 + (it.at[i] - '0');
	}
	if (i < it.len || port < 1 || port > PORT_MAX)
		return err_set(e, "port \"%.*s\" is not a number from 1 to %d",
			       it.len > 40 ? 40 : (int)it.len, it.at, PORT_MAX);
	*out = port;
	return 0;
}

static int addr_fill_name(struct addr *a)
{
	int n = asprintf(&a->name, strchr(a->host, ':') ? "[%s]:%d" : "%s:%d", a->host, a->port);

	if (n < 0) {
		a->name = NULL;
		return -1;
	}
	return 0;
}

int addr_unix(const char *dir, int port, struct sockaddr_un *un, socklen_t *len, struct err *e)
{
	int n;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path, sizeof(un->sun_path), "%s/.s.PGSQL.%d", dir, port);
	if (n < 0 || (size_t)n >= sizeof(un->sun_path))
		return err_set(e, "socket directory \"%.64s...\" is too long: at most %zu bytes "
			       "with /.s.PGSQL.%d", dir, sizeof(un->sun_path) - 1, port);
	*len = (socklen_t)sizeof(*un);
	if (*dir == '@') {
		/* The name has no zero at its end: its length is the address'. */
		*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
		un->sun_path[0] = '\0';
	}
	return 0;
}

static struct addrinfo *lookup(enum addr_names names, const char *host, int port, int flags,
			       struct err *e)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};
	struct addrinfo *found = NULL;
	char service[16];
	int rc;

	if (names == ADDR_NUMERIC)
		hints.ai_flags |= AI_NUMERICHOST;
	snprintf(service, sizeof(service), "%d", port);
	rc = getaddrinfo(host, service, &hints, &found);
	if (rc != 0) {
		err_set(e, "cannot resolve host \"%.255s\": %s", host, gai_strerror(rc));
		return NULL;
	}
	return found;
}

static void addr_fill_sock(struct addr *a, const struct addrinfo *ai)
{
	memcpy(&a->sock.any, ai->ai_addr, ai->ai_addrlen);
	a->sock_len = ai->ai_addrlen;
}

bool addr_is_localhost(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strcasecmp(host, "localhost.") == 0;
}

/* Could this be in DNS or in the hosts file? Underscores are no part of host
 * names, but container networks use them. A last part of digits alone is an
 * address with a mistake in it (10.0.0.256). */
static bool is_name(const char *host)
{
	size_t len = strlen(host), label = 0, i;
	bool digits = true;

	len -= len > 1 && host[len - 1] == '.';
	if (len == 0 || len > NAME_LEN_MAX)
		return false;
	for (i = 0; i < len; i++) {
		char c = host[i];

		if (c == '.') {
			if (label == 0 || host[i - 1] == '-')
				return false;
			label = 0;
			digits = true;
			continue;
		}
		if ((!isalnum((unsigned char)c) && c != '_' && (c != '-' || label == 0)) ||
		    !isascii(c) || ++label > LABEL_LEN_MAX)
			return false;
		digits = digits && isdigit((unsigned char)c);
	}
	return label > 0 && host[len - 1] != '-' && !digits;
}

static int addr_fill_inet(struct addr *a, struct err *e)
{
	struct addrinfo *found = lookup(ADDR_NUMERIC, a->host, a->port, 0, e);

	if (found) {
		addr_fill_sock(a, found);
		freeaddrinfo(found);
		return 0;
	}
	if (is_name(a->host))
		return 0;
	return err_set(e, "host \"%.255s\" is neither an address nor a name that can be looked "
			  "up (letters, digits, - and _ between dots; other letters in their xn-- "
			  "form)",
		       a->host);
}

static int addr_fill(struct addr *a, struct item host, struct err *e)
{
	if (host.len == 0)
		return err_set(e, "empty name in the list of hosts");
	a->host = strndup(host.at, host.len);
	if (!a->host || addr_fill_name(a) < 0)
		return err_set(e, "out of memory");
	if (a->host[0] == '/')
		return addr_unix(a->host, a->port, &a->sock.un, &a->sock_len, e);
	return addr_fill_inet(a, e);
}

int addr_list(const char *hosts, const char *ports, int default_port, struct addr **out, size_t *n,
	      struct err *e)
{
	const char *h = hosts && *hosts ? hosts : "localhost";
	const char *p = ports ? ports : "";
	size_t host_n = items_count(h), port_n = items_count(p), i;
	struct item port = {.at = p, .len = 0};
	struct addr *list;

	*out = NULL;
	*n = 0;
	if (port_n != 1 && port_n != host_n)
		return err_set(e, "%zu ports for %zu hosts: give one port for all or one for each",
			       port_n, host_n);
	list = calloc(host_n, sizeof(*list));
	if (!list)
		return err_set(e, "out of memory");
	for (i = 0; i < host_n; i++) {
		if (p)
			port = item_next(&p);
		if (port_parse(port, default_port, &list[i].port, e) < 0 ||
		    addr_fill(&list[i], item_next(&h), e) < 0) {
			addr_list_free(list, host_n);
			return -1;
		}
	}
	*out = list;
	*n = host_n;
	return 0;
}

void addr_list_free(struct addr *list, size_t n)
{
	size_t i;

	if (!list)
		return;
	for (i = 0; i < n; i++) {
		free(list[i].host);
		free(list[i].name);
	}
	free(list);
}

/* Takes every address of one name over into the list. */
static int listen_add(struct addr **list, size_t *n, const char *host, int port,
		      const struct addrinfo *found)
{
	struct addr *grown, *a;

	for (; found; found = found->ai_next) {
		grown = reallocarray(*list, *n + 1, sizeof(**list));
		if (!grown)
			return -1;
		*list = grown;
		a = &grown[(*n)++];
		memset(a, 0, sizeof(*a));
		a->port = port;
		a->host = strdup(host);
		if (!a->host || addr_fill_name(a) < 0)
			return -1;
		addr_fill_sock(a, found);
	}
	return 0;
}

static int listen_name(enum addr_names names, struct addr **list, size_t *n, const char *host,
		       int port, struct err *e)
{
	struct addrinfo *found;
	int ret;

	if (host[0] == '/')
		return err_set(e, "listen_addr \"%.64s\" is a path; give addresses, names or *, and "
			       "the directory of a unix socket in unix_socket_dir", host);
	/* A wildcard is two names, so that each gets its own socket. */
	if (strcmp(host, "*") == 0) {
		if (listen_name(ADDR_NUMERIC, list, n, "0.0.0.0", port, e) < 0)
			return -1;
		return listen_name(ADDR_NUMERIC, list, n, "::", port, e);
	}
	found = lookup(names, host, port, AI_PASSIVE, e);
	if (!found)
		return -1;
	ret = listen_add(list, n, host, port, found);
	freeaddrinfo(found);
	return ret < 0 ? err_set(e, "out of memory") : 0;
}

int addr_listen_list_as(enum addr_names names, const char *hosts, int port, struct addr **out,
			size_t *n, struct err *e)
{
	struct addr *list = NULL;
	size_t count = 0;
	struct item it;
	char *host;
	int ret;

	*out = NULL;
	*n = 0;
	if (hosts && !*hosts)
		hosts = NULL;
	while (hosts) {
		it = item_next(&hosts);
		if (it.len == 0) {
			addr_list_free(list, count);
			return err_set(e, "empty name in listen_addr");
		}
		host = strndup(it.at, it.len);
		ret = host ? listen_name(names, &list, &count, host, port, e)
			   : err_set(e, "out of memory");
		free(host);
		if (ret < 0) {
			addr_list_free(list, count);
			return -1;
		}
	}
	*out = list;
	*n = count;
	return 0;
}

int addr_listen_list(const char *hosts, int port, struct addr **out, size_t *n, struct err *e)
{
	return addr_listen_list_as(ADDR_RESOLVE, hosts, port, out, n, e);
}

/* Cuts "HOST:PORT" or "PORT"; *host is the caller's to free. */
static int http_item(struct item it, char **host, int *port, struct err *e)
{
	size_t at = it.len, i;

	while (at && it.at[at - 1] != ':')
		at--;
	if (at == it.len)
		return err_set(e, "\"%.*s\" has no port; write PORT, HOST:PORT or [ADDRESS]:PORT",
			       (int)it.len, it.at);
	*port = 0;
	for (i = at; i < it.len && isdigit((unsigned char)it.at[i]) && *port <= PORT_MAX; i++)
		*port = *port * 10 + (it.at[i] - '0');
	if (i < it.len || *port > PORT_MAX)
		return err_set(e, "\"%.*s\" is no port, a number from 0 to %d; write PORT, HOST:PORT "
			       "or [ADDRESS]:PORT", (int)(it.len - at), it.at + at, PORT_MAX);
	if (at == 0)
		*host = strdup("127.0.0.1");
	else if (at > 2 && it.at[0] == '[' && it.at[at - 2] == ']')
		*host = strndup(it.at + 1, at - 3);
	else if (at == 1 || memchr(it.at, ':', at - 1))
		return err_set(e, at == 1 ? "\"%.*s\" has no host; * is every address" :
					    "\"%.*s\": write an IPv6 address as [ADDRESS]:PORT",
			       (int)it.len, it.at);
	else
		*host = strndup(it.at, at - 1);
	return *host ? 0 : err_set(e, "out of memory");
}

int addr_http_list(enum addr_names names, const char *text, struct addr **out, size_t *n,
		   struct err *e)
{
	struct addr *list = NULL;
	size_t count = 0;
	struct item it;
	char *host;
	int port = 0, ret;

	*out = NULL;
	*n = 0;
	if (text && !*text)
		text = NULL;
	while (text) {
		it = item_next(&text);
		host = NULL;
		ret = http_item(it, &host, &port, e);
		if (ret == 0)
			ret = listen_name(names, &list, &count, host, port, e);
		free(host);
		if (ret < 0) {
			addr_list_free(list, count);
			return -1;
		}
	}
	*out = list;
	*n = count;
	return 0;
}

bool addr_is_loopback(const struct sockaddr *sa)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	/* Copies: the caller's storage need not be aligned for these. */
	switch (sa->sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		memcpy(&in4, sa, sizeof(in4));
		return ntohl(in4.sin_addr.s_addr) >> 24 == 127;
	case AF_INET6:
		memcpy(&in6, sa, sizeof(in6));
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
			return in6.sin6_addr.s6_addr[12] == 127;
		return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
	default:
		return false;
	}
}

static void print_unix(const struct sockaddr *sa, socklen_t len, char *out, size_t cap)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	struct sockaddr_un un;
	size_t n = len > sizeof(un) ? sizeof(un) : len;

	memset(&un, 0, sizeof(un));
	memcpy(&un, sa, n);
	n = n > head ? n - head : 0;
	/* An abstract name starts with a NUL and is as long as len says. */
	if (n > 1 && un.sun_path[0] == '\0')
		snprintf(out, cap, "unix:@%.*s", (int)strnlen(un.sun_path + 1, n - 1),
			 un.sun_path + 1);
	else
		snprintf(out, cap, "unix:%.*s", (int)strnlen(un.sun_path, n), un.sun_path);
}

const char *addr_print(const struct sockaddr *sa, socklen_t len, char *out, size_t cap)
{
	char text[INET6_ADDRSTRLEN] = "?";
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	if (cap == 0)
		return out;
	if (sa->sa_family == AF_UNIX) {
		print_unix(sa, len, out, cap);
	} else if (sa->sa_family == AF_INET && len >= sizeof(in4)) {
		memcpy(&in4, sa, sizeof(in4));
		inet_ntop(AF_INET, &in4.sin_addr, text, sizeof(text));
		snprintf(out, cap, "%s:%u", text, (unsigned)ntohs(in4.sin_port));
	} else if (sa->sa_family == AF_INET6 && len >= sizeof(in6)) {
		memcpy(&in6, sa, sizeof(in6));
		inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
		snprintf(out, cap, "[%s]:%u", text, (unsigned)ntohs(in6.sin6_port));
	} else {
		snprintf(out, cap, "unknown");
	}
	return out;
}
