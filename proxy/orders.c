/* proxy/orders.c - see orders.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/key.h"
#include "gatekeeper.h"
#include "leave.h"
#include "nodes_seen.h"
#include "reload.h"
#include "session/obey.h"
#include "session/round.h"

/* How often it is looked whether what is waited for has happened. */
#define LOOK_US 10000u

static const char *arg_of(const struct order *o)
{
	return *o->arg ? o->arg : NULL;
}

/* ---- answers ---- */

static void answer(struct daemon *d, struct order *o)
{
	list_del(&o->link);
	o->l.deliver = o->answer;
	if (d->over)
		o->answer(o->from, &o->l);
	else
		worker_post(o->from, &o->l);
}

static void refuse(struct daemon *d, struct order *o, const char *sqlstate, const char *message,
		   const char *hint)
{
	(void)snprintf(o->sqlstate, sizeof(o->sqlstate), "%s", sqlstate);
	(void)snprintf(o->message, sizeof(o->message), "%s", message);
	(void)snprintf(o->hint, sizeof(o->hint), "%s", hint ? hint : "");
	answer(d, o);
}

/* The database's name stands between before and behind. */
static void refuse_name(struct daemon *d, struct order *o, const char *sqlstate,
			const char *before, const char *behind, const char *hint)
{
	char text[400];

	(void)snprintf(text, sizeof(text), "%s%s%s", before, o->arg, behind);
	refuse(d, o, sqlstate, text, hint);
}

/* ---- what is waited for ---- */

static void look_soon(struct daemon *d)
{
	if (!list_empty(&d->waiting) && !deadline_is_set(&d->look_dl))
		deadline_set(&d->w, CTL_LOOK, &d->look_dl, d->w.now_us + LOOK_US);
}

static struct order *waiting(struct daemon *d, uint64_t id)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &d->waiting)
		if (LIST_ITEM(l, struct order, link)->id == id)
			return LIST_ITEM(l, struct order, link);
	return NULL;
}

static void count_closing(struct hall *h, struct round *r)
{
	const char *db = r->arg;

	atomic_fetch_add(&r->sum, obey_count_closing(h, *db ? db : NULL));
}

static void on_counted(struct round *r)
{
	struct daemon *d = daemon_of(r->sh);
	struct order *o = d->over ? NULL : waiting(d, r->word);
	int moving = 0;

	free(r->arg);
	if (!o)
		return;
	(void)hubs_used(&d->sh.hubs, arg_of(o), &moving);
	o->number = 0;
	if (!atomic_load(&r->sum) && !moving)
		answer(d, o);
	look_soon(d);
}

/* WAIT_CLOSE: the workers count, one round at a time. Without memory it is tried again. */
static void ask_closing(struct daemon *d, struct order *o)
{
	char *db = o->number ? NULL : strdup(o->arg);
	struct round *r = db ? round_new(&d->sh, &d->w, count_closing, on_counted, db) : NULL;

	if (!r) {
		free(db);
		return;
	}
	r->word = o->id;
	o->number = 1;
	round_send(r);
}

/* DRAIN: is the node empty, or in use again by somebody else's word? */
static void look_at_node(struct daemon *d, struct order *o)
{
	struct target *t = o->control;

	if (!atomic_load(&t->excluded))
		refuse(d, o, "57014", "canceling DRAIN due to INCLUDE NODE", NULL);
	else if (!atomic_load(&t->conns) && !atomic_load(&t->dialling))
		answer(d, o);
	else
		return;
	target_drop(t);
}

static void on_look(struct deadline *dl)
{
	struct daemon *d = LIST_ITEM(dl, struct daemon, look_dl);
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &d->waiting) {
		struct order *o = LIST_ITEM(l, struct order, link);

		if (o->spreading)
			continue;
		if (o->what == OP_WAIT_CLOSE)
			ask_closing(d, o);
		else if (o->what == OP_DRAIN)
			look_at_node(d, o);
		else if (!hubs_used(&d->sh.hubs, arg_of(o), NULL))
			answer(d, o);
	}
	look_soon(d);
}

static void wait_for(struct daemon *d, struct order *o)
{
	list_push_back(&d->waiting, &o->link);
	o->number = 0;
	on_look(&d->look_dl);
}

/* ---- the table ---- */

static void pause_over(struct daemon *d, struct order *o, enum order_fate fate);

static void on_changed(struct daemon *d, void *arg)
{
	struct order *o = arg;

	if (!o)
		return;
	o->spreading = false;
	if (o->what != OP_PAUSE || d->over)
		answer(d, o);
	else if (o->fate)
		pause_over(d, o, o->fate);
	else
		on_look(&d->look_dl);
}

/* o: may be NULL. false: it has been refused. */
static bool spread(struct daemon *d, struct gates *g, struct order *o)
{
	const char *kill = o && o->what == OP_KILL ? o->arg : NULL;

	if (gatekeeper_use(d, g, kill, on_changed, o)) {
		if (o && o->what == OP_PAUSE) {
			o->spreading = true;
			list_push_back(&d->waiting, &o->link);
		}
		return true;
	}
	if (o)
		refuse(d, o, "53200", "out of memory", NULL);
	return false;
}

static void log_order(struct daemon *d, const char *event, const char *db)
{
	char q[280];

	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, event, "db=%s", log_quote(q, sizeof(q), db ? db : "*"));
}

/* Those that wait for the end of connections which may now go on. db NULL: PAUSE of all. */
static void end_pauses(struct daemon *d, const char *db)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &d->waiting) {
		struct order *o = LIST_ITEM(l, struct order, link);

		if (o->what == OP_PAUSE && strcmp(o->arg, db ? db : "") == 0)
			pause_over(d, o, FATE_RESUMED);
	}
}

/* false: it has been refused. */
static bool not_paused_yet(struct daemon *d, struct order *o)
{
	if (d->leaving)
		refuse(d, o, "55000", "pooler is shutting down", NULL);
	else if (d->gates && d->gates->paused)
		refuse(d, o, "55000", "already suspended/paused", "RESUME ends it.");
	else
		return true;
	return false;
}

static bool is_console(const char *db)
{
	return strcmp(db, "pgweir") == 0 || strcmp(db, "pgbouncer") == 0;
}

/* Is it a database that clients can ask for? Else o is refused. */
static bool known(struct daemon *d, struct order *o, const char *verb)
{
	char text[60];

	if (!*o->arg)
		return true;
	if (is_console(o->arg)) {
		(void)snprintf(text, sizeof(text), "cannot %s admin db: ", verb);
		refuse_name(d, o, "42809", text, "", NULL);
		return false;
	}
	if (snapshot_db(d->snap, o->arg))
		return true;
	refuse_name(d, o, "3D000", "no such database: ", "",
		    "The names that clients ask for: see SHOW DATABASES.");
	return false;
}

/* ---- the orders ---- */

static void do_pause(struct daemon *d, struct order *o)
{
	struct gates *g;

	if (!not_paused_yet(d, o) || !known(d, o, o->what == OP_KILL ? "kill" : "pause"))
		return;
	g = gates_copy(d->gates, arg_of(o));
	if (g && *o->arg)
		gates_entry(g, o->arg)->paused = true;
	else if (g)
		g->paused = true;
	if (spread(d, g, o))
		log_order(d, o->what == OP_KILL ? "kill" : "pause", arg_of(o));
}

static void do_resume(struct daemon *d, struct order *o)
{
	const struct gate *e = d->gates ? gates_entry(d->gates, o->arg) : NULL;
	struct gates *g;

	if (d->leave > LEAVE_CLIENTS) {
		refuse(d, o, "55000", "pooler is shutting down", NULL);
		return;
	}
	if (!*o->arg && !(d->gates && d->gates->paused)) {
		refuse(d, o, "55000", "pooler is not paused/suspended", NULL);
		return;
	}
	if (*o->arg && !(e && e->paused)) {
		if (known(d, o, "resume"))
			refuse_name(d, o, "55000", "database ", " is not paused", NULL);
		return;
	}
	g = gates_copy(d->gates, NULL);
	if (g && *o->arg)
		gates_entry(g, o->arg)->paused = false;
	else if (g)
		g->paused = false;
	if (spread(d, g, o)) {
		log_order(d, "resume", arg_of(o));
		end_pauses(d, arg_of(o));
	}
}

static void do_able(struct daemon *d, struct order *o)
{
	bool disable = o->what == OP_DISABLE;
	struct gates *g;

	if (!known(d, o, disable ? "disable" : "enable"))
		return;
	g = gates_copy(d->gates, o->arg);
	if (g)
		gates_entry(g, o->arg)->disabled = disable;
	if (spread(d, g, o))
		log_order(d, disable ? "disable" : "enable", o->arg);
}

static void do_reconnect(struct daemon *d, struct order *o)
{
	struct gates *g;

	if (!known(d, o, "reconnect"))
		return;
	g = gates_copy(d->gates, arg_of(o));
	if (g && *o->arg)
		gates_entry(g, o->arg)->renew_us = d->w.now_us;
	else if (g)
		g->renew_us = d->w.now_us;
	if (spread(d, g, o))
		log_order(d, "reconnect", arg_of(o));
}

static void visit_kill(struct hall *h, struct round *r)
{
	if (obey_kill_client(h, r->word))
		atomic_fetch_add(&r->sum, 1);
}

static void on_killed(struct round *r)
{
	struct daemon *d = daemon_of(r->sh);

	if (atomic_load(&r->sum) || d->over)
		answer(d, r->arg);
	else
		refuse(d, r->arg, "42704", "client not found", "Its id: see SHOW CLIENTS.");
}

static void do_kill_client(struct daemon *d, struct order *o)
{
	struct round *r = round_new(&d->sh, &d->w, visit_kill, on_killed, o);

	if (!r) {
		refuse(d, o, "53200", "out of memory", NULL);
		return;
	}
	r->word = o->number;
	round_send(r);
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "kill_client", "id=%llu", (unsigned long long)o->number);
}

static void on_reloaded(void *arg, const char *error)
{
	struct order *o = arg;
	struct daemon *d = o->control;
	char text[400];

	(void)snprintf(text, sizeof(text), "RELOAD failed: %s", error ? error : "");
	if (error)
		refuse(d, o, "F0000", text, "Nothing has changed; see the log for more.");
	else
		answer(d, o);
}

static void do_reload(struct daemon *d, struct order *o)
{
	o->control = d;
	if (d->leaving)
		refuse(d, o, "55000", "pooler is shutting down", NULL);
	else
		reload(d, on_reloaded, o);
}

static void on_set(void *arg, const char *error)
{
	struct order *o = arg;
	struct daemon *d = o->control;

	if (error)
		refuse(d, o, "22023", error, NULL);
	else
		answer(d, o);
}

static void do_set(struct daemon *d, struct order *o)
{
	const struct key *k = key_find(KEY_GLOBAL, o->arg);
	struct conf *conf;
	struct err e;

	o->control = d;
	if (d->leaving) {
		refuse(d, o, "55000", "pooler is shutting down", NULL);
	} else if (conf_set(d->snap->conf, o->arg, o->value, &conf, &e)) {
		refuse(d, o, !k ? "42704" : k->is_reloadable ? "22023" : "55P02", e.text,
		       "SHOW CONFIG lists the settings.");
	} else {
		LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "set", "setting=%s", k->name);
		reload_use(d, conf, on_set, o);
	}
}

static void do_drain(struct daemon *d, struct order *o)
{
	struct target *t = d->registry.targets.head;

	while (t && (strcmp(t->addr.name, o->arg) != 0 || !registry_entry(d->snap, t)))
		t = t->next;
	if (!t) {
		refuse_name(d, o, "42704", "there is no node \"", "\"", "SHOW NODES lists them.");
		return;
	}
	nodes_exclude(d, t, true);
	target_hold(t);
	o->control = t;
	wait_for(d, o);
}

static void do_wait_close(struct daemon *d, struct order *o)
{
	if (known(d, o, "wait in"))
		wait_for(d, o);
}

/* A PAUSE ends before the connections have. */
static void pause_over(struct daemon *d, struct order *o, enum order_fate fate)
{
	struct gates *g;
	char db[ORDER_ARG_MAX];
	bool undone;

	if (o->spreading) {
		o->fate = o->fate ? o->fate : fate;
		return;
	}
	(void)snprintf(db, sizeof(db), "%s", o->arg);
	if (fate == FATE_GONE) {
		answer(d, o); /* what is paused stays so */
		return;
	}
	if (fate == FATE_RESUMED) {
		refuse(d, o, "57014", "canceling PAUSE due to RESUME", NULL);
		return;
	}
	g = gates_copy(d->gates, *db ? db : NULL);
	if (g && *db)
		gates_entry(g, db)->paused = false;
	else if (g)
		g->paused = false;
	undone = d->leave <= LEAVE_CLIENTS && spread(d, g, NULL);
	refuse(d, o, "57014", "canceling statement due to user request",
	       undone ? "What it had paused goes on." : "What it had paused stays so.");
	if (undone) {
		log_order(d, "resume", *db ? db : NULL);
		end_pauses(d, *db ? db : NULL); /* of others, who have paused the same */
	}
}

/* Its client has gone, or has asked for an end of it. */
static void do_end(struct daemon *d, struct order *end)
{
	struct order *o = waiting(d, end->id);

	if (o && o->what == OP_DRAIN)
		target_drop(o->control);
	if (o && o->what == OP_PAUSE)
		pause_over(d, o, end->gone ? FATE_GONE : FATE_CANCELLED);
	else if (o)
		refuse(d, o, "57014", "canceling statement due to user request",
		       o->what == OP_DRAIN ? "The node stays excluded: see INCLUDE NODE." : NULL);
	answer(d, end);
}

static void do_shutdown(struct daemon *d, struct order *o)
{
	if (o->what == OP_SHUTDOWN)
		leave_now(d); /* its client goes first, and is told nothing more */
	else
		leave_begin(d, o->what == OP_SHUTDOWN_SERVERS ? LEAVE_SERVERS : LEAVE_CLIENTS);
	answer(d, o);
}

static void on_order(struct worker *w, struct letter *l)
{
	static void (*const doer[OP_N])(struct daemon *d, struct order *o) = {
		[OP_PAUSE] = do_pause,
		[OP_RESUME] = do_resume,
		[OP_DISABLE] = do_able,
		[OP_ENABLE] = do_able,
		[OP_RECONNECT] = do_reconnect,
		[OP_WAIT_CLOSE] = do_wait_close,
		[OP_KILL] = do_pause,
		[OP_KILL_CLIENT] = do_kill_client,
		[OP_RELOAD] = do_reload,
		[OP_SET] = do_set,
		[OP_DRAIN] = do_drain,
		[OP_SHUTDOWN] = do_shutdown,
		[OP_SHUTDOWN_SERVERS] = do_shutdown,
		[OP_SHUTDOWN_CLIENTS] = do_shutdown,
		[OP_END] = do_end,
	};
	struct order *o = LIST_ITEM(l, struct order, l);
	struct daemon *d = w->owner;

	if (d->over)
		answer(d, o);
	else
		doer[o->what](d, o);
}

void orders_take(struct shared *sh, struct order *o)
{
	list_init(&o->link);
	o->l.deliver = on_order;
	worker_post(&daemon_of(sh)->w, &o->l);
}

/* ---- not of the console ---- */

void orders_init(struct daemon *d)
{
	list_init(&d->waiting);
	deadline_init(&d->look_dl, on_look);
}

void orders_pause(struct daemon *d)
{
	struct gates *g;

	if (d->leaving || (d->gates && d->gates->paused)) {
		LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "pause_ignored", "why=\"already suspended/paused\"");
		return;
	}
	g = gates_copy(d->gates, NULL);
	if (g)
		g->paused = true;
	if (spread(d, g, NULL))
		log_order(d, "pause", NULL);
}

void orders_resume(struct daemon *d)
{
	struct gates *g;

	if (d->leave > LEAVE_CLIENTS || !d->gates || !d->gates->paused) {
		LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "resume_ignored", "why=\"not paused/suspended\"");
		return;
	}
	g = gates_copy(d->gates, NULL);
	if (g)
		g->paused = false;
	if (spread(d, g, NULL)) {
		log_order(d, "resume", NULL);
		end_pauses(d, NULL);
	}
}

void orders_reloaded(struct daemon *d)
{
	struct gates *g;
	bool news = false;
	size_t i;

	for (i = 0; d->gates && i < d->gates->n; i++)
		news |= !snapshot_db(d->snap, d->gates->gate[i].name);
	g = news ? gates_copy(d->gates, NULL) : NULL;
	for (i = 0; g && i < g->n; i++)
		if (!snapshot_db(d->snap, g->gate[i].name))
			g->gate[i].paused = g->gate[i].disabled = false;
	if (g)
		(void)spread(d, g, NULL);
}

void orders_close(struct daemon *d)
{
	struct link *l, *tmp;

	deadline_clear(&d->look_dl);
	LIST_EACH(l, tmp, &d->waiting) {
		struct order *o = LIST_ITEM(l, struct order, link);

		if (o->spreading)
			continue; /* answered when the round is back */
		if (o->what == OP_DRAIN)
			target_drop(o->control);
		refuse(d, o, "57P01", "pgweir has ended", NULL);
	}
	gates_drop(d->gates);
	d->gates = NULL;
}
