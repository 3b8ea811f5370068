/* proxy/session/snapshot.c - see snapshot.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/snapshot.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/worker.h"

/* What snapshot_make maps hosts with. */
struct mapper {
	struct targets *ts;
	snapshot_names_fn *names;
	void *arg;
};

static const struct ip_set *set_of(const struct mapper *m, const struct addr *host,
				   const char **why)
{
	const struct ip_set *set;

	*why = NULL;
	if (host->sock_len || !m->names)
		return NULL;
	set = m->names(m->arg, host->host, why);
	return set && set->n ? set : NULL;
}

/* At most as many nodes as this. */
static size_t count_nodes(const struct conf_db *db, const struct mapper *m)
{
	const struct ip_set *set;
	const char *why;
	size_t n = 1, i;

	for (i = 0; i < db->host_n; i++) {
		set = set_of(m, &db->hosts[i], &why);
		n += set ? set->n : 1;
	}
	return n;
}

/* With the weight and the zone of host i. One too many is left out: no name gives as
 * many, and several that do are no cluster. */
static int add_node(struct snapshot_db *out, const struct addr *a, size_t i, struct targets *ts)
{
	const struct conf_host *h = &out->conf->host_conf[i];
	struct target *t;
	size_t k;

	if (out->node_n == PICK_TRIED)
		return 0;
	t = targets_get(ts, a);
	if (!t)
		return -1;
	for (k = 0; k < out->node_n; k++)
		if (out->nodes[k].t == t) {
			target_drop(t);
			return 0;
		}
	out->nodes[out->node_n++] = (struct pick_node){ t, h->weight, h->near, i };
	return 0;
}

static int add_missing(struct snapshot_db *out, const struct addr *host, const char *why)
{
	struct snapshot_missing *m = &out->missing[out->missing_n];
	int n;

	if (why)
		n = asprintf(&m->text, "Host name \"%s\" cannot be resolved: %s.", host->host, why);
	else
		n = asprintf(&m->text, "Host name \"%s\" cannot be resolved: no answer yet.",
			     host->host);
	if (n < 0) {
		m->text = NULL;
		return -1;
	}
	m->host = host;
	out->missing_n++;
	return 0;
}

/* One address of a name. */
static int add_ip(struct snapshot_db *out, size_t i, const struct ip *ip, struct targets *ts)
{
	const struct addr *host = &out->conf->hosts[i];
	char name[400], text[IP_TEXT];
	struct addr a = *host;

	ip_sock(ip, &a);
	/* The address is part of the name even when there is one only: how many
	 * there are changes, and a node keeps its name. */
	if (!addr_is_localhost(host->host)) {
		(void)snprintf(name, sizeof(name), "%s/%s", host->name,
			       ip_print(ip, text, sizeof(text)));
		a.name = name;
	}
	return add_node(out, &a, i, ts);
}

static int map_host(struct snapshot_db *out, size_t i, const struct mapper *m)
{
	const struct addr *host = &out->conf->hosts[i];
	const char *why;
	const struct ip_set *set = set_of(m, host, &why);
	unsigned k, n;

	if (host->sock_len)
		return add_node(out, host, i, m->ts);
	if (!set)
		return add_missing(out, host, why);
	n = addr_is_localhost(host->host) ? 1 : set->n;
	for (k = 0; k < n; k++)
		if (add_ip(out, i, &set->ip[k], m->ts))
			return -1;
	return 0;
}

static int map_db(struct snapshot_db *out, const struct conf_db *db, const struct mapper *m)
{
	size_t i;

	out->conf = db;
	out->nodes = calloc(count_nodes(db, m), sizeof(*out->nodes));
	out->missing = calloc(db->host_n ? db->host_n : 1, sizeof(*out->missing));
	if (!out->nodes || !out->missing)
		return -1;
	for (i = 0; i < db->host_n; i++)
		if (map_host(out, i, m))
			return -1;
	return 0;
}

static void unmap_db(struct snapshot_db *db)
{
	size_t i;

	for (i = 0; i < db->node_n; i++)
		target_drop(db->nodes[i].t);
	free(db->nodes);
	for (i = 0; i < db->missing_n; i++)
		free(db->missing[i].text);
	free(db->missing);
}

/* "A, b" -> { "a", "b", NULL } */
static char **split_list(const char *list)
{
	size_t n = 2, i = 0;
	const char *p;
	char **out;

	for (p = list ? list : ""; *p; p++)
		n += *p == ',';
	out = calloc(n, sizeof(char *));
	if (!out)
		return NULL;
	for (p = list ? list : ""; *p;) {
		size_t len;
		char *c;

		p += strspn(p, ", \t");
		len = strcspn(p, ", \t");
		if (!len)
			break;
		out[i] = strndup(p, len);
		if (!out[i])
			break;
		for (c = out[i]; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		i++;
		p += len;
	}
	return out;
}

static void free_list(char **list)
{
	size_t i;

	for (i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static void take_codes(struct snapshot *s, const char *list)
{
	const char *p = list ? list : "";

	while (*p && s->code_n < SNAPSHOT_CODES) {
		size_t len;

		p += strspn(p, ", \t");
		len = strcspn(p, ", \t");
		if (len == 5)
			memcpy(s->codes[s->code_n++], p, 5);
		p += len;
	}
}

/* Of secrets that are made from passwords. */
static uint32_t iterations(const struct snapshot *s)
{
	return (uint32_t)s->conf->g.scram_iterations;
}

/* For snapshot_mock. Of the iteration counts the first eight are looked at: nobody has more. */
static void count_secrets(struct snapshot *s)
{
	struct { uint32_t iterations; size_t n; } seen[8] = { { 0, 0 } };
	const struct conf *c = s->conf;
	struct scram_secret k;
	size_t i, j, most = 0;

	for (i = 0; i < c->user_n; i++) {
		s->kind_n[c->users[i].secret_kind]++;
		if (c->users[i].secret_kind != SECRET_SCRAM ||
		    scram_secret_parse(c->users[i].secret, &k))
			continue;
		for (j = 0; j < 8 && seen[j].n && seen[j].iterations != k.iterations; j++)
			;
		if (j < 8) {
			seen[j].iterations = k.iterations;
			if (++seen[j].n > seen[most].n)
				most = j;
		}
		scram_secret_wipe(&k);
	}
	s->mock_iterations = seen[most].n ? seen[most].iterations : iterations(s);
}

/* Without memory, or with a host that is none, it cannot be reached. */
static void map_peer(struct snapshot_peer *out, const struct conf_peer *p, const struct mapper *m)
{
	const struct ip_set *set;
	const char *why;

	if (!p->k.host || addr_list(p->k.host, NULL, (int)p->k.port, &out->addr, &out->n, NULL))
		return;
	set = out->n ? set_of(m, &out->addr[0], &why) : NULL;
	if (set)
		ip_sock(&set->ip[0], &out->addr[0]);
}

struct snapshot *snapshot_make(struct conf *conf, struct tls_set *tls, struct targets *ts,
			       snapshot_names_fn *names, void *arg)
{
	const struct mapper m = { ts, names, arg };
	struct snapshot *s = calloc(1, sizeof(*s));
	size_t i;

	if (!s) {
		conf_drop(conf);
		tls_set_drop(tls);
		return NULL;
	}
	atomic_init(&s->refs, 1);
	s->conf = conf;
	s->tls = tls;
	s->dbs = calloc(conf->db_n ? conf->db_n : 1, sizeof(*s->dbs));
	s->secrets = calloc(conf->user_n ? conf->user_n : 1, sizeof(*s->secrets));
	s->deny = split_list(conf->g.retry_deny_functions);
	s->leave = split_list(conf->g.pin_functions);
	s->peers = calloc(conf->peer_n ? conf->peer_n : 1, sizeof(*s->peers));
	if (!s->dbs || !s->secrets || !s->peers || !s->deny || !s->leave)
		goto fail;
	s->lists = (struct lex_lists){ (const char *const *)s->deny, (const char *const *)s->leave };
	for (i = 0; i < conf->db_n; i++) {
		s->dbs[i].tls = tls ? tls_set_db(tls, &conf->dbs[i]) : NULL;
		if (map_db(&s->dbs[i], &conf->dbs[i], &m))
			goto fail;
	}
	if (conf->fallback) {
		s->fallback.tls = tls ? tls_set_db(tls, conf->fallback) : NULL;
		if (map_db(&s->fallback, conf->fallback, &m))
			goto fail;
	}
	for (i = 0; i < conf->peer_n; i++)
		map_peer(&s->peers[i], &conf->peers[i], &m);
	take_codes(s, conf->g.retry_codes);
	count_secrets(s);
	return s;
fail:
	snapshot_drop(s);
	return NULL;
}

struct snapshot *snapshot_hold(struct snapshot *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void snapshot_drop(struct snapshot *s)
{
	size_t i;

	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	for (i = 0; s->dbs && i < s->conf->db_n; i++)
		unmap_db(&s->dbs[i]);
	free(s->dbs);
	unmap_db(&s->fallback);
	for (i = 0; s->peers && i < s->conf->peer_n; i++)
		addr_list_free(s->peers[i].addr, s->peers[i].n);
	free(s->peers);
	free_list(s->deny);
	free_list(s->leave);
	for (i = 0; s->secrets && i < s->conf->user_n; i++) {
		struct scram_secret *k = atomic_load(&s->secrets[i]);

		if (k)
			scram_secret_wipe(k);
		free(k);
	}
	free(s->secrets);
	tls_set_drop(s->tls);
	conf_drop(s->conf);
	free(s);
}

struct kernel_tcp snapshot_tcp(const struct snapshot *s)
{
	const struct conf_global *g = &s->conf->g;

	return (struct kernel_tcp){ g->tcp_keepalive != 0, (int)g->tcp_keepidle,
				    (int)g->tcp_keepintvl, (int)g->tcp_keepcnt,
				    (int)g->tcp_user_timeout };
}

const struct snapshot_db *snapshot_db(const struct snapshot *s, const char *name)
{
	const struct conf_db *d = conf_find_db(s->conf, name);

	if (!d)
		return NULL;
	return d == s->conf->fallback ? &s->fallback : &s->dbs[d - s->conf->dbs];
}

const struct addr *snapshot_peer(const struct snapshot *s, int id)
{
	const struct conf_peer *p = conf_find_peer(s->conf, id);
	const struct snapshot_peer *at = p ? &s->peers[p - s->conf->peers] : NULL;

	return at && at->n ? &at->addr[0] : NULL;
}

const char *snapshot_secret_for(const struct snapshot_db *db, const struct target *t,
				const char *dbname, const char *user)
{
	const struct conf_db *d = db->conf;
	const char *host = t->addr.host; /* it has left the entry since it was dialled */
	size_t i;

	for (i = 0; i < db->node_n && db->nodes[i].t != t; i++)
		;
	if (i < db->node_n) {
		host = d->host_conf[db->nodes[i].host].name;
		if (!host)
			host = d->hosts[db->nodes[i].host].host;
	}
	return conf_secret_for(d, host, t->addr.port, dbname, user);
}

bool snapshot_is_retry_code(const struct snapshot *s, const char *sqlstate)
{
	unsigned i;

	for (i = 0; i < s->code_n; i++)
		if (strcmp(s->codes[i], sqlstate) == 0)
			return true;
	return false;
}

/* ---- secrets ---- */

/* The salt of a password in clear is the user's own for as long as the process runs:
 * one that changed at a reload would tell users from those that are made up. */
static int make_secret(const struct snapshot *s, const struct conf_user *u, const uint8_t key[32],
		       struct scram_secret *k)
{
	struct scram_secret mock;

	switch (u->secret_kind) {
	case SECRET_SCRAM:
		return scram_secret_parse(u->secret, k);
	case SECRET_PLAIN:
		scram_secret_mock(u->name, key, iterations(s), &mock);
		return scram_secret_make(u->secret, mock.salt, mock.salt_len, mock.iterations, k);
	case SECRET_MD5: /* cannot serve SCRAM */
	case SECRET_NONE:
	default:
		return -1;
	}
}

/* FNV-1a: which of the bits stands for a name that is nobody's. */
static uint32_t stranger_bit(const char *name)
{
	uint64_t h = 14695981039346656037u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 1099511628211u;
	return (uint32_t)((h ^ h >> 32) % (SNAPSHOT_STRANGERS * 32));
}

enum secret_kind snapshot_mock(const struct snapshot *s, const char *name, const uint8_t key[32],
			       struct scram_secret *out)
{
	size_t all = s->kind_n[SECRET_PLAIN] + s->kind_n[SECRET_MD5] + s->kind_n[SECRET_SCRAM];
	uint32_t pick;
	uint64_t place;

	scram_secret_mock(name, key, iterations(s), out);
	memcpy(&pick, out->server_key, sizeof(pick));
	place = (uint64_t)pick * all >> 32;
	if (place < s->kind_n[SECRET_PLAIN] || !all)
		return SECRET_PLAIN;
	if (place < s->kind_n[SECRET_PLAIN] + s->kind_n[SECRET_MD5])
		return SECRET_MD5;
	out->iterations = s->mock_iterations;
	return SECRET_SCRAM;
}

bool snapshot_secret_is_heavy(const struct snapshot *s, const struct conf_user *u,
			      const char *name, enum secret_kind kind)
{
	uint32_t bit;

	if (u && u->secret_kind != SECRET_NONE)
		return u->secret_kind == SECRET_PLAIN &&
		       !atomic_load(&s->secrets[u - s->conf->users]);
	bit = stranger_bit(name);
	return kind == SECRET_PLAIN && !(atomic_load(&s->strangers[bit / 32]) & 1u << bit % 32);
}

/* As much work as a user's first login, and like that only once. */
static void work_for_nobody(struct snapshot *s, const char *name, const uint8_t key[32])
{
	uint32_t bit = stranger_bit(name);
	struct scram_secret mock, k;

	scram_secret_mock(name, key, iterations(s), &mock);
	if (scram_secret_make(name, mock.salt, mock.salt_len, mock.iterations, &k) == 0)
		scram_secret_wipe(&k);
	atomic_fetch_or(&s->strangers[bit / 32], 1u << bit % 32);
}

const struct scram_secret *snapshot_secret(struct snapshot *s, const struct conf_user *u,
					   const char *name, enum secret_kind kind,
					   const uint8_t key[32])
{
	_Atomic(struct scram_secret *) *at;
	struct scram_secret *have, *k;

	if (!u || u->secret_kind == SECRET_NONE) {
		if (snapshot_secret_is_heavy(s, u, name, kind))
			work_for_nobody(s, name, key);
		return NULL;
	}
	at = &s->secrets[u - s->conf->users];
	have = atomic_load(at);
	if (have)
		return have;
	k = calloc(1, sizeof(*k));
	if (!k || make_secret(s, u, key, k)) {
		free(k);
		return NULL;
	}
	if (!atomic_compare_exchange_strong(at, &have, k)) {
		/* Another worker made one at the same time. */
		scram_secret_wipe(k);
		free(k);
		return have;
	}
	return k;
}
