/* proxy/doors.c - see doors.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "doors.h"

#include <stdio.h>
#include <string.h>

#include "notify.h"

int doors_fit(const struct listener *l, const struct conf_global *g, struct err *e)
{
	if (!l->beyond || (g->auth_type != AUTH_TRUST && g->auth_type != AUTH_ANY))
		return 0;
	return err_set(e, "auth_type lets everybody in as any user, and a socket that is open now "
			  "(%s) is reached from beyond this machine: set auth_type = scram-sha-256 "
			  "and auth_file",
		       l->inherited ? "from the service manager" : "listen_addr at the start");
}

/* Sockets of the service manager: all of them, whatever the settings say. */
static int open_given(struct listener *l, const struct conf_global *g, struct predecessor *before,
		      int *port, struct err *e)
{
	int first = 0, given = 0, i;

	if (listen_fds(&first, &given, e))
		return -1;
	for (i = 0; i < given; i++)
		if (listen_inherit(l, first + i, port, e))
			return -1;
	if (!given && before->offer.inherited && predecessor_inherit(before, l, port, e))
		return -1;
	return l->n ? doors_fit(l, g, e) : 0;
}

static int open_one(struct listener *l, const struct conf_global *g, struct predecessor *before,
		    const struct addr *a, int *port, struct err *e)
{
	int got = predecessor_adopt(before, l, a, e);

	if (got == 0)
		return listen_on(l, a, (int)g->listen_backlog, port, e);
	if (got > 0 && port)
		*port = listen_port(l, l->n - 1);
	return got < 0 ? -1 : 0;
}

int doors_open(struct listener *l, const struct conf_global *g, struct predecessor *before,
	       int *port, struct err *e)
{
	struct addr *a;
	size_t n, i;
	int ok = 0;

	if (open_given(l, g, before, port, e))
		return -1;
	if (l->n)
		return 0;
	*port = (int)g->listen_port;
	l->reuse_port = g->so_reuseport != 0;
	if (addr_listen_list(g->listen_addr, *port, &a, &n, e))
		return -1;
	for (i = 0; i < n; i++) {
		if (open_one(l, g, before, &a[i], ok ? NULL : port, e) == 0)
			ok++;
		else if (n > 1)
			LOG(l->log, LOG_LEVEL_WARN, "listen_failed", "reason=\"%s\"",
			    e->text);
	}
	addr_list_free(a, n);
	if (!n && !g->unix_socket_dir)
		return err_set(e, "listen_addr is empty, and so is unix_socket_dir: there is nothing to "
				  "listen on");
	if (!n && !*port)
		return err_set(e, "listen_port = 0 takes a free port of TCP, and listen_addr is empty: "
				  "the unix socket needs a number");
	return n && !ok ? -1 : 0;
}

int doors_open_unix(struct listener *l, const struct conf_global *g, struct predecessor *before,
		    int port, struct err *e)
{
	const struct listen_unix u = {
		.dir = g->unix_socket_dir,
		.group = g->unix_socket_group,
		.mode = (unsigned)g->unix_socket_mode,
		.port = port,
		.backlog = (int)g->listen_backlog,
	};

	int got;

	if (l->inherited || !u.dir)
		return 0;
	got = predecessor_adopt_unix(before, l, u.dir, port, e);
	if (got == 0)
		return listen_unix(l, &u, e);
	if (got < 0)
		return -1;
	/* put on when it is ours for good */
	return *u.dir == '@' || !l->file.ino ? 0 : sockfile_lay_out(&l->file, u.mode, u.group, e);
}

const char *doors_host(const struct listener *l, const struct conf_global *g, char *out,
		       size_t cap)
{
	const char *host = g->listen_addr ? g->listen_addr : "";
	size_t n = strcspn(host, ",");

	if (!l->tcp_n && l->dir[0])
		(void)snprintf(out, cap, "%s", l->dir);
	else if (n == 0 || *host == '*')
		(void)snprintf(out, cap, "127.0.0.1");
	else
		(void)snprintf(out, cap, "%.*s", (int)n, host);
	return out;
}
