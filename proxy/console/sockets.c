/* proxy/console/sockets.c - see sockets.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/sockets.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conf/key.h"
#include "console/gather.h"
#include "session/raw.h"
#include "session/residue.h"

enum what { CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS, FDS, PINS };

/* A place that has a connection's own words. */
struct sock {
	const char *type, *user, *db, *state;
	uint8_t replication;
	const struct stream *s;
	const struct sockaddr *peer; /* NULL: a unix socket */
	socklen_t peer_len;
	int port;                    /* of a unix socket */
	uint64_t born_us, request_us, wait_us;
	bool close_needed;
	uint64_t id, link;           /* link 0: none */
	uint32_t pid;
	const char *application_name;
	uint32_t prepared;
};

uint64_t socket_client_id(const struct client *c)
{
	/* one row of numbers for all workers, small as long as there were few */
	return (c->id & 0xffffffffffff) * c->h->sh->hall_n + (c->id >> 48);
}

uint64_t socket_client_of(const struct shared *sh, uint64_t shown)
{
	return shown % sh->hall_n << 48 | shown / sh->hall_n;
}

/* ---- pieces of a row ---- */

static void address(struct rows *r, const struct sockaddr *sa, socklen_t len, int unix_port)
{
	char text[128], *end;
	const char *at = text;

	if (!sa || sa->sa_family == AF_UNIX || !len) {
		rows_text(r, "unix");
		rows_int(r, unix_port);
		return;
	}
	(void)addr_print(sa, len, text, sizeof(text));
	end = strrchr(text, ':');
	if (!end) {
		rows_text(r, text);
		rows_int(r, 0);
		return;
	}
	*end = 0;
	if (*text == '[') {
		at++;
		end[-1] = 0;
	}
	rows_text(r, at);
	rows_uint(r, sa->sa_family == AF_INET6 ?
			     ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port) :
			     ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port));
}

static void local_address(struct rows *r, const struct sock *k)
{
	struct sockaddr_storage sa;
	socklen_t len;

	if (!k->peer || k->s->fd < 0 || kernel_local(k->s->fd, &sa, &len))
		address(r, NULL, 0, k->port);
	else
		address(r, (const struct sockaddr *)(const void *)&sa, len, k->port);
}

/* A monotonic time as one of the clock on the wall. */
static void wall(struct rows *r, uint64_t us)
{
	time_t s = (time_t)((clock_wall_us(NULL) - (int64_t)(clock_mono_us() - us)) / 1000000);
	char text[64];
	struct tm tm;

	if (localtime_r(&s, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm))
		rows_text(r, text);
	else
		rows_null(r);
}

static void number(struct rows *r, uint64_t id)
{
	char text[24] = "";

	if (id)
		(void)snprintf(text, sizeof(text), "0x%llx", (unsigned long long)id);
	rows_text(r, text);
}

static void tls(struct rows *r, const struct stream *s)
{
	char text[128] = "";

	if (stream_is_tls(s) && tls_ready(s->tls))
		(void)snprintf(text, sizeof(text), "%s/%s", tls_version(s->tls), tls_cipher(s->tls));
	rows_text(r, text);
}

/* The columns that PgBouncer has. */
static void socket_columns(struct rows *r, const struct sock *k)
{
	static const char *const replication[] = { "none", "physical", "logical" };

	rows_text(r, k->type);
	rows_text(r, k->user ? k->user : "(nouser)");
	rows_text(r, k->db ? k->db : "(nodb)");
	rows_text(r, replication[k->replication <= REPLICATION_LOGICAL ? k->replication : 0]);
	rows_text(r, k->state);
	address(r, k->peer, k->peer_len, k->port);
	local_address(r, k);
	wall(r, k->born_us);
	wall(r, k->request_us);
	rows_uint(r, k->wait_us / 1000000);
	rows_uint(r, k->wait_us % 1000000);
	rows_int(r, k->close_needed);
	number(r, k->id);
	number(r, k->link);
	rows_uint(r, k->pid);
	tls(r, k->s);
	rows_text(r, k->application_name ? k->application_name : "");
	rows_uint(r, k->prepared);
}

static void buffer_columns(struct rows *r, const struct sock *k, uint32_t left)
{
	const struct buf *in = k->s->in;

	rows_uint(r, in ? in->end : 0);
	rows_uint(r, in ? in->start : 0);
	rows_uint(r, left);
	rows_uint(r, k->s->out_at);
	rows_uint(r, k->s->out_len);
	rows_uint(r, stream_have(k->s));
	rows_uint(r, k->s->out_len);
}

/* ---- clients ---- */

static uint64_t server_number(const struct server *s)
{
	return s ? s->id | UINT64_C(1) << 63 : 0;
}

static const char *client_state(const struct client *c, bool sockets)
{
	static const char *const name[][2] = { { "cl_active", "active" }, { "cl_waiting", "waiting" } };

	switch (c->state) {
	case CL_WAITING:
	case CL_WELCOME:
		return name[1][!sockets];
	case CL_LINKED:
	case CL_BACKOFF:
	case CL_REPLAY:
		return name[0][!sockets];
	case CL_STARTUP:
	case CL_TLS:
	case CL_PASSWORD:
	case CL_AUTH:
		return "cl_login";
	case CL_READY:
	case CL_CONSOLE:
	case CL_LINGER:
	case CL_NONE:
	case CL_CLOSED:
	case CL_N:
	default:
		return "idle";
	}
}

static bool is_stranger(const struct client *c)
{
	return c->state == CL_STARTUP || c->state == CL_TLS || c->state == CL_PASSWORD ||
	       c->state == CL_AUTH;
}

static void client_sock(const struct client *c, struct sock *k, bool sockets)
{
	const struct server *s = server_for(c);
	uint64_t now = c->h->w.now_us;

	*k = (struct sock){
		.type = "C",
		.user = c->user,
		.db = c->db,
		.state = client_state(c, sockets),
		.replication = c->replication,
		.s = &c->s,
		.peer = c->local ? NULL : &c->from.a.sa,
		.peer_len = c->from.len,
		.port = (int)c->h->snap->conf->g.listen_port,
		.born_us = c->born_us,
		.id = c->id,
		.link = server_number(s),
		.pid = c->local ? c->peer_pid : 0,
		.application_name = params_get(&c->params, "application_name"),
		.prepared = c->names.n,
	};
	k->request_us = c->xact_us ? c->xact_us : c->born_us;
	if (s && !owed_nothing(&s->owed) && c->unit.query_us > k->request_us)
		k->request_us = c->unit.query_us;
	if ((c->state == CL_WAITING || c->state == CL_WELCOME) && c->wait_since && now > c->wait_since)
		k->wait_us = now - c->wait_since;
}

static void client_row(struct rows *r, const struct client *c, enum what what)
{
	const struct server *s = server_for(c);
	struct sock k;

	client_sock(c, &k, what == SOCKETS || what == ACTIVE_SOCKETS);
	rows_row(r);
	socket_columns(r, &k);
	rows_uint(r, socket_client_id(c));
	if (what == CLIENTS) {
		rows_text(r, is_stranger(c) ? NULL : key_word(KEY_AUTH_TYPE, c->auth_method));
		rows_text(r, c->shard ? key_word(KEY_POOL_MODE, c->pool_mode) : NULL);
		rows_text(r, s ? s->target->addr.name : NULL);
		rows_int(r, c->residue.pinned != 0);
		rows_uint(r, c->h->w.id);
	} else {
		buffer_columns(r, &k, c->body_left);
	}
	rows_end_row(r);
}

/* Why it keeps its server beyond a transaction. false: it does not. */
static bool pin_words(const struct client *c, char *out, size_t cap)
{
	if (!server_for(c))
		return false;
	if (c->residue.pinned)
		(void)residue_words(c->residue.pinned, out, cap);
	else if (c->replication)
		(void)snprintf(out, cap, "replication");
	else if (c->pool_mode == POOL_SESSION)
		(void)snprintf(out, cap, "pool_mode = session");
	else
		return false;
	return true;
}

static void pin_row(struct rows *r, const struct client *c)
{
	const struct server *s = server_for(c);
	char why[200];

	if (!pin_words(c, why, sizeof(why)))
		return;
	rows_row(r);
	rows_uint(r, socket_client_id(c));
	rows_text(r, c->user);
	rows_text(r, c->db);
	rows_text(r, params_get(&c->params, "application_name"));
	rows_text(r, why);
	rows_text(r, s->target->addr.name);
	rows_uint(r, s->pid);
	number(r, c->id);
	number(r, server_number(s));
	rows_end_row(r);
}

/* ---- servers ---- */

static const char *server_state(const struct server *s, bool sockets)
{
	static const char *const name[][2] = { { "sv_active", "active" },
					       { "sv_idle", "idle" },
					       { "sv_tested", "tested" },
					       { "sv_login", "new" },
					       { "sv_being_canceled", "being_canceled" } };
	unsigned i;

	switch (s->ps.seat) {
	case SEAT_BUSY:
		i = 0;
		break;
	case SEAT_IDLE:
		i = 1;
		break;
	case SEAT_CLEANING:
		i = s->parked ? 4 : 2;
		break;
	case SEAT_DIALLING:
	case SEAT_NONE:
	case SEAT_N:
	default:
		i = 3;
	}
	return name[i][!sockets];
}

static void server_sock(const struct server *s, struct sock *k, bool sockets)
{
	const struct client *c = client_for(s);
	const char *name = params_get(&s->params, "application_name");
	const struct addr *a = &s->target->addr;

	*k = (struct sock){
		.type = "S",
		.user = s->shard->server_user,
		.db = s->shard->pool.hub->db,
		.state = server_state(s, sockets),
		.replication = s->shard->replication,
		.s = &s->s,
		.peer = a->sock.sa.sa_family == AF_UNIX ? NULL : &a->sock.sa,
		.peer_len = a->sock_len,
		.port = a->port,
		.born_us = s->born_us,
		.request_us = s->idle_us ? s->idle_us : s->born_us,
		.close_needed = s->close_needed,
		.id = server_number(s),
		.link = c ? c->id : 0,
		.pid = s->pid,
		.application_name = name ? name : params_get(&s->base, "application_name"),
		.prepared = s->cache.n,
	};
	if (c && c->xact_us)
		k->request_us = c->unit.query_us > c->xact_us ? c->unit.query_us : c->xact_us;
}

static void server_row(struct rows *r, const struct server *s, enum what what)
{
	struct sock k;

	server_sock(s, &k, what != SERVERS);
	rows_row(r);
	socket_columns(r, &k);
	rows_uint(r, (s->id & 0xffffffffffff) * s->h->sh->hall_n + (s->id >> 48));
	if (what == SERVERS) {
		rows_text(r, s->target->addr.name);
		rows_text(r, target_shown(s->target));
		rows_text(r, target_role_name((enum target_role)atomic_load(&s->target->role)));
		rows_uint(r, s->h->w.id);
	} else {
		buffer_columns(r, &k, s->body_left);
	}
	rows_end_row(r);
}

/* ---- FDS ---- */

static void fd_row(struct rows *r, const struct sock *k, const struct params *p, int link)
{
	static const char *const setting[] = { "client_encoding", "standard_conforming_strings",
					       "DateStyle", "TimeZone" };
	unsigned i;

	rows_row(r);
	rows_int(r, k->s->fd);
	rows_text(r, *k->type == 'C' ? "client" : "server");
	rows_text(r, k->user);
	rows_text(r, k->db);
	address(r, k->peer, k->peer_len, k->port);
	rows_int(r, 0);
	rows_int(r, link);
	for (i = 0; i < 4; i++)
		rows_text(r, params_get(p, setting[i]));
	for (i = 0; i < 3; i++)
		rows_null(r);
	rows_end_row(r);
}

/* ---- all of a hall ---- */

static bool is_active(const struct stream *s)
{
	return stream_have(s) || stream_backed_up(s);
}

static void one_client(struct gather *g, const struct client *c)
{
	enum what what = (enum what)g->what;
	struct sock k;

	if (c->inner || c->state == CL_CLOSED)
		return;
	if (what == CLIENTS ? !is_stranger(c) :
			      what == SOCKETS || (what == ACTIVE_SOCKETS && is_active(&c->s))) {
		client_row(&g->rows, c, what);
	} else if (what == PINS) {
		pin_row(&g->rows, c);
	} else if (what == FDS) {
		client_sock(c, &k, true);
		fd_row(&g->rows, &k, &c->params, server_for(c) ? server_for(c)->s.fd : 0);
	}
}

static void one_server(struct gather *g, const struct server *s)
{
	enum what what = (enum what)g->what;
	struct sock k;

	if (what == SERVERS || what == SOCKETS || (what == ACTIVE_SOCKETS && is_active(&s->s))) {
		server_row(&g->rows, s, what);
	} else if (what == FDS) {
		server_sock(s, &k, true);
		fd_row(&g->rows, &k, &s->params, client_for(s) ? client_for(s)->s.fd : 0);
	}
}

/* By the buckets of their keys: these stay where they are while clients come and go. */
static void some_clients(struct hall *h, struct gather *g, unsigned *n)
{
	const struct client *c;

	while (g->bucket < KEY_BUCKETS && *n < GATHER_ROWS)
		for (c = h->keys[g->bucket++]; c; c = c->key_next, ++*n)
			one_client(g, c);
}

static bool visit(struct hall *h, struct gather *g)
{
	unsigned n = 0;
	struct link *l;

	if (g->what != SERVERS)
		some_clients(h, g, &n);
	if (n >= GATHER_ROWS)
		return false;
	for (l = h->servers.next; l != &h->servers && g->what != CLIENTS && g->what != PINS;
	     l = l->next) {
		const struct server *s = LIST_ITEM(l, struct server, all);

		if (s->place <= g->place)
			continue;
		if (n++ >= GATHER_ROWS)
			return false;
		one_server(g, s);
		g->place = s->place;
	}
	return true;
}

static void show_clients(struct task *t)
{
	gather(t, visit, CLIENTS, NULL);
}

static void show_servers(struct task *t)
{
	gather(t, visit, SERVERS, NULL);
}

static void show_sockets(struct task *t)
{
	gather(t, visit, SOCKETS, NULL);
}

static void show_active_sockets(struct task *t)
{
	gather(t, visit, ACTIVE_SOCKETS, NULL);
}

static void show_fds(struct task *t)
{
	gather(t, visit, FDS, NULL);
}

static void show_pins(struct task *t)
{
	gather(t, visit, PINS, NULL);
}

/* ---- MEM ---- */

static bool count_memory(struct hall *h, struct gather *g)
{
	g->sum[0] += h->w.buf_bytes;
	g->sum[1] += h->w.spare_n;
	g->sum[2] += atomic_load(&h->w.load);
	return true;
}

static void mem_row(struct rows *r, const char *name, uint64_t size, uint64_t used, uint64_t spare)
{
	rows_row(r);
	rows_text(r, name);
	rows_uint(r, size);
	rows_uint(r, used);
	rows_uint(r, spare);
	rows_uint(r, size * (used + spare));
	rows_end_row(r);
}

static void mem_rows(struct task *t, struct gather *g)
{
	struct shared *sh = t->h->sh;
	struct hub *hub = NULL;
	uint64_t servers = 0, held = (uint64_t)atomic_load(&sh->held_bytes);

	while ((hub = hubs_next(&sh->hubs, hub)))
		servers += (uint64_t)atomic_load(&hub->limit.used);
	mem_row(&t->rows, "client_cache", sizeof(struct client), g->sum[2], 0);
	mem_row(&t->rows, "server_cache", sizeof(struct server), servers, 0);
	mem_row(&t->rows, "iobuf_cache", BUF_SIZE, (g->sum[0] + BUF_SIZE - 1) / BUF_SIZE, g->sum[1]);
	mem_row(&t->rows, "held_bytes", 1, held, 0);
}

static void show_mem(struct task *t)
{
	gather(t, count_memory, 0, mem_rows);
}

/* ---- the table ---- */

#define T(name) { name, ROWS_TEXT }
#define I(name) { name, ROWS_INT4 }
#define Q(name) { name, ROWS_INT8 }
#define STANDARD                                                                                 \
	T("type"), T("user"), T("database"), T("replication"), T("state"), T("addr"), I("port"), \
		T("local_addr"), I("local_port"), T("connect_time"), T("request_time"), I("wait"), \
		I("wait_us"), I("close_needed"), T("ptr"), T("link"), I("remote_pid"), T("tls"), \
		T("application_name"), I("prepared_statements"), I("id")

static const struct column client_columns[] = {
	STANDARD, T("auth_method"), T("pool_mode"), T("node"), I("pinned"), I("worker"), { NULL, 0 },
};
static const struct column server_columns[] = {
	STANDARD, T("node"), T("node_state"), T("role"), I("worker"), { NULL, 0 },
};
static const struct column sockets_columns[] = {
	STANDARD, I("recv_pos"), I("pkt_pos"), I("pkt_remain"), I("send_pos"), I("send_remain"),
	I("pkt_avail"), I("send_avail"), { NULL, 0 },
};
static const struct column fd_columns[] = {
	I("fd"), T("task"), T("user"), T("database"), T("addr"), I("port"), Q("cancel"), I("link"),
	T("client_encoding"), T("std_strings"), T("datestyle"), T("timezone"), T("password"),
	{ "scram_client_key", ROWS_BYTEA }, { "scram_server_key", ROWS_BYTEA }, { NULL, 0 },
};
static const struct column pin_columns[] = {
	I("id"), T("user"), T("database"), T("application_name"), T("why"), T("node"),
	I("remote_pid"), T("ptr"), T("link"), { NULL, 0 },
};
static const struct column mem_columns[] = { T("name"), I("size"), I("used"), I("free"),
					     I("memtotal"), { NULL, 0 } };

const struct command socket_commands[] = {
	{ "SHOW CLIENTS", "", "SHOW CLIENTS", "each client, what it does and how it logged in", false,
	  client_columns, "SHOW", show_clients },
	{ "SHOW SERVERS", "", "SHOW SERVERS", "each server connection and whom it serves", false,
	  server_columns, "SHOW", show_servers },
	{ "SHOW SOCKETS", "", "SHOW SOCKETS", "both, with what is in their buffers", false,
	  sockets_columns, "SHOW", show_sockets },
	{ "SHOW ACTIVE_SOCKETS", "", "SHOW ACTIVE_SOCKETS", "those of them that have something there",
	  false, sockets_columns, "SHOW", show_active_sockets },
	{ "SHOW FDS", "", "SHOW FDS", "descriptors; no secrets", true, fd_columns, "SHOW", show_fds },
	{ "SHOW PINS", "", "SHOW PINS", "clients that are bound to their server, and why", false,
	  pin_columns, "SHOW", show_pins },
	{ "SHOW MEM", "", "SHOW MEM", "memory of what there are many of", false, mem_columns, "SHOW",
	  show_mem },
	{ 0 },
};
