/* tests/sim/node.c - see node.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "node.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define STARTUP_MAX 4096u
#define CODE_CANCEL 80877102u
#define CODE_SSL 80877103u
#define CODE_GSS 80877104u
#define CODE_3_0 196608u

/* CockroachDB tells its idle connections of a drain within that time. */
#define DRAIN_TOLD_US 1500000u
/* Between a COMMIT and the end of its connection. */
#define CUT_COMMIT_US 500u

struct backend {
	struct backend *next, *prev;
	struct node *node;
	struct end *end;
	struct engine *engine;   /* NULL: in its startup */
	struct engine_env env;
	struct txn *txn;
	uint8_t startup[STARTUP_MAX];
	size_t startup_n;
	uint32_t pid, secret;
	uint64_t sleep_until;
	bool sleeping, leaving;
	bool block;              /* its transaction was begun with BEGIN */
	bool drained;            /* what comes now is not run any more, unless in a transaction */
};

static void backend_gone(struct backend *b)
{
	struct cluster *c = b->node->cluster;

	sim_forget(c->s, b);
	if (b->engine) {
		b->node->backends--;
		engine_free(b->engine);
		b->engine = NULL;
	}
	if (b->txn)
		sim_wrong(c->s, "a backend is freed with a transaction of its own");
	store_lock_forget(c->store, b);
	store_unlock_all(c->store, b);
	if (b->prev)
		b->prev->next = b->next;
	else
		c->all = b->next;
	if (b->next)
		b->next->prev = b->prev;
	free(b);
}

/* Closes its connection if it is over; it is freed then. */
static void backend_look(struct backend *b)
{
	struct cluster *c = b->node->cluster;

	if (b->leaving && !engine_over(b->engine) && engine_at_rest(b->engine)) {
		struct engine_error err = { "57P01", "server is shutting down", NULL, true };

		engine_end(b->engine, &err);
	}
	if (!engine_over(b->engine))
		return;
	sim_trace(c->s, "node%u b%u over", b->node->id, b->pid);
	end_close(b->end);
	backend_gone(b);
}

/* ---- what the engine asks for ---- */

static void resume(void *arg)
{
	struct backend *b = arg;

	engine_resume(b->engine);
	backend_look(b);
}

static void on_wake(void *arg)
{
	struct backend *b = arg;

	sim_at(b->node->cluster->s, 1 + rng_below(&b->node->cluster->rng, 30), resume, b);
}

static void env_out(void *arg, const uint8_t *p, size_t n)
{
	struct backend *b = arg;

	if (b->node->cluster->s->trace) {
		char kinds[1000];

		sim_trace(b->node->cluster->s, "node%u b%u >%s", b->node->id, b->pid,
			  sim_messages(b->node->cluster->s, kinds, sizeof(kinds), p, n));
	}
	end_send(b->end, p, n);
}

static bool env_trouble(void *arg, enum place at, struct engine_error *err)
{
	(void)arg;
	(void)at;
	(void)err;
	return false;
}

static void env_begin(void *arg, bool block)
{
	struct backend *b = arg;

	b->block = block;
	b->txn = store_begin(b->node->cluster->store, on_wake, b);
}

/* What it has said since may get through, or not. */
static void on_cut(void *arg)
{
	struct backend *b = arg;

	sim_trace(b->node->cluster->s, "node%u b%u is cut behind its COMMIT", b->node->id, b->pid);
	end_reset(b->end);
	backend_gone(b);
}

static enum data env_commit(void *arg, struct engine_error *err)
{
	struct backend *b = arg;
	struct cluster *c = b->node->cluster;
	enum data d = store_commit(b->txn, err);

	if (d != DATA_WAIT)
		b->txn = NULL;
	if (d == DATA_OK && b->node->cut_commit && (b->block || rng_chance(&c->rng, 20))) {
		b->node->cut_commit = false;
		sim_at(c->s, 1 + rng_below(&c->rng, CUT_COMMIT_US), on_cut, b);
	}
	return d;
}

static void env_rollback(void *arg)
{
	struct backend *b = arg;

	store_rollback(b->txn);
	b->txn = NULL;
}

static void env_savepoint(void *arg, unsigned depth)
{
	struct backend *b = arg;

	store_savepoint(b->txn, depth);
}

static void env_rollback_to(void *arg, unsigned depth)
{
	struct backend *b = arg;

	store_rollback_to(b->txn, depth);
}

static enum data env_read(void *arg, unsigned key, const char **value, struct engine_error *err)
{
	struct backend *b = arg;

	return store_read(b->txn, key, value, err);
}

static enum data env_append(void *arg, unsigned key, const char *tag, struct engine_error *err)
{
	struct backend *b = arg;

	return store_append(b->txn, key, tag, err);
}

static enum data env_lock(void *arg, unsigned number, struct engine_error *err)
{
	struct backend *b = arg;

	(void)err;
	return store_lock(b->node->cluster->store, number, b, on_wake, b) ? DATA_OK : DATA_WAIT;
}

static bool env_try_lock(void *arg, unsigned number)
{
	struct backend *b = arg;
	bool got = store_lock(b->node->cluster->store, number, b, on_wake, b);

	if (!got)
		store_lock_forget(b->node->cluster->store, b);
	return got;
}

static bool env_unlock(void *arg, unsigned number)
{
	struct backend *b = arg;

	return store_unlock(b->node->cluster->store, number, b);
}

static enum data env_sleep(void *arg, uint64_t us, struct engine_error *err)
{
	struct backend *b = arg;
	struct sim *s = b->node->cluster->s;

	(void)err;
	if (!b->sleeping) {
		b->sleeping = true;
		b->sleep_until = s->now_us + us;
		sim_at(s, us, resume, b);
		return DATA_WAIT;
	}
	if (s->now_us < b->sleep_until)
		return DATA_WAIT;
	b->sleeping = false;
	return DATA_OK;
}

struct note {
	struct cluster *cluster;
	uint32_t pid;
	char channel[64], payload[128];
};

static void spread(void *arg)
{
	struct note *n = arg;
	struct backend *b;

	for (b = n->cluster->all; b; b = b->next)
		if (b->engine && !b->node->standby)
			engine_notified(b->engine, n->pid, n->channel, n->payload);
	free(n);
}

static void env_notify(void *arg, const char *channel, const char *payload)
{
	struct backend *b = arg;
	struct note *n = calloc(1, sizeof(*n));

	if (!n)
		abort();
	n->cluster = b->node->cluster;
	n->pid = b->pid;
	(void)snprintf(n->channel, sizeof(n->channel), "%s", channel);
	(void)snprintf(n->payload, sizeof(n->payload), "%s", payload);
	sim_at_owned(n->cluster->s, 1, spread, n);
}

static uint32_t env_pid(void *arg, uint32_t *secret)
{
	struct backend *b = arg;

	*secret = b->secret;
	return b->node->cluster->dialect == DIALECT_CRDB ? 0 : b->pid;
}

/* ---- its connection ---- */

static void refuse(struct backend *b, const char *sqlstate, const char *text)
{
	uint8_t m[200];
	size_t n = 5;
	int k = snprintf((char *)m + n, sizeof(m) - n, "SFATAL%cVFATAL%cC%s%cM%s%c", 0, 0, sqlstate,
			 0, text, 0);

	n += (size_t)k + 1; /* and the last zero */
	m[n - 1] = 0;
	m[0] = 'E';
	m[1] = m[2] = 0;
	m[3] = (uint8_t)((n - 1) >> 8);
	m[4] = (uint8_t)(n - 1);
	end_send(b->end, m, n);
	end_close(b->end);
	backend_gone(b);
}

static void cancel(struct backend *asker, uint32_t pid, uint32_t secret)
{
	struct cluster *c = asker->node->cluster;
	struct backend *b;

	for (b = c->all; b; b = b->next)
		if (b->engine && b->pid == pid && b->secret == secret && b->node == asker->node)
			break;
	sim_trace(c->s, "node%u cancel b%u %s", asker->node->id, pid,
		  !b ? "unknown" : engine_waits(b->engine) ? "runs" : "runs nothing");
	end_close(asker->end);
	backend_gone(asker);
	if (!b)
		return;
	c->cancels += engine_waits(b->engine);
	b->sleeping = false;
	if (b->txn)
		store_unwait(b->txn);
	store_lock_forget(c->store, b);
	engine_cancel(b->engine);
	backend_look(b);
}

static uint32_t u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void login(struct backend *b, const uint8_t *params, size_t n)
{
	struct cluster *c = b->node->cluster;
	struct engine_conf conf = { c->dialect, b->node->standby, 150004 };

	b->env = (struct engine_env){
		b,	       env_out,	    env_trouble, env_begin,    env_commit, env_rollback,
		env_savepoint, env_rollback_to, env_read,    env_append, env_lock,   env_try_lock,
		env_unlock,    env_sleep,   env_notify,	 env_pid,
	};

	if (b->node->draining) {
		refuse(b, c->dialect == DIALECT_PG ? "57P03" : "57P01",
		       c->dialect == DIALECT_PG ? "the database system is shutting down" :
						  "server is not accepting clients");
		return;
	}
	b->engine = engine_new(&conf, &b->env);
	if (!b->engine)
		abort();
	b->node->backends++;
	engine_login(b->engine, params, n);
	backend_look(b);
}

/* One packet of the startup. false: not all of it has come, or b is gone. */
static bool startup(struct backend *b)
{
	uint32_t len, code;
	uint8_t packet[STARTUP_MAX];

	if (b->startup_n < 8)
		return false;
	len = u32(b->startup);
	code = u32(b->startup + 4);
	if (len < 8 || len > STARTUP_MAX) {
		sim_wrong(b->node->cluster->s, "a startup packet of %u bytes came to a server", len);
		return false;
	}
	if (b->startup_n < len)
		return false;
	memcpy(packet, b->startup, len);
	b->startup_n -= len;
	memmove(b->startup, b->startup + len, b->startup_n);
	if (code == CODE_CANCEL && len == 16) {
		cancel(b, u32(packet + 8), u32(packet + 12));
		return false;
	}
	if (code == CODE_SSL || code == CODE_GSS) {
		end_send(b->end, "N", 1);
		return true;
	}
	if (code != CODE_3_0) {
		sim_wrong(b->node->cluster->s, "a startup packet of version %u came", code);
		return false;
	}
	login(b, packet + 8, len - 8);
	return false;
}

static void on_got(void *arg, const uint8_t *p, size_t n)
{
	struct backend *b = arg;
	size_t k = STARTUP_MAX - b->startup_n;

	if (!b->engine) {
		k = k < n ? k : n;
		memcpy(b->startup + b->startup_n, p, k);
		b->startup_n += k;
		while (startup(b))
			;
		return; /* nothing is sent behind a startup packet */
	}
	if (b->node->cluster->s->trace) {
		char text[1000];

		sim_trace(b->node->cluster->s, "node%u b%u <%s", b->node->id, b->pid,
			  sim_messages(b->node->cluster->s, text, sizeof(text), p, n));
	}
	if (b->drained && !engine_over(b->engine) && engine_at_rest(b->engine)) {
		b->leaving = true;
		backend_look(b);
		return;
	}
	engine_input(b->engine, p, n);
	backend_look(b);
}

static void on_over(void *arg, bool reset)
{
	struct backend *b = arg;

	(void)reset;
	sim_trace(b->node->cluster->s, "node%u b%u left", b->node->id, b->pid);
	backend_gone(b);
}

static void on_accept(void *arg, struct end *e)
{
	static const struct end_ops ops = { on_got, on_over };
	struct node *n = arg;
	struct cluster *c = n->cluster;
	struct backend *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->node = n;
	b->end = e;
	b->pid = ++c->pids;
	b->secret = (uint32_t)rng_next(&c->rng);
	if (c->dialect == DIALECT_CRDB)
		b->secret = 0;
	b->next = c->all;
	if (b->next)
		b->next->prev = b;
	c->all = b;
	end_set(e, &ops, b);
}

/* ---- the cluster ---- */

void cluster_init(struct cluster *c, struct sim *s, struct net *net, enum dialect dialect,
		  unsigned nodes)
{
	unsigned i;

	memset(c, 0, sizeof(*c));
	c->s = s;
	c->net = net;
	c->dialect = dialect;
	c->rng = rng_make(s->seed, 5);
	c->store = store_new(dialect);
	c->n = nodes;
	for (i = 0; i < nodes; i++) {
		struct node *n = &c->nodes[i];
		struct sockaddr_in *in = (struct sockaddr_in *)(void *)&n->host.sa;

		n->cluster = c;
		n->id = i;
		n->standby = dialect == DIALECT_PG && i > 0;
		in->sin_family = AF_INET;
		in->sin_port = htons(5432);
		in->sin_addr.s_addr = htonl(0x0a000001u + i);
		n->host.len = sizeof(*in);
		n->host.up = true;
		n->host.accept = on_accept;
		n->host.arg = n;
		(void)snprintf(n->name, sizeof(n->name), "10.0.0.%u", i + 1);
		net_host(net, &n->host);
	}
}

void cluster_free(struct cluster *c)
{
	while (c->all) {
		end_close(c->all->end);
		backend_gone(c->all);
	}
	store_free(c->store);
}

void node_kill(struct node *n)
{
	sim_trace(n->cluster->s, "node%u killed", n->id);
	n->host.up = false;
	net_cut(n->cluster->net, &n->host, true);
}

void node_start(struct node *n)
{
	sim_trace(n->cluster->s, "node%u started", n->id);
	n->host.up = true;
	n->draining = false;
}

static void on_drained(void *arg)
{
	struct backend *b = arg;

	b->leaving = true;
	backend_look(b);
}

void node_drain(struct node *n)
{
	struct cluster *c = n->cluster;
	struct backend *b, *next;

	sim_trace(c->s, "node%u drains", n->id);
	n->draining = true;
	for (b = c->all; b; b = next) {
		next = b->next;
		if (b->node != n || !b->engine)
			continue;
		if (c->dialect == DIALECT_CRDB) {
			b->drained = true; /* its reader looks up now and then */
			sim_at(c->s, 1 + rng_below(&c->rng, DRAIN_TOLD_US), on_drained, b);
			continue;
		}
		{
			struct engine_error err = {
				"57P01", "terminating connection due to administrator command", NULL,
				true
			};

			engine_end(b->engine, &err);
		}
		backend_look(b);
	}
}

void node_silence(struct node *n, bool on)
{
	sim_trace(n->cluster->s, "node%u %s", n->id, on ? "silent" : "heard again");
	n->host.silent = on;
	if (!on)
		net_wake(n->cluster->net);
}

void node_cut_one(struct node *n)
{
	sim_trace(n->cluster->s, "node%u loses a connection", n->id);
	net_cut_one(n->cluster->net, &n->host, &n->cluster->rng);
}

void node_cut_commit(struct node *n)
{
	n->cut_commit = true;
}

void cluster_promote(struct cluster *c, unsigned node)
{
	unsigned i;

	if (c->dialect == DIALECT_CRDB)
		return; /* all are equal */
	sim_trace(c->s, "node%u promoted", node);
	for (i = 0; i < c->n; i++)
		c->nodes[i].standby = i != node;
}

const struct engine *cluster_engine(struct cluster *c, int fd)
{
	struct end *e = net_fd_peer(c->net, fd);
	struct backend *b = e ? end_arg(e) : NULL;

	return b ? b->engine : NULL;
}
