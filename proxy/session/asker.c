/* proxy/session/asker.c - see asker.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/asker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/reply.h"

#define STRANGERS_MAX 64u        /* of a worker, in databases whose names clients have chosen */
#define QUESTIONS_MAX 1024u      /* that wait in one */
#define FLIGHT_MAX 8u            /* of them sent ahead of their answers */
#define IDLE_US 30000000u
#define NAME_LEN_MAX 1000u       /* no server has users with such names */

struct question {
	struct link link;            /* in its asker's, in their order */
	struct link waits;           /* struct ask_wait */
	char *name;
	bool sent, again;
	uint64_t sent_us;
	struct reply reply;
};

struct asker {
	struct asker *next;
	struct hall *h;
	uint64_t id;                 /* in what is known */
	char *db, *user, *query;
	struct stream s;
	struct corpse corpse;
	bool open;                   /* s is, and its other end is a client */
	bool ready;                  /* ... which has logged in */
	bool old;                    /* by an older configuration: nobody asks it any more */
	bool dead;
	bool invented;               /* db is a name that a client has chosen */
	struct link questions;
	unsigned question_n, sent_n;
	uint64_t idle_us;            /* since when it has had no question */
	struct reply last;          /* what ended its session */
};

bool asker_how(const struct snapshot *snap, const char *db, struct ask_how *out)
{
	const struct snapshot_db *d = snapshot_db(snap, db);
	const struct conf_db_keys *k = d ? &d->conf->k : NULL;
	const struct conf_global *g = &snap->conf->g;

	out->user = k && k->auth_user ? k->auth_user : g->auth_user;
	out->query = k && k->auth_query ? k->auth_query : g->auth_query;
	out->db = k && k->auth_dbname ? k->auth_dbname : g->auth_dbname;
	if (!out->db)
		out->db = d ? db : NULL;
	d = out->db ? snapshot_db(snap, out->db) : NULL;
	out->invented = d && d->conf == snap->conf->fallback;
	return out->user && out->query && d;
}

/* ---- births and ends ---- */

static void bury(struct corpse *corpse)
{
	struct asker *a = LIST_ITEM(corpse, struct asker, corpse);

	free(a->db);
	free(a->user);
	free(a->query);
	free(a);
}

static void question_free(struct asker *a, struct question *q)
{
	list_del(&q->link);
	a->question_n--;
	a->sent_n -= q->sent;
	reply_clear(&q->reply);
	free(q->name);
	free(q);
}

static void hang_up(struct asker *a)
{
	if (a->open)
		stream_close(&a->s);
	a->open = a->ready = false;
	reply_clear(&a->last);
}

/* Nobody is told: it has no questions, or all is over. */
static void asker_end(struct asker *a)
{
	struct asker **p = &a->h->askers;

	if (a->dead)
		return;
	a->dead = true;
	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	hang_up(a);
	while (!list_empty(&a->questions)) {
		struct question *q = LIST_ITEM(a->questions.next, struct question, link);

		while (list_pop(&q->waits))
			;
		question_free(a, q);
	}
	worker_bury(&a->h->w, &a->corpse, bury);
}

static bool is_for(const struct asker *a, const struct ask_how *how)
{
	return !a->old && strcmp(a->db, how->db) == 0 && strcmp(a->user, how->user) == 0 &&
	       strcmp(a->query, how->query) == 0;
}

static struct asker *find(struct hall *h, const struct ask_how *how)
{
	struct asker *a;

	for (a = h->askers; a && !is_for(a, how); a = a->next)
		;
	return a;
}

/* Room for one more in a database of the * entry: the one that has been idle longest goes.
 * The others are as many as the configuration has databases, and want no room. */
static bool make_room(struct hall *h)
{
	struct asker *a, *idle = NULL;
	unsigned n = 0;

	for (a = h->askers; a; a = a->next) {
		n += a->invented;
		if (a->invented && !a->question_n && (!idle || a->idle_us < idle->idle_us))
			idle = a;
	}
	if (n < STRANGERS_MAX)
		return true;
	if (idle)
		asker_end(idle);
	return idle != NULL;
}

static struct asker *make(struct hall *h, const struct ask_how *how)
{
	struct asker *a = !how->invented || make_room(h) ? calloc(1, sizeof(*a)) : NULL;

	if (!a)
		return NULL;
	a->h = h;
	a->id = ++h->asker_ids;
	a->invented = how->invented;
	a->idle_us = h->w.now_us;
	list_init(&a->questions);
	a->db = strdup(how->db);
	a->user = strdup(how->user);
	a->query = strdup(how->query);
	if (!a->db || !a->user || !a->query) {
		bury(&a->corpse);
		return NULL;
	}
	a->next = h->askers;
	h->askers = a;
	return a;
}

/* ---- answers ---- */

static void log_failure(const struct asker *a, const struct reply *why)
{
	char db[80], user[80], text[200];

	LOG(&a->h->w.log_ctx, LOG_LEVEL_WARN, "auth_query_failed",
	    "db=%s auth_user=%s sqlstate=%s reason=%s", log_quote(db, sizeof(db), a->db),
	    log_quote(user, sizeof(user), a->user), *why->sqlstate ? why->sqlstate : "-",
	    log_quote(text, sizeof(text), *why->message ? why->message : why->wrong));
}

/* Who waits for q goes on, and q is no more. */
static void answered(struct asker *a, struct question *q)
{
	struct reply x = q->reply;
	int64_t keep = a->h->snap->conf->g.auth_query_cache_time;
	struct shared *sh = a->h->sh;
	struct link waits, *l;
	uint32_t none = 0;

	if (x.wrong)
		log_failure(a, &x);
	else if (!a->old && keep)
		known_put(&a->h->known, a->id, q->name, x.kind, x.secret,
			  a->h->w.now_us + (uint64_t)keep);
	if (x.secret && x.kind == SECRET_SCRAM)
		(void)atomic_compare_exchange_strong(&sh->asked_iterations, &none, x.iterations);
	if (x.secret)
		atomic_fetch_or_explicit(&sh->asked_kinds, 1u << x.kind, memory_order_relaxed);
	list_init(&waits);
	while ((l = list_pop(&q->waits)))
		list_push_back(&waits, l);
	memset(&q->reply, 0, sizeof(q->reply)); /* x has it */
	question_free(a, q);
	if (!a->question_n)
		a->idle_us = a->h->w.now_us;
	/* one of them may end others, or the asker */
	while ((l = list_pop(&waits))) {
		struct ask_wait *w = LIST_ITEM(l, struct ask_wait, link);

		w->answered(w, !x.wrong ? NULL : reply_passes(&x) ? "57P03" : "28000", x.kind,
			    x.secret);
	}
	reply_clear(&x);
}

/* Its session is over: so is all that was asked. */
static void lost(struct asker *a)
{
	struct reply why = a->last;

	if (!why.wrong) {
		why.wrong = "the session for auth_query ended";
		memcpy(why.sqlstate, "08006", 6);
	}
	memset(&a->last, 0, sizeof(a->last));
	hang_up(a);
	if (!a->question_n)
		return;
	log_failure(a, &why);
	while (!a->dead && !list_empty(&a->questions)) {
		struct question *q = LIST_ITEM(a->questions.next, struct question, link);

		reply_clear(&q->reply);
		q->reply = why;
		answered(a, q);
	}
}

static void send_more(struct asker *a)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &a->questions) {
		struct question *q = LIST_ITEM(l, struct question, link);
		size_t size = strlen(a->query) + strlen(q->name) + 128;
		struct wire_put w;
		uint8_t *b;

		if (q->sent)
			continue;
		if (a->sent_n == FLIGHT_MAX)
			return;
		b = malloc(size);
		w = wire_put_to(b, b ? size : 0);
		reply_ask(&w, a->query, q->name);
		q->sent = true;
		q->sent_us = a->h->w.now_us;
		a->sent_n++;
		/* a failure is told by the stream: this makes the other end go */
		if (w.bad || stream_send(&a->s, b, w.len) == IO_FAIL)
			stream_shut(&a->s);
		free(b);
	}
}

/* The head's answer is complete. */
static void head_done(struct asker *a)
{
	struct question *q = LIST_ITEM(a->questions.next, struct question, link);

	reply_end(&q->reply);
	if (q->reply.wrong && reply_lost(&q->reply) && !q->again) {
		/* what was lost with its server may be asked again; behind the others, whose
		 * answers are on their way */
		reply_clear(&q->reply);
		q->again = true;
		q->sent = false;
		a->sent_n--;
		list_del(&q->link);
		list_push_back(&a->questions, &q->link);
		return;
	}
	answered(a, q);
}

/* false: the session makes no sense, or is over. */
static bool message(struct asker *a, uint8_t type, struct wire_get g)
{
	struct question *q = a->sent_n ? LIST_ITEM(a->questions.next, struct question, link) : NULL;
	struct wire_fields f;

	if (type == 'E') {
		wire_get_fields(g, &f);
		if (!a->ready || strcmp(f.severity, "FATAL") == 0) {
			reply_error(&a->last, g);
			return false;
		}
	}
	if (!a->ready) {
		a->ready = type == 'Z';
		return true;
	}
	if (type == 'S' || type == 'N' || type == 'A')
		return true;
	if (!q)
		return false;
	if (type == 'Z')
		head_done(a);
	else
		reply_message(&q->reply, q->name, type, g);
	return true;
}

/* Messages of ours are small; a row of a server's that is not, is no secret. */
static void on_readable(struct stream *s)
{
	struct asker *a = LIST_ITEM(s, struct asker, s);
	enum io io = stream_fill(s, 0);

	while (a->open && stream_have(s)) {
		uint8_t type = 0, *p = stream_data(s);
		uint32_t len = 0;
		enum wire_status st = wire_header(p, stream_have(s), &type, &len);
		bool fine;

		if (st == WIRE_MORE || (st == WIRE_OK && len <= BUF_CAP && len > stream_have(s)))
			break;
		if (st == WIRE_BAD || len > BUF_CAP) {
			a->last.wrong = "the answer is too long";
			lost(a);
			return;
		}
		fine = message(a, type, wire_body(p, len));
		if (!a->open)
			return;
		explicit_bzero(p, len);
		stream_consume(s, len);
		if (!fine) {
			lost(a);
			return;
		}
	}
	if (!a->open)
		return;
	if (io == IO_EOF || io == IO_FAIL)
		lost(a);
	else if (a->ready)
		send_more(a);
}

static const struct stream_ops asker_stream = { on_readable, NULL, NULL, NULL };

/* ---- questions ---- */

static bool open_session(struct asker *a)
{
	int fd[2];

	if (kernel_pair(fd))
		return false;
	stream_open(&a->s, &a->h->w, fd[0], &asker_stream);
	a->open = true;
	a->h->up->inner(a->h, fd[1], a->db, a->user);
	return true;
}

static struct question *add(struct asker *a, const char *name)
{
	struct question *q;

	if (a->question_n >= QUESTIONS_MAX || (!a->open && !open_session(a)))
		return NULL;
	q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->name = strdup(name);
	if (!q->name) {
		free(q);
		return NULL;
	}
	list_init(&q->waits);
	list_push_back(&a->questions, &q->link);
	a->question_n++;
	return q;
}

static struct question *asked_already(struct asker *a, const char *name, bool anew)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &a->questions) {
		struct question *q = LIST_ITEM(l, struct question, link);

		if (strcmp(q->name, name) == 0 && !(anew && q->sent))
			return q;
	}
	return NULL;
}

enum asked asker_ask(struct hall *h, const struct ask_how *how, const char *name, bool anew,
	       struct ask_wait *w, struct known_user **known)
{
	struct asker *a = find(h, how);
	struct question *q;

	if (!a)
		a = make(h, how);
	if (strlen(name) > NAME_LEN_MAX)
		return ASKED_NOBODY;
	if (!a)
		return ASKED_NO;
	*known = anew ? NULL : known_get(&h->known, a->id, name, h->w.now_us);
	if (*known)
		return ASKED_KNOWN;
	q = asked_already(a, name, anew);
	if (!q)
		q = add(a, name);
	if (!q)
		return ASKED_NO;
	list_push_back(&q->waits, &w->link);
	if (a->ready)
		send_more(a);
	return ASKED_WAIT;
}

bool asker_join(struct hall *h, const struct ask_how *how, const char *name, struct ask_wait *w)
{
	struct asker *a = find(h, how);
	struct question *q = a ? asked_already(a, name, false) : NULL;

	if (q)
		list_push_back(&q->waits, &w->link);
	return q != NULL;
}

struct known_user *asker_known(struct hall *h, const struct ask_how *how, const char *name)
{
	struct asker *a = find(h, how);

	return a ? known_get(&h->known, a->id, name, h->w.now_us) : NULL;
}

void asker_forget(struct hall *h, const struct ask_how *how, const char *name)
{
	struct asker *a = find(h, how);

	if (a)
		known_forget(&h->known, a->id, name);
}

/* ---- upkeep ---- */

/* By then whoever waits has been told client_login_timeout. */
static bool overdue(const struct asker *a)
{
	uint64_t limit = (uint64_t)a->h->snap->conf->g.client_login_timeout;
	const struct question *q = LIST_ITEM(a->questions.next, struct question, link);

	return limit && a->sent_n && a->h->w.now_us - q->sent_us > limit;
}

void askers_tick(struct hall *h)
{
	struct asker *a, *next;

	for (a = h->askers; a; a = next) {
		uint64_t keep = (uint64_t)h->snap->conf->g.auth_query_cache_time;

		next = a->next;
		if (!a->question_n && (a->old || h->w.now_us - a->idle_us > IDLE_US + keep)) {
			asker_end(a);
		} else if (overdue(a)) {
			a->last.wrong = "no answer within client_login_timeout";
			memcpy(a->last.sqlstate, "57014", 6);
			lost(a);
			return; /* the list may be another now; the rest in the next tick */
		}
	}
}

void askers_reconf(struct hall *h)
{
	struct asker *a;

	known_clear(&h->known);
	for (a = h->askers; a; a = a->next)
		a->old = true;
	askers_tick(h);
}

void askers_drop(struct hall *h)
{
	while (h->askers)
		asker_end(h->askers);
}
