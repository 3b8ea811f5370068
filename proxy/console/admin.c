/* proxy/console/admin.c - see admin.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/driver.h"
#include "console/prepared.h"
#include "console/table.h"
#include "session/count.h"
#include "session/ending.h"
#include "session/step.h"
#include "wire/wire.h"

/* Sent in one go, before it is looked whether the client reads. */
#define CHUNK 65536u
/* Read while a command is under way, so that the end of a client that said Terminate is seen. */
#define TYPED_AHEAD_MAX 8192u

struct console {
	struct client *c;            /* NULL: gone */
	struct task *task;           /* under way; one reference */
	struct portal *portal;       /* ... of this one, NULL: of the Query */
	uint32_t limit, sent;        /* rows of this Execute, 0: all */
	bool described;              /* the Query's client has been told the columns */
	bool pumping;
	bool had_turn;               /* of the loop: its task has made rows in it */
	char tx;                     /* as ReadyForQuery says it */
	char *text;                  /* what is left of a Query begins at text_at */
	size_t text_len, text_at;
	struct prepared prepared;
};

static void pump(struct console *k);

static struct console *console_of(struct client *c)
{
	struct console *k = c->console;

	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->c = c;
	k->tx = 'I';
	prepared_init(&k->prepared);
	c->console = k;
	return k;
}

static void say_msg(struct client *c, char type)
{
	uint8_t b[8];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_msg(&w, type);
	say(c, b, w.len);
}

/* SELECT says how many rows it was. */
static void say_tag(struct console *k, const char *tag)
{
	uint8_t b[96];
	struct wire_put w = wire_put_to(b, sizeof(b));
	char select[32];

	(void)snprintf(select, sizeof(select), "SELECT %u", (unsigned)k->sent);
	wire_put_msg_str(&w, 'C', strcmp(tag, "SELECT") == 0 ? select : tag);
	say(k->c, b, w.len);
}

/* ---- errors ---- */

static void query_over(struct console *k)
{
	free(k->text);
	k->text = NULL;
	say_ready(k->c, k->tx);
}

/* An error has been said: what follows of the Query, or up to the Sync, is not done. */
static void failed(struct console *k)
{
	if (k->tx == 'T')
		k->tx = 'E';
	if (k->text)
		query_over(k);
	else
		k->c->skip_to_sync = true;
}

static void fail(struct console *k, const char *sqlstate, const char *message, const char *hint)
{
	say_error(k->c, "ERROR", sqlstate, message, NULL, hint);
	failed(k);
}

static void violation(struct console *k, const char *message)
{
	client_end(k->c, "08P01", message, NULL, NULL, "protocol violation");
}

/* ---- a command under way ---- */

static void woken(struct task *t)
{
	if (t->c && t->c->console)
		pump(t->c->console);
}

/* May it run now? */
static bool may(struct console *k, const struct command *cmd)
{
	char block = cmd ? driver_block(cmd) : 0;

	if (k->tx == 'E' && block != 'C' && block != 'R') {
		fail(k, "25P02",
		     "current transaction is aborted, commands ignored until end of transaction block",
		     NULL);
		return false;
	}
	if (cmd && cmd->admin && !k->c->console_admin) {
		fail(k, "42501", "only users of admin_users may do this", NULL);
		return false;
	}
	return true;
}

static void start(struct console *k, const struct command *cmd, const struct words *w,
		  unsigned args_at, struct portal *o)
{
	struct task *t;

	if (!may(k, cmd))
		return;
	t = task_new(k->c, cmd, w, args_at, o ? o->binary : 0);
	if (!t) {
		fail(k, "53200", "out of memory", NULL);
		return;
	}
	t->woken = woken;
	k->task = t;
	k->portal = o;
	k->described = false;
	k->sent = 0;
	if (o) {
		o->task = t;
		task_hold(t);
	}
	cmd->run(t);
}

static void describe(struct console *k, const struct column *col, uint64_t binary)
{
	struct rows r = { 0 };

	rows_describe(&r, col, binary);
	if (!r.bad)
		say(k->c, r.p, r.len);
	else
		client_end(k->c, "53200", "out of memory", NULL, NULL, "out of memory");
	rows_free(&r);
}

/* Sends rows, as many as are there and wanted and one go takes. */
static void send_rows(struct console *k)
{
	struct rows *r = &k->task->rows;
	size_t n = 0;
	uint8_t type;
	uint32_t len;

	while (n < r->len && n < CHUNK && (!k->limit || k->sent < k->limit) &&
	       wire_header(r->p + n, r->len - n, &type, &len) == WIRE_OK) {
		n += len;
		k->sent++;
	}
	if (!n)
		return;
	say(k->c, r->p, n);
	rows_consume(r, n);
}

static void task_over(struct console *k)
{
	struct task *t = k->task;

	k->task = NULL;
	if (k->portal) {
		k->portal->over = true;
		k->portal->task = NULL;
		task_put(t);
	}
	k->portal = NULL;
	task_put(t);
}

static void succeeded(struct console *k)
{
	struct task *t = k->task;
	const char *tag = t->tag;
	char block = driver_block(t->cmd);

	if (block == 'C' && k->tx == 'E')
		tag = "ROLLBACK";
	if (block)
		k->tx = block == 'B' ? 'T' : 'I';
	say_tag(k, tag);
	task_over(k);
	if (block == 'C' || block == 'R')
		portals_close(&k->prepared);
}

/* Its rows have no room: it ends here. */
static void no_memory(struct task *t)
{
	void (*stop)(struct task *t) = t->stop;

	t->stop = NULL;
	if (stop)
		stop(t);
	if (t->state == TASK_RUNS)
		task_fail(t, "53200", "out of memory", NULL, NULL);
}

/* The task may have more for its client now. false: not yet, or the client does not read. */
static bool advance(struct console *k)
{
	struct task *t = k->task;

	if (stream_backed_up(&k->c->s))
		return false;
	if (t->state == TASK_FAILED) {
		say(k->c, t->error, t->error_len);
		task_over(k);
		failed(k);
		return true;
	}
	if (t->rows.bad && t->state == TASK_RUNS) {
		no_memory(t);
		return true;
	}
	if (!k->portal && !k->described && t->cmd->columns && (t->rows.len || t->state == TASK_DONE)) {
		k->described = true;
		describe(k, t->cmd->columns, 0);
		return true;
	}
	if (t->rows.len && (!k->limit || k->sent < k->limit)) {
		send_rows(k);
		return true;
	}
	if (k->limit && k->sent == k->limit) {
		say_msg(k->c, 's');
		k->task = NULL;
		k->portal = NULL;
		task_put(t);
		return true;
	}
	if (t->state == TASK_DONE) {
		succeeded(k);
		return true;
	}
	if (!t->more || t->waits || k->had_turn)
		return false;
	t->more(t);
	k->had_turn = !t->waits;
	return true;
}

/* ---- Query ---- */

/* The next command of the Query from *at on. NULL: there is none, or *bad: it has said
 * what is wrong with it. */
static const struct command *read_command(struct console *k, size_t *at, struct words *w,
					  unsigned *args_at, bool *bad)
{
	const struct command *cmd = NULL;
	struct table_no no;
	const char *why = NULL;

	*bad = false;
	w->n = 0;
	while (!w->n && *at < k->text_len)
		if (!words_read(w, k->text, k->text_len, at, &why))
			break;
	if (why)
		fail(k, "42601", why, "SHOW HELP lists the commands.");
	else if (w->n && !(cmd = table_find(w, args_at, &no)))
		fail(k, no.sqlstate, no.message, no.hint);
	*bad = why || (w->n && !cmd);
	return cmd;
}

static void next_command(struct console *k)
{
	struct words w;
	unsigned args_at;
	bool bad;
	const struct command *cmd = read_command(k, &k->text_at, &w, &args_at, &bad);

	if (cmd)
		start(k, cmd, &w, args_at, NULL);
	else if (!bad)
		query_over(k);
}

/* Nothing of a Query is done if any of it is not understood. */
static void check_query(struct console *k)
{
	struct words w;
	unsigned args_at, n = 0;
	size_t at = 0;
	bool bad;

	while (read_command(k, &at, &w, &args_at, &bad))
		n++;
	if (!bad && !n)
		say_msg(k->c, 'I');
}

static void on_query(struct console *k, struct wire_get *g)
{
	const char *text;

	count_console(k->c);
	text = wire_get_str(g, &k->text_len);
	if (g->bad || wire_left(g)) {
		violation(k, "invalid Query message");
		return;
	}
	portals_close(&k->prepared);
	k->limit = 0;
	k->text_at = 0;
	k->text = strdup(text);
	if (k->text) {
		check_query(k);
	} else {
		say_error(k->c, "ERROR", "53200", "out of memory", NULL, NULL);
		say_ready(k->c, k->tx);
	}
}

/* ---- the extended protocol ---- */

static void no_such(struct console *k, bool portal, const char *name)
{
	char text[160];

	(void)snprintf(text, sizeof(text), "%s \"%.100s\" does not exist",
		       portal ? "portal" : "prepared statement", name);
	fail(k, portal ? "34000" : "26000", text, NULL);
}

/* Makes room for a new one of this name. false: there is one, or there are too many. */
static bool take_name(struct console *k, bool portal, const char *name)
{
	struct prepared *p = &k->prepared;
	struct statement *st = portal ? NULL : prepared_statement(p, name);
	struct portal *o = portal ? prepared_portal(p, name) : NULL;
	char text[160];

	if (*name && (st || o)) {
		(void)snprintf(text, sizeof(text), "%s \"%.100s\" already exists",
			       portal ? "portal" : "prepared statement", name);
		fail(k, portal ? "42P03" : "42P05", text, NULL);
		return false;
	}
	if (st)
		statement_close(p, st);
	if (o)
		portal_close(p, o);
	if (portal ? p->portal_n < PORTALS_MAX : p->statement_n < STATEMENTS_MAX)
		return true;
	(void)snprintf(text, sizeof(text), "too many %s", portal ? "portals" : "prepared statements");
	fail(k, "54000", text, "A client of the console has 128 statements and 32 portals at most.");
	return false;
}

static void on_parse(struct console *k, struct wire_get *g)
{
	const char *name = wire_get_str(g, NULL), *why;
	const struct command *cmd = NULL;
	unsigned args_at = 0;
	struct words w, rest;
	struct table_no no;
	size_t len, at = 0;
	const char *text = wire_get_str(g, &len);

	if (g->bad) {
		violation(k, "invalid Parse message");
		return;
	}
	count_console(k->c);
	if (!words_read(&w, text, len, &at, &why)) {
		fail(k, "42601", why, "SHOW HELP lists the commands.");
		return;
	}
	while (at < len)
		if (!words_read(&rest, text, len, &at, &why) || rest.n) {
			fail(k, "42601", "cannot insert multiple commands into a prepared statement",
			     NULL);
			return;
		}
	if (w.n && !(cmd = table_find(&w, &args_at, &no))) {
		fail(k, no.sqlstate, no.message, no.hint);
		return;
	}
	if (k->tx == 'E' && !may(k, cmd))
		return;
	if (!take_name(k, false, name))
		return;
	if (prepared_add_statement(&k->prepared, name, cmd, &w, args_at))
		say_msg(k->c, '1');
	else
		fail(k, "53200", "out of memory", NULL);
}

/* The formats of a Bind: none, one for all, one each. false: it has said what is wrong. */
static bool take_formats(struct console *k, struct wire_get *g, unsigned columns, uint64_t *binary)
{
	unsigned n = wire_get_u16(g), i;
	char text[120];

	*binary = 0;
	for (i = 0; i < n && !g->bad; i++) {
		unsigned f = wire_get_u16(g);

		if (f > 1 && !g->bad) {
			(void)snprintf(text, sizeof(text), "unsupported format code: %u", f);
			fail(k, "22023", text, NULL);
			return false;
		}
		if (f && n == 1)
			*binary = UINT64_MAX;
		else if (f && i < ROWS_COLUMNS_MAX)
			*binary |= UINT64_C(1) << i;
	}
	if (g->bad) {
		violation(k, "invalid Bind message");
		return false;
	}
	if (n > 1 && n != columns) {
		(void)snprintf(text, sizeof(text),
			       "bind message has %u result formats but query has %u columns", n, columns);
		fail(k, "08P01", text, NULL);
		return false;
	}
	return true;
}

static void on_bind(struct console *k, struct wire_get *g)
{
	const char *name = wire_get_str(g, NULL), *of = wire_get_str(g, NULL);
	unsigned n = wire_get_u16(g), params;
	struct statement *st;
	uint64_t binary;
	char text[200];

	while (n-- && !g->bad)
		(void)wire_get_u16(g);
	params = wire_get_u16(g);
	if (g->bad) {
		violation(k, "invalid Bind message");
		return;
	}
	st = prepared_statement(&k->prepared, of);
	if (!st) {
		no_such(k, false, of);
		return;
	}
	if (params) {
		(void)snprintf(text, sizeof(text),
			       "bind message supplies %u parameters, but prepared statement \"%.60s\" requires 0",
			       params, of);
		fail(k, "08P01", text, "Commands of the console take no parameters.");
		return;
	}
	if (!take_formats(k, g, st->cmd ? rows_count(st->cmd->columns) : 0, &binary) ||
	    (k->tx == 'E' && !may(k, st->cmd)) || !take_name(k, true, name))
		return;
	if (prepared_add_portal(&k->prepared, name, st, binary))
		say_msg(k->c, '2');
	else
		fail(k, "53200", "out of memory", NULL);
}

static void on_describe(struct console *k, struct wire_get *g)
{
	static const uint8_t no_params[] = { 't', 0, 0, 0, 6, 0, 0 };
	bool portal = wire_get_u8(g) == 'P';
	const char *name = wire_get_str(g, NULL);
	struct statement *st;
	struct portal *o = NULL;

	if (g->bad) {
		violation(k, "invalid Describe message");
		return;
	}
	if (portal) {
		o = prepared_portal(&k->prepared, name);
		st = o ? o->st : NULL;
	} else {
		st = prepared_statement(&k->prepared, name);
	}
	if (!st) {
		no_such(k, portal, name);
		return;
	}
	if (!portal)
		say(k->c, no_params, sizeof(no_params));
	if (st->cmd && st->cmd->columns)
		describe(k, st->cmd->columns, o ? o->binary : 0);
	else
		say_msg(k->c, 'n');
}

static void on_execute(struct console *k, struct wire_get *g)
{
	const char *name = wire_get_str(g, NULL);
	uint32_t limit = wire_get_u32(g);
	struct portal *o;
	char text[160];

	if (g->bad) {
		violation(k, "invalid Execute message");
		return;
	}
	o = prepared_portal(&k->prepared, name);
	if (!o) {
		no_such(k, true, name);
		return;
	}
	k->limit = limit > INT32_MAX ? 0 : limit;
	k->sent = 0;
	if (!o->st->cmd) {
		say_msg(k->c, 'I');
	} else if (o->task) {
		k->task = o->task;
		task_hold(k->task);
		k->portal = o;
	} else if (!o->over) {
		start(k, o->st->cmd, &o->st->words, o->st->args_at, o);
	} else if (o->st->cmd->columns) {
		say_tag(k, o->st->cmd->tag);
	} else {
		(void)snprintf(text, sizeof(text), "portal \"%.100s\" cannot be run", name);
		fail(k, "55000", text, NULL);
	}
}

static void on_close(struct console *k, struct wire_get *g)
{
	bool portal = wire_get_u8(g) == 'P';
	const char *name = wire_get_str(g, NULL);
	struct statement *st;
	struct portal *o;

	if (g->bad) {
		violation(k, "invalid Close message");
		return;
	}
	st = portal ? NULL : prepared_statement(&k->prepared, name);
	o = portal ? prepared_portal(&k->prepared, name) : NULL;
	if (st)
		statement_close(&k->prepared, st);
	if (o)
		portal_close(&k->prepared, o);
	say_msg(k->c, '3');
}

static void on_sync(struct console *k)
{
	k->c->skip_to_sync = false;
	if (k->tx == 'I')
		portals_close(&k->prepared);
	say_ready(k->c, k->tx);
}

/* ---- messages ---- */

static void on_message(struct console *k, uint8_t type, struct wire_get *g)
{
	if (type == 'S') {
		on_sync(k);
		return;
	}
	if (k->c->skip_to_sync && strchr("QPBDECHF", type))
		return;
	switch (type) {
	case 'Q':
		on_query(k, g);
		break;
	case 'P':
		on_parse(k, g);
		break;
	case 'B':
		on_bind(k, g);
		break;
	case 'D':
		on_describe(k, g);
		break;
	case 'E':
		on_execute(k, g);
		break;
	case 'C':
		on_close(k, g);
		break;
	case 'H':
	case 'd': /* of a COPY that is over, as in PostgreSQL */
	case 'c':
	case 'f':
		break;
	case 'F':
		say_error(k->c, "ERROR", "0A000", "the console has no functions to call", NULL,
			  "SHOW HELP lists the commands.");
		say_ready(k->c, k->tx);
		break;
	default:
		violation(k, "invalid frontend message type");
		break;
	}
}

/* false: there is no whole message. */
static bool next_message(struct console *k)
{
	struct client *c = k->c;
	uint8_t type = 0, *msg;
	enum wire_status st;
	struct wire_get g;
	uint32_t len = 0;

	if (!stream_have(&c->s) || stream_backed_up(&c->s))
		return false;
	msg = stream_data(&c->s);
	st = wire_header(msg, stream_have(&c->s), &type, &len);
	if (st == WIRE_BAD || (st == WIRE_OK && len > BUF_CAP)) {
		violation(k, "invalid message length");
		return false;
	}
	if (st == WIRE_MORE || stream_have(&c->s) < len)
		return false;
	if (type == 'X') {
		client_close(c, "client closed the session");
		return false;
	}
	g = wire_body(msg, len);
	on_message(k, type, &g);
	if (k->c) {
		STAT_ADD(&c->h->console->stats, received_bytes, len);
		stream_consume(&c->s, len);
	}
	return true;
}

/* Does what can be done now. */
static void pump(struct console *k)
{
	struct client *c = k->c;
	bool more = true;

	if (k->pumping)
		return;
	k->pumping = true;
	while (more && k->c) {
		if (k->task)
			more = advance(k);
		else if (k->text)
			next_command(k);
		else
			more = next_message(k);
	}
	k->pumping = false;
	if (!k->c) {
		free(k);
		return;
	}
	/* the rest of the rows in the next turn, behind what waits there */
	more = k->had_turn && k->task && !stream_backed_up(&c->s);
	k->had_turn = false;
	stream_want(&c->s, more || (!stream_backed_up(&c->s) &&
				    (!k->task || stream_have(&c->s) < TYPED_AHEAD_MAX)));
	if (more)
		stream_again(&c->s);
}

static void on_ready(struct client *c)
{
	struct console *k = c->console || stream_have(&c->s) ? console_of(c) : NULL;

	if (k)
		pump(k);
	else if (stream_have(&c->s))
		client_end(c, "53200", "out of memory", NULL, NULL, "out of memory");
}

static void on_gone(struct client *c)
{
	struct console *k = c->console;

	if (!k)
		return;
	c->console = NULL;
	k->c = NULL;
	free(k->text);
	k->text = NULL;
	if (k->portal)
		task_put(k->task); /* the portal has another */
	else
		task_leave(k->task);
	k->task = NULL;
	k->portal = NULL;
	prepared_clear(&k->prepared);
	if (!k->pumping)
		free(k);
}

static void on_cancel(struct client *c)
{
	struct task *t = c->console ? c->console->task : NULL;
	void (*stop)(struct task *t) = t ? t->stop : NULL;

	if (!stop || t->state != TASK_RUNS)
		return;
	t->stop = NULL;
	stop(t);
}

const struct hall_ops admin_ops = { on_ready, on_gone, on_cancel };
