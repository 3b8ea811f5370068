/* proxy/session/peer.c - see peer.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/peer.h"

#include <stdio.h>

void peer_look(struct client *c, int fd, const struct listen_from *from)
{
	c->from = *from;
	c->local = from->a.sa.sa_family == AF_UNIX;
	if (!c->local || kernel_peer_uid(fd, &c->peer_uid, &c->peer_pid))
		c->peer_uid = KERNEL_NO_UID;
}

static void peer_text(const struct client *c, char *out, size_t cap)
{
	char uid[16] = "?";

	if (c->peer_uid != KERNEL_NO_UID)
		(void)snprintf(uid, sizeof(uid), "%u", c->peer_uid);
	if (c->inner)
		(void)snprintf(out, cap, "auth_query");
	else if (c->local)
		(void)snprintf(out, cap, "unix:pid=%u,uid=%s", c->peer_pid, uid);
	else
		(void)addr_print(&c->from.a.sa, c->from.len, out, cap);
}

static void say_who(const struct log_ctx *ctx, char *out, size_t cap)
{
	const struct client *c = LIST_ITEM(ctx, const struct client, log);
	char peer[64], q[28];
	int n;

	peer_text(c, peer, sizeof(peer));
	n = snprintf(out, cap, "who=c%llu@%u peer=%.48s",
		     (unsigned long long)(c->id & 0xffffffffffffu) % 10000000,
		     (unsigned)(c->id >> 48) % 1000, peer);
	if (c->db && n > 0 && (size_t)n < cap)
		n += snprintf(out + n, cap - (size_t)n, " db=%s", log_quote(q, sizeof(q), c->db));
	if (c->user && n > 0 && (size_t)n < cap)
		(void)snprintf(out + n, cap - (size_t)n, " user=%s", log_quote(q, sizeof(q), c->user));
}

void peer_name(struct client *c)
{
	c->log = (struct log_ctx){ &c->h->w.log, say_who };
}
