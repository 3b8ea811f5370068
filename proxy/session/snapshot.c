/* proxy/session/snapshot.c - see snapshot.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/snapshot.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "io/worker.h"

static int map_db(struct snapshot_db *out, const struct conf_db *db, struct targets *ts)
{
	size_t i;

	out->conf = db;
	out->node_n = db->host_n;
	out->nodes = calloc(db->host_n ? db->host_n : 1, sizeof(*out->nodes));
	if (!out->nodes)
		return -1;
	for (i = 0; i < db->host_n; i++) {
		out->nodes[i] = (struct pick_node){ targets_get(ts, &db->hosts[i]),
						    db->host_conf[i].weight, db->host_conf[i].near };
		if (!out->nodes[i].t)
			return -1;
	}
	return 0;
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

struct snapshot *snapshot_make(struct conf *conf, struct targets *ts)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	size_t i;

	if (!s) {
		conf_drop(conf);
		return NULL;
	}
	atomic_init(&s->refs, 1);
	s->conf = conf;
	s->dbs = calloc(conf->db_n ? conf->db_n : 1, sizeof(*s->dbs));
	s->secrets = calloc(conf->user_n ? conf->user_n : 1, sizeof(*s->secrets));
	s->deny = split_list(conf->g.retry_deny_functions);
	s->leave = split_list(conf->g.pin_functions);
	if (!s->dbs || !s->secrets || !s->deny || !s->leave)
		goto fail;
	s->lists = (struct lex_lists){ (const char *const *)s->deny, (const char *const *)s->leave };
	for (i = 0; i < conf->db_n; i++)
		if (map_db(&s->dbs[i], &conf->dbs[i], ts))
			goto fail;
	if (conf->fallback && map_db(&s->fallback, conf->fallback, ts))
		goto fail;
	take_codes(s, conf->g.retry_codes);
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
		free(s->dbs[i].nodes);
	free(s->dbs);
	free(s->fallback.nodes);
	free_list(s->deny);
	free_list(s->leave);
	for (i = 0; s->secrets && i < s->conf->user_n; i++) {
		struct scram_secret *k = atomic_load(&s->secrets[i]);

		if (k)
			scram_secret_wipe(k);
		free(k);
	}
	free(s->secrets);
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

bool snapshot_is_retry_code(const struct snapshot *s, const char *sqlstate)
{
	unsigned i;

	for (i = 0; i < s->code_n; i++)
		if (strcmp(s->codes[i], sqlstate) == 0)
			return true;
	return false;
}

static int make_secret(const struct conf_user *u, struct scram_secret *k)
{
	uint8_t salt[16];

	switch (u->secret_kind) {
	case SECRET_SCRAM:
		return scram_secret_parse(u->secret, k);
	case SECRET_PLAIN:
		if (random_secret(salt, sizeof(salt)))
			return -1;
		return scram_secret_make(u->secret, salt, sizeof(salt), SCRAM_ITERATIONS_DEFAULT, k);
	case SECRET_MD5: /* cannot serve SCRAM */
	case SECRET_NONE:
	default:
		return -1;
	}
}

const struct scram_secret *snapshot_secret(struct snapshot *s, const struct conf_user *u)
{
	_Atomic(struct scram_secret *) *at = &s->secrets[u - s->conf->users];
	struct scram_secret *have = atomic_load(at), *k;

	if (have)
		return have;
	k = calloc(1, sizeof(*k));
	if (!k || make_secret(u, k)) {
		free(k);
		return NULL;
	}
	if (!atomic_compare_exchange_strong(at, &have, k)) {
		/* Another worker made one at the same time: one salt for all. */
		scram_secret_wipe(k);
		free(k);
		return have;
	}
	return k;
}
