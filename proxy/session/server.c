/* proxy/session/server.c - see server.h; the login is in login.c
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/count.h"
#include "session/encrypt.h"
#include "session/ours.h"
#include "session/step.h"
#include "session/undo.h"

/* For what runs on a server whose client has gone, to end after its cancel. */
#define ABANDON_US 10000000u
/* For a rollback or a reset. */
#define CLEAN_US 5000000u
/* A server that is cancelled before it has begun with the query takes no notice:
 * again after this long, and after twice that. */
#define CANCEL_AGAIN_US 100000u
/* A dial that takes longer than this, and twice the last check or login, is not waited for. */
#define SLOW_US 250000u

static void on_readable(struct stream *st)
{
	struct server *s = LIST_ITEM(st, struct server, s);

	s->h->up->readable(s);
}

static void on_drained(struct stream *st)
{
	struct server *s = LIST_ITEM(st, struct server, s);

	s->h->up->drained(s);
}

static void on_connected(struct stream *st, int error)
{
	struct server *s = LIST_ITEM(st, struct server, s);
	struct kernel_tcp tcp = snapshot_tcp(s->shard->snap);

	if (!error)
		kernel_tcp(st->fd, &tcp);
	s->h->up->connected(s, error);
}

static void on_secured(struct stream *st, int error)
{
	struct server *s = LIST_ITEM(st, struct server, s);

	s->h->up->secured(s, error);
}

static const struct stream_ops server_stream = { on_readable, on_drained, on_connected,
						 on_secured };

static void on_deadline(struct deadline *d)
{
	struct server *s = LIST_ITEM(d, struct server, dl);

	s->h->up->late(s);
}

static void say_who(const struct log_ctx *ctx, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s", LIST_ITEM(ctx, const struct server, log)->who);
}

static void name_server(struct server *s)
{
	const struct addr *a = &s->target->addr;
	char db[28], user[28], node[36], plain[INET6_ADDRSTRLEN + 8];
	const char *name = a->name;

	/* A long name would be cut where its address stands. */
	if (strlen(name) >= sizeof(node) && a->sock.sa.sa_family != AF_UNIX)
		name = addr_print(&a->sock.sa, a->sock_len, plain, sizeof(plain));
	s->log = (struct log_ctx){ &s->h->w.log, say_who };
	(void)snprintf(s->who, sizeof(s->who), "who=s@%u db=%s user=%s node=%s",
		       s->h->w.id % 1000, log_quote(db, sizeof(db), s->shard->pool.hub->db),
		       log_quote(user, sizeof(user), s->shard->pool.hub->user),
		       log_quote(node, sizeof(node), name));
}

static void bury(struct corpse *corpse)
{
	struct server *s = LIST_ITEM(corpse, struct server, corpse);

	owed_free(&s->owed);
	free(s->prints);
	params_clear(&s->params);
	params_clear(&s->base);
	stmt_cache_clear(&s->cache);
	target_drop(s->target);
	meters_put(&s->h->sh->meters, s->node);
	encrypt_drop(s);
	free(s);
}

void server_dialled(struct server *s, enum dial_end how)
{
	uint64_t retry = (uint64_t)s->shard->snap->conf->g.server_login_retry;

	if (!s->dialling)
		return;
	s->dialling = false;
	if (dials_end(s->target, how, s->h->w.now_us, retry, worker_random(&s->h->w)))
		s->h->up->tokens(s->h);
}

/* Two deadlines: when another node is dialled beside it, and when it has failed. A
 * node that is known to be slow has longer. */
static void set_deadline(struct server *s)
{
	const struct shard *sh = s->shard;
	int64_t limit = CONF_PICK(CONF_UNSET, sh->db->conf->k.connect_timeout,
				  sh->snap->conf->g.server_connect_timeout);
	uint64_t now = s->h->w.now_us;
	uint64_t slow = 2 * atomic_load_explicit(&s->target->probe_us, memory_order_relaxed);

	if (slow < 2 * atomic_load_explicit(&s->target->login_us, memory_order_relaxed))
		slow = 2 * atomic_load_explicit(&s->target->login_us, memory_order_relaxed);
	if (slow < SLOW_US)
		slow = SLOW_US;
	s->connect_by_us = now + (uint64_t)limit;
	if (slow < (uint64_t)limit / 2)
		deadline_set(&s->h->w, DL_SLOW, &s->dl, now + slow);
	else
		deadline_set(&s->h->w, DL_CONNECT, &s->dl, s->connect_by_us);
}

static int dial(struct server *s)
{
	struct target *t = s->target;

	if (stream_connect(&s->s, &s->h->w, &t->addr.sock.sa, t->addr.sock_len, &server_stream) == 0)
		return 0;
	LOG(&s->log, LOG_LEVEL_ERROR, "dial_failed", "reason=\"%s\"", strerror(errno));
	return -1;
}

enum pool_grant server_dial(struct shard *sh, struct target *t, const struct dial_limits *limits,
			    struct trial *trial)
{
	struct hall *h = sh->h;
	struct server *s = calloc(1, sizeof(*s));
	enum pool_grant grant;

	if (!s)
		return POOL_FULL;
	grant = pool_seat_new(&sh->pool, &s->ps);
	if (grant != POOL_OK) {
		free(s);
		return grant;
	}
	s->h = h;
	s->shard = sh;
	s->target = t;
	s->s.fd = -1;
	s->tx = 'I';
	list_init(&s->all);
	deadline_init(&s->dl, on_deadline);
	s->born_us = h->w.now_us;
	name_server(s);
	s->dialling = dials_take(t, limits, h->w.now_us);
	if (s->dialling) {
		s->node = meters_get(&h->sh->meters, METER_NODE, t->addr.name);
		s->meter = meter_side(s->node, h->w.id);
	}
	if (!s->dialling || dial(s)) {
		if (s->dialling) {
			server_dialled(s, DIAL_DROPPED);
			(void)dials_gone(t);
		}
		/* nobody is told of the place: where descriptors are wanting, whoever is would
		 * be back here at once. The upkeep looks again. */
		(void)pool_drop(&s->ps);
		meters_put(&h->sh->meters, s->node);
		free(s);
		return POOL_FULL;
	}
	s->id = (uint64_t)h->w.id << 48 | ++h->server_ids;
	target_hold(t); /* the node's name may stand for others before we are done */
	s->place = ++h->server_places;
	list_push_back(&h->servers, &s->all);
	sh->servers++;
	server_step(s, SE_DIAL);
	set_deadline(s);
	if (trial) {
		s->trial = trial;
		trial->s = s;
		pool_slow(&s->ps); /* whoever waits should not count on it */
	}
	return POOL_OK;
}

int server_redial(struct server *s)
{
	stream_close(&s->s);
	server_login_end(s);
	s->second = true;
	server_step(s, SE_DIAL);
	return dial(s);
}

void server_login_end(struct server *s)
{
	if (!s->login)
		return;
	scram_client_wipe(&s->login->scram);
	free(s->login);
	s->login = NULL;
}

void server_close(struct server *s, const char *why, bool polite)
{
	static const uint8_t terminate[5] = { 'X', 0, 0, 0, 4 };
	struct hall *h = s->h;
	char token[64];
	bool hungry;

	if (s->state == SV_CLOSED)
		return;
	if (polite && s->s.fd >= 0 && !s->s.connecting && !s->s.failed)
		(void)!stream_send(&s->s, terminate, sizeof(terminate));
	LOG(&s->log, s->h->snap->conf->g.verbose ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
	    "server_closed", "why=%s state=%s seat=%d age_us=%llu",
	    log_token(token, sizeof(token), why),
	    server_state_name(s->state), (int)s->ps.seat,
	    (unsigned long long)(h->w.now_us - s->born_us));
	if (s->trial)
		s->trial->s = NULL;
	s->trial = NULL;
	server_step(s, SE_FAIL);
	deadline_clear(&s->dl);
	list_del(&s->all);
	stream_close(&s->s);
	server_login_end(s);
	server_dialled(s, DIAL_DROPPED);
	hungry = dials_gone(s->target);
	server_park(s, false);
	s->shard->servers--;
	hungry |= pool_drop(&s->ps);
	COUNT_SERVER(s, server_closed);
	if (!s->cancels)
		worker_bury(&h->w, &s->corpse, bury);
	if (hungry)
		h->up->tokens(h);
}

bool server_uncancel(struct server *s)
{
	if (--s->cancels)
		return false;
	if (s->state == SV_CLOSED)
		worker_bury(&s->h->w, &s->corpse, bury);
	return s->state != SV_CLOSED;
}

void server_forget_statements(struct server *s)
{
	stmt_cache_clear(&s->cache);
	s->unnamed_serial = 0;
}

static int send_query(struct server *s, const char *sql)
{
	uint8_t b[4100];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_msg_str(&w, 'Q', sql);
	s->unnamed_serial = UNNAMED_UNKNOWN; /* a simple Query ends it */
	if (w.bad || owed_sent(&s->owed, 'Q', 0, true, 0, NULL))
		return -1;
	return stream_send(&s->s, b, w.len) == IO_FAIL ? -1 : 0;
}

bool server_clean(struct server *s, const char *reset)
{
	bool rollback = s->tx != 'I', any = rollback || (reset && *reset);

	if (!any)
		return false;
	server_step(s, SE_DIRTY);
	s->cancel_gap_us = 0;
	s->clean_by_us = s->h->w.now_us + CLEAN_US;
	deadline_set(&s->h->w, DL_CLEAN, &s->dl, s->clean_by_us);
	if ((rollback && send_query(s, "ROLLBACK")) ||
	    (reset && *reset && send_query(s, reset)))
		s->close_needed = true;
	return true;
}

bool server_greet(struct server *s)
{
	const struct shard *sh = s->shard;
	const char *sql = sh->db->conf->k.connect_query;
	uint64_t by = s->h->w.now_us + CLEAN_US;

	/* what auth_query is asked on has no settings of anybody's */
	if (!sql || !*sql || sh->asks || sh->replication)
		return false;
	pool_clean(&s->ps);
	server_step(s, SE_DIRTY);
	s->greeted = true;
	s->cancel_gap_us = 0;
	s->clean_by_us = s->connect_by_us > by ? s->connect_by_us : by;
	deadline_set(&s->h->w, DL_CLEAN, &s->dl, s->clean_by_us);
	if (send_query(s, sql))
		s->close_needed = true;
	return true;
}

static int send_bytes(struct server *s, char type, const uint8_t *msg, size_t n)
{
	if (owed_sent(&s->owed, type, 0, true, REF_ABANDONED, NULL))
		return -1;
	return stream_send(&s->s, msg, n) == IO_FAIL ? -1 : 0;
}

/* CopyFail ends a COPY that is under way or about to begin, and means nothing
 * otherwise; a Sync ends a batch; ROLLBACK a transaction. */
int server_abandon(struct server *s, const char *reset, bool cancelled)
{
	static const uint8_t copy_fail[] = { 'f', 0, 0, 0, 16, 'c', 'l', 'i', 'e', 'n',
					     't', ' ', 'g', 'o', 'n', 'e', 0 };
	static const uint8_t sync[] = { 'S', 0, 0, 0, 4 };
	static const uint8_t bind[] = { 'B', 0,	  0,   0,   18,	 0,   ' ', 'n', 'o',
					'b', 'o', 'd', 'y', 0,	 0,   0,   0,	0, 0 };
	bool batch = s->owed.open || s->owed.skipping, unsaid = s->owed.open && !s->owed.skipping;

	owed_abandon(&s->owed, REF_ABANDONED);
	s->body_swallow = true;
	server_step(s, SE_DIRTY);
	/* a Sync alone would commit what its client has not */
	if (send_bytes(s, 'f', copy_fail, sizeof(copy_fail)) ||
	    (unsaid && send_bytes(s, 'B', bind, sizeof(bind))) ||
	    (batch && send_bytes(s, 'S', sync, sizeof(sync))) || send_query(s, "ROLLBACK") ||
	    (reset && *reset && send_query(s, reset)))
		return -1;
	s->cancel_gap_us = cancelled ? CANCEL_AGAIN_US : 0;
	s->clean_by_us = s->h->w.now_us + ABANDON_US;
	deadline_set(&s->h->w, DL_CLEAN, &s->dl,
		     cancelled ? s->h->w.now_us + CANCEL_AGAIN_US : s->clean_by_us);
	COUNT_SERVER(s, recovered);
	return 0;
}

bool server_cancel_again(struct server *s)
{
	const struct owed_entry *e = owed_front(&s->owed);
	uint64_t now = s->h->w.now_us, at = s->clean_by_us;
	bool left = e && !(e->kind == OWED_QUERY && e->ref != REF_ABANDONED);

	if (!s->cancel_gap_us || now >= at)
		return false;
	s->cancel_gap_us *= 2;
	if (now + s->cancel_gap_us < at)
		at = now + s->cancel_gap_us;
	deadline_set(&s->h->w, DL_CLEAN, &s->dl, at);
	return left && !s->cancels && owed_runs(&s->owed);
}

void server_cleaned(struct server *s)
{
	deadline_clear(&s->dl);
	server_step(s, SE_READY);
}

/* Settings that only the server sets: not part of what follows a client. */
static bool is_fact(const char *name)
{
	static const char *const fact[] = { "in_hot_standby",	 "server_version",
					    "server_encoding",	 "integer_datetimes",
					    "is_superuser",	 "scram_iterations",
					    "crdb_version" };
	size_t i;

	for (i = 0; i < sizeof(fact) / sizeof(*fact); i++)
		if (strcasecmp(name, fact[i]) == 0)
			return true;
	return false;
}

static const char *setting(const struct server *s, const char *name)
{
	const char *v = params_get(&s->params, name);

	return v ? v : params_get(&s->base, name);
}

/* Client-only encodings in which a trail byte may be a quote or a backslash. */
void server_look_at_sql(struct server *s)
{
	static const char *const odd[] = { "SJIS", "BIG5",    "GBK",	     "UHC",
					   "GB18030", "JOHAB", "SHIFT_JIS_2004" };
	const char *scs = setting(s, "standard_conforming_strings");
	const char *enc = setting(s, "client_encoding");
	size_t i;

	s->odd_sql = scs && strcasecmp(scs, "off") == 0;
	for (i = 0; enc && i < sizeof(odd) / sizeof(*odd); i++)
		s->odd_sql |= strcasecmp(enc, odd[i]) == 0;
}

void server_param(struct server *s, struct client *c, const char *name, const char *value)
{
	const char *base = params_get(&s->base, name);
	bool same = base && strcmp(base, value) == 0, unknown = false;
	const char *now;

	if (is_fact(name) || s->state == SV_LOGIN) {
		if (params_set(&s->base, name, value))
			s->close_needed = true;
		return;
	}
	if (same)
		params_unset(&s->params, name);
	else if (params_set(&s->params, name, value))
		s->close_needed = unknown = true;
	server_look_at_sql(s);
	if (!c)
		return;
	now = params_get(&c->params, name);
	if ((same ? now != NULL : !now || strcmp(now, value) != 0) && undo_note(c))
		unknown = true;
	if (same && !unknown)
		params_unset(&c->params, name);
	else if (unknown || params_set(&c->params, name, value))
		c->residue.evict = true; /* what it believes to have set would be gone */
}

void server_park(struct server *s, bool on)
{
	if (s->parked != on)
		atomic_fetch_add(&s->shard->pool.side->parked, on ? 1 : -1);
	s->parked = on;
}

void server_leave(struct server *s)
{
	deadline_clear(&s->dl);
	list_del(&s->all);
	s->shard->servers--;
	stream_detach(&s->s);
}

void server_join(struct server *s, struct hall *h, struct shard *sh)
{
	s->h = h;
	s->shard = sh;
	s->meter = meter_side(s->node, h->w.id);
	sh->servers++;
	s->place = ++h->server_places;
	list_push_back(&h->servers, &s->all);
	name_server(s);
	stream_attach(&s->s, &h->w);
}
