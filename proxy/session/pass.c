/* proxy/session/pass.c - see pass.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/pass.h"

#include <stdlib.h>
#include <string.h>

#include "session/admit.h"
#include "session/login.h"
#include "session/nodes.h"
#include "session/server.h"
#include "session/shard.h"
#include "session/step.h"

/* ---- who may ---- */

enum startup pass_may(const struct client *c, struct startup_no *no)
{
	const struct snapshot_db *db = snapshot_db(c->h->snap, c->db);

	if (!c->local && !stream_is_tls(&c->s))
		return refusal(no, "28000", "passthrough without TLS",
			       "Use sslmode=require, or the unix socket.",
			       "a password is not asked for on a connection without TLS");
	if (admit_is_console(c->db))
		return refusal(no, "28000", "passthrough to the console",
			       "No server knows who may use the console: give its databases, pgweir "
			       "and pgbouncer, another method in auth_hba_file.",
			       "passthrough is not for the console");
	if (db && db->conf->k.user && *db->conf->k.user)
		return refusal(no, "28000", "passthrough to a database with user=",
			       "It has user= in [databases], so that a client's own password would "
			       "open the connections of another user.",
			       "passthrough is not for database \"%.60s\"", c->db);
	return STARTUP_MORE;
}

static enum startup wrong(const struct client *c, struct startup_no *no, const char *why)
{
	return refusal(no, "28P01", why, NULL, "password authentication failed for user \"%.60s\"",
		       c->user);
}

/* ---- a trial's life ---- */

static void free_secret(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* Whoever gives up a place in the database or of the user says so then. */
static void hunger(struct shard *sh, int n)
{
	atomic_fetch_add(&sh->pool.hub->in->hungry, n);
	atomic_fetch_add(&sh->pool.hub->of->hungry, n);
}

static void begin(struct trial *t, struct client *c, struct shard *sh)
{
	t->c = c;
	t->sh = sh;
	t->since_us = c->h->w.now_us;
	list_push_back(&sh->trials, &t->link);
	hunger(sh, 1);
	c->trial = t;
}

void pass_end(struct client *c)
{
	struct trial *t = c->trial;
	struct shard *sh;

	if (!t)
		return;
	c->trial = NULL;
	sh = t->sh;
	list_del(&t->link);
	hunger(sh, -1);
	if (t->s)
		server_close(t->s, "nobody waits for its login", false);
	/* made for a user that may be nobody: it need not be kept */
	if (!sh->clients && !sh->learned && list_empty(&sh->trials))
		sh->idle_us = 1;
	free_secret(t->password);
	explicit_bzero(t, sizeof(*t));
	free(t);
}

static void tell(struct trial *t, enum startup r, struct startup_no *no)
{
	const struct trial_calls *calls = t->calls;
	struct client *c = t->c;

	pass_end(c);
	calls->over(c, r, no);
}

/* -1: out of memory or randomness. */
static int open_proofs(struct hall *h)
{
	uint8_t key[PROOF_LEN];
	int r;

	if (proofs_ready(&h->proofs))
		return 0;
	r = random_secret(key, sizeof(key)) || proofs_init(&h->proofs, key) ? -1 : 0;
	explicit_bzero(key, sizeof(key));
	return r;
}

static enum startup no_memory(struct startup_no *no)
{
	return refusal(no, "53200", "out of memory", NULL, "out of memory");
}

enum startup pass_try(struct client *c, const char *password, const struct trial_calls *calls,
		      struct startup_no *no)
{
	struct hall *h = c->h;
	const struct snapshot_db *db = snapshot_db(h->snap, c->db);
	struct proof_key key;
	struct shard *sh;
	struct trial *t;

	if (pass_may(c, no) == STARTUP_REFUSED) /* a reload may have come in between */
		return STARTUP_REFUSED;
	if (!db)
		return wrong(c, no, "unknown database");
	sh = shard_get(h, db, c->db, c->user);
	if (!sh || open_proofs(h) || proofs_key(&h->proofs, c->db, c->user, password, &key))
		return no_memory(no);
	if (proofs_has(&h->proofs, &key, h->w.now_us)) {
		if (!sh->learned)
			(void)shard_learn(sh, password);
		return STARTUP_IN;
	}
	t = calloc(1, sizeof(*t));
	if (t)
		t->password = strdup(password);
	if (!t || !t->password) {
		free(t);
		return no_memory(no);
	}
	t->key = key;
	t->calls = calls;
	begin(t, c, sh);
	LOG(&c->log, LOG_LEVEL_DEBUG, "password_trial", NULL);
	client_step(c, CE_LOOK);
	t->fresh = true;
	h->up->dial(sh);
	t->fresh = false;
	return STARTUP_MORE;
}

const char *pass_late(const struct client *c)
{
	const struct trial *t = c->trial;

	return t->s || t->trouble || !limit_full(&t->sh->pool.hub->limit) ? "57P03" : "53300";
}

/* ---- whose turn it is ---- */

static bool under_way(const struct shard *sh, const struct proof_key *key)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &sh->trials) {
		const struct trial *t = LIST_ITEM(l, struct trial, link);

		if (t->s && proofs_same(&t->key, key))
			return true;
	}
	return false;
}

struct trial *pass_next(const struct shard *sh)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &sh->trials) {
		struct trial *t = LIST_ITEM(l, struct trial, link);

		if (!t->s && !under_way(sh, &t->key))
			return t;
	}
	return NULL;
}

/* A queue of guesses is as good as guesses one after the other: who waits in it when the
 * first one has failed has a pause before him like everybody else. */
bool pass_held_up(struct trial *t)
{
	struct startup_no no = { 0 };

	if (t->fresh || !t->calls->must_wait(t->c, &no))
		return false;
	tell(t, STARTUP_REFUSED, &no);
	return true;
}

/* ---- proven ---- */

/* The other workers log in with it too. */
struct learnt {
	struct letter l;
	size_t size;             /* of the rest */
	const char *user, *password;
	char db[];
};

static void on_learnt(struct worker *w, struct letter *l)
{
	struct learnt *n = (struct learnt *)(void *)l;
	struct hall *h = hall_of(w);
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		if (strcmp(sh->pool.hub->db, n->db) == 0 &&
		    strcmp(sh->pool.hub->user, n->user) == 0 && !h->stopping &&
		    shard_learn(sh, n->password))
			h->up->dial(sh);
	explicit_bzero(n, sizeof(*n) + n->size);
	free(n);
}

static void tell_others(struct shard *sh)
{
	const char *db = sh->pool.hub->db, *user = sh->pool.hub->user;
	size_t db_size = strlen(db) + 1, user_size = strlen(user) + 1;
	size_t size = db_size + user_size + strlen(sh->learned) + 1;
	struct hall *h = sh->h;
	struct learnt *n;
	unsigned i;

	for (i = 0; i < h->sh->hall_n; i++) {
		if (i == h->w.id || h->stopping)
			continue;
		n = calloc(1, sizeof(*n) + size);
		if (!n)
			return; /* they learn it from a client of their own */
		n->l.deliver = on_learnt;
		n->size = size;
		n->user = memcpy(n->db + db_size, user, user_size);
		n->password = memcpy(n->db + db_size + user_size, sh->learned,
				     size - db_size - user_size);
		memcpy(n->db, db, db_size);
		worker_post(&h->sh->halls[i].w, &n->l);
	}
}

bool pass_proven(struct server *s, struct proof_key *key)
{
	struct trial *t = s->trial;
	struct shard *sh = s->shard;
	struct hall *h = s->h;
	uint64_t now = h->w.now_us;

	if (!t)
		return false;
	s->trial = NULL;
	t->s = NULL;
	if (s->close_needed)
		return false; /* a node that is the database's no more: another one is asked */
	*key = t->key;
	if (shard_learn(sh, t->password))
		tell_others(sh);
	proofs_add(&h->proofs, key, now, now + (uint64_t)h->snap->conf->g.passthrough_cache);
	/* the first of those with this password, and not to be asked for again */
	list_del(&t->link);
	list_push_front(&sh->trials, &t->link);
	return true;
}

void pass_let_in(struct shard *sh, const struct proof_key *key)
{
	bool all = sh->h->snap->conf->g.passthrough_cache > 0;
	struct startup_no no = { 0 };
	struct link *l, *tmp;
	struct trial *t;

	do {
		t = NULL;
		LIST_EACH(l, tmp, &sh->trials) {
			t = LIST_ITEM(l, struct trial, link);
			if (proofs_same(&t->key, key))
				break;
			t = NULL;
		}
		if (t)
			tell(t, STARTUP_IN, &no);
	} while (t && all);
}

/* ---- not proven ---- */

/* The node could not tell: another one, or the same later. */
static bool untold(const struct login_end *e)
{
	return nodes_is_trouble(e->sqlstate) || strcmp(e->sqlstate, "53300") == 0 ||
	       strcmp(e->sqlstate, "25006") == 0 ||
	       (strcmp(e->sqlstate, "XXUUU") == 0 && !e->let_in && !login_refused(e));
}

static void ask_another(struct trial *t, const struct login_end *e)
{
	struct hall *h = t->sh->h;

	t->trouble = true;
	nodes_untold(t, e->t);
	if (nodes_is_trouble(e->sqlstate))
		nodes_seen(h, e->t, nodes_what(e->sqlstate, e->message, e->hard));
	else if (strcmp(e->sqlstate, "53300") == 0)
		atomic_store_explicit(&e->t->full_us, h->w.now_us, memory_order_relaxed);
}

void pass_failed(struct trial *t, const struct login_end *e)
{
	bool again = untold(e), refused = login_refused(e);
	struct client *c = t->c;
	struct startup_no no = { 0 };
	char quoted[200];

	LOG(&c->log, refused ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "password_not_taken",
	    "node=%s sqlstate=%s reason=%s", e->t->addr.name, e->sqlstate,
	    log_quote(quoted, sizeof(quoted), e->message));
	if (again) {
		ask_another(t, e);
		return;
	}
	if (refused)
		(void)wrong(c, &no, "refused by the server");
	else if (e->said)
		(void)refusal(&no, e->sqlstate, "the server ended the login", NULL, "%.190s",
			      e->message);
	else
		(void)refusal(&no, "28000", "no login to the server", NULL,
			      "the password could not be tried: %.150s", e->message);
	tell(t, STARTUP_REFUSED, &no);
}

void pass_slow(struct server *s)
{
	struct trial *t = s->trial;

	nodes_seen(s->h, s->target, SEEN_SLOW);
	if (!nodes_other(t, s->target))
		return;
	t->trouble = true;
	nodes_untold(t, s->target);
	server_close(s, "takes long, another node is asked", false);
}
