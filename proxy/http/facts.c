/* proxy/http/facts.c - see facts.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/facts.h"

#include <stdlib.h>
#include <string.h>

/* ---- pools ---- */

static void add_pool(struct fact_pool *to, const struct fact_pool *p)
{
	to->clients += p->clients;
	to->waiting += p->waiting;
	to->busy += p->busy;
	to->idle += p->idle;
	to->dialling += p->dialling;
	to->cleaning += p->cleaning;
	to->servers += p->servers;
	to->pins += p->pins;
	if (p->wait_us > to->wait_us)
		to->wait_us = p->wait_us;
}

static void read_pool(struct fact_pool *p, const struct hub *hub, uint64_t now)
{
	uint64_t oldest = 0, t;
	unsigned i;

	memset(p, 0, sizeof(*p));
	for (i = 0; i < hub->worker_n; i++) {
		const struct hub_side *s = &hub->side[i];

		p->clients += atomic_load_explicit(&s->clients, memory_order_relaxed);
		p->waiting += atomic_load_explicit(&s->waiting, memory_order_relaxed);
		p->busy += atomic_load_explicit(&s->busy, memory_order_relaxed);
		p->idle += atomic_load_explicit(&s->idle, memory_order_relaxed);
		p->dialling += atomic_load_explicit(&s->dialling, memory_order_relaxed);
		p->cleaning += atomic_load_explicit(&s->cleaning, memory_order_relaxed);
		t = atomic_load_explicit(&s->oldest, memory_order_relaxed);
		if (t && (!oldest || t < oldest))
			oldest = t;
	}
	p->wait_us = oldest && now > oldest ? now - oldest : 0;
	p->servers = atomic_load(&hub->limit.used);
	p->servers_max = atomic_load(&hub->limit.max);
	p->pins = atomic_load(&hub->pins.used);
	p->pins_max = atomic_load(&hub->pins.max);
	p->apart = hub->apart;
}

/* pool[FACTS_POOLS] is that of the others. */
static void on_hub(void *arg, struct hub *hub)
{
	struct facts *f = arg;
	struct fact_pool p, *to = &f->pool[FACTS_POOLS];

	read_pool(&p, hub, f->now_us);
	f->pools++;
	add_pool(&f->all, &p);
	if (f->pool_n < FACTS_POOLS && strlen(hub->db) < FACTS_NAME &&
	    strlen(hub->user) < FACTS_NAME) {
		to = &f->pool[f->pool_n++];
		*to = p;
		memcpy(to->db, hub->db, strlen(hub->db) + 1);
		memcpy(to->user, hub->user, strlen(hub->user) + 1);
		return;
	}
	memcpy(to->db, FACTS_OTHERS, sizeof(FACTS_OTHERS));
	memcpy(to->user, FACTS_OTHERS, sizeof(FACTS_OTHERS));
	add_pool(to, &p);
}

static int by_pool(const void *a, const void *b)
{
	const struct fact_pool *x = a, *y = b;
	int c = strcmp(x->db, y->db);

	if (!c)
		c = strcmp(x->user, y->user);
	return c ? c : (int)x->apart - (int)y->apart;
}

/* ---- nodes ---- */

static void read_node(struct fact_node *n, const struct target *t)
{
	enum target_state s = (enum target_state)atomic_load(&t->state);

	n->t = t;
	n->name = t->addr.name;
	n->state = target_shown(t);
	n->role = (enum target_role)atomic_load(&t->role);
	n->excluded = atomic_load(&t->excluded) != 0;
	n->lagging = n->role == ROLE_STANDBY && atomic_load(&t->lagging);
	n->checked = s != TARGET_UNKNOWN;
	n->live = n->checked && target_suits(t, ATTRS_ANY) >= SUIT_DOUBT;
	n->conns = atomic_load(&t->conns);
	n->dialling = atomic_load(&t->dialling);
	n->check_us = atomic_load(&t->probe_us);
	n->lag_us = atomic_load(&t->lag_us);
	n->fails = atomic_load(&t->fails_total);
}

static void read_missing(struct fact_node *n, const char *name)
{
	memset(n, 0, sizeof(*n));
	n->name = name;
	n->state = "unresolved";
	n->role = ROLE_UNKNOWN;
}

static int by_node(const void *a, const void *b)
{
	const struct fact_node *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static const struct snapshot_db *db_at(const struct snapshot *s, size_t i)
{
	return i < s->conf->db_n ? &s->dbs[i] : &s->fallback;
}

static int read_nodes(struct facts *f, const struct snapshot *s)
{
	size_t n = 0, i, k, kept = 0;

	for (i = 0; i <= s->conf->db_n; i++)
		n += db_at(s, i)->node_n + db_at(s, i)->missing_n;
	f->node = calloc(n + 1, sizeof(*f->node));
	if (!f->node)
		return -1;
	for (n = 0, i = 0; i <= s->conf->db_n; i++) {
		const struct snapshot_db *db = db_at(s, i);

		for (k = 0; k < db->node_n; k++)
			read_node(&f->node[n++], db->nodes[k].t);
		for (k = 0; k < db->missing_n; k++)
			read_missing(&f->node[n++], db->missing[k].host->name);
	}
	if (n)
		qsort(f->node, n, sizeof(*f->node), by_node);
	for (i = 0; i < n; i++) {
		if (i && strcmp(f->node[i].name, f->node[i - 1].name) == 0)
			continue;
		if (kept < FACTS_NODES) {
			f->node[kept++] = f->node[i];
			continue;
		}
		f->node_left++;
		f->node_left_live += f->node[i].live;
	}
	f->node_n = kept;
	return 0;
}

/* ---- databases ---- */

static void read_db(struct fact_db *to, const struct snapshot *s, const struct snapshot_db *db)
{
	enum session_attrs attrs = (enum session_attrs)CONF_PICK(
		CONF_UNSET, db->conf->k.target_session_attrs, s->conf->g.target_session_attrs);
	size_t i;

	memset(to, 0, sizeof(*to));
	to->name = db->conf->name;
	to->nodes = (unsigned)db->missing_n;
	for (i = 0; i < db->node_n; i++) {
		const struct target *t = db->nodes[i].t;

		to->nodes++;
		to->live += atomic_load(&t->state) != TARGET_UNKNOWN &&
			    target_suits(t, attrs) >= SUIT_DOUBT;
	}
}

static int read_dbs(struct facts *f, const struct snapshot *s)
{
	struct fact_db d;
	size_t i;

	f->db = calloc(FACTS_DBS, sizeof(*f->db));
	if (!f->db)
		return -1;
	for (i = 0; i <= s->conf->db_n; i++) {
		if (!db_at(s, i)->conf)
			continue;
		read_db(&d, s, db_at(s, i));
		if (f->db_n < FACTS_DBS) {
			f->db[f->db_n++] = d;
			continue;
		}
		f->db_left++;
		f->db_left_live += d.live > 0;
	}
	return 0;
}

int facts_read(struct facts *f, struct shared *sh, const struct snapshot *snap)
{
	memset(f, 0, sizeof(*f));
	f->now_us = clock_mono_us();
	f->pool = calloc(FACTS_POOLS + 1, sizeof(*f->pool));
	if (!f->pool || read_nodes(f, snap) || read_dbs(f, snap)) {
		facts_free(f);
		return -1;
	}
	hubs_each(&sh->hubs, on_hub, f);
	qsort(f->pool, f->pool_n, sizeof(*f->pool), by_pool);
	if (f->pool[FACTS_POOLS].db[0]) {
		f->pool[f->pool_n] = f->pool[FACTS_POOLS];
		f->pool_n++;
	}
	f->clients = atomic_load(&sh->clients.used);
	f->clients_max = atomic_load(&sh->clients.max);
	f->logging_in = door_n(&sh->door);
	f->held_bytes = atomic_load(&sh->held_bytes);
	return 0;
}

void facts_free(struct facts *f)
{
	free(f->pool);
	free(f->node);
	free(f->db);
	memset(f, 0, sizeof(*f));
}
