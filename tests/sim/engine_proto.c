/* tests/sim/engine_proto.c - frontend messages, after PostgreSQL's postgres.c.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

/* ---- reading a body ---- */

const uint8_t *get_bytes(struct get *g, size_t n)
{
	const uint8_t *p = g->p;

	if (g->bad || n > (size_t)(g->end - g->p)) {
		g->bad = true;
		return NULL;
	}
	g->p += n;
	return p;
}

unsigned get_u8(struct get *g)
{
	const uint8_t *p = get_bytes(g, 1);

	return p ? p[0] : 0;
}

unsigned get_u16(struct get *g)
{
	const uint8_t *p = get_bytes(g, 2);

	return p ? (unsigned)(p[0] << 8 | p[1]) : 0;
}

uint32_t get_u32(struct get *g)
{
	const uint8_t *p = get_bytes(g, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

/* How long the character at p is; 0: it is none. */
static size_t utf8_length(const uint8_t *p, size_t n)
{
	size_t len = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0, i;

	if (!len || len > n)
		return 0;
	for (i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

bool get_utf8(struct get *g, const uint8_t *p, size_t n)
{
	size_t len, want, i, at = 0;
	char bytes[24];

	if (strcmp(settings_get(g->e, "client_encoding"), "UTF8") != 0)
		return true;
	for (; n; p += len, n -= len) {
		len = utf8_length(p, n);
		if (len)
			continue;
		want = *p < 0xc0 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 1;
		for (i = 0; i < want && i < n; i++)
			at += (size_t)snprintf(bytes + at, sizeof(bytes) - at, "%s0x%02x",
					       i ? " " : "", p[i]);
		(void)fail(g->e, "22021", "invalid byte sequence for encoding \"UTF8\": %s", bytes);
		g->bad = g->told = true;
		return false;
	}
	return true;
}

const char *get_str(struct get *g)
{
	const uint8_t *p = g->p, *nul = memchr(p, 0, (size_t)(g->end - p));

	if (g->bad || !nul) {
		g->bad = true;
		return "";
	}
	g->p = nul + 1;
	return get_utf8(g, p, (size_t)(nul - p)) ? (const char *)p : "";
}

bool get_end(struct get *g)
{
	return !g->bad && g->p == g->end;
}

/* ---- errors ---- */

void engine_close(struct engine *e)
{
	if (e->ended)
		return;
	e->ended = e->over = true;
	out_flush(e);
	task_drop(e);
	e->block = e->block == BLOCK_DEFAULT ? BLOCK_DEFAULT : BLOCK_END;
	xact_abort(e);
	while (e->portals)
		portal_drop(e, e->portals);
	while (e->n_locks) {
		(void)e->env.unlock(e->env.arg, e->locks[0].number);
		if (!--e->locks[0].count)
			e->locks[0] = e->locks[--e->n_locks];
	}
	listens_drop(e);
}

void engine_failed(struct engine *e)
{
	if (e->err.fatal) {
		out_error(e, e->crdb ? "ERROR" : "FATAL", &e->err);
		engine_close(e);
		return;
	}
	e->due_name = e->due_zone = false; /* told in front of a CommandComplete, or not */
	e->retry |= e->crdb && strcmp(e->err.sqlstate, "40001") == 0;
	out_error(e, "ERROR", &e->err);
	/* an abort that has been takes no portal's statement any more */
	if (e->task.portal && e->block == BLOCK_ABORT && e->task.phase == PHASE_RUN)
		e->task.portal->state = PORTAL_DONE;
	task_drop(e);
	xact_abort(e);
	if (e->extended)
		e->skip = true;
	else
		out_ready(e);
}

static void protocol_failed(struct engine *e, const char *text)
{
	(void)fail(e, "08P01", "%s", text);
	engine_failed(e);
}

/* Which word PostgreSQL has for a body that is too short or too long. */
static bool body_is_whole(struct engine *e, struct get *g, const char *short_text)
{
	if (get_end(g))
		return true;
	if (g->told) {
		engine_failed(e);
		return false;
	}
	protocol_failed(e, g->bad ? short_text : "invalid message format");
	return false;
}

/* ---- messages ---- */

/* Warnings come with the words, whether they make sense or not. */
static struct sql *parse(struct engine *e, const char *text)
{
	struct sql_error err;
	unsigned i;
	struct sql *ast = sql_parse(text, strlen(text), !settings_on(e, "standard_conforming_strings"),
				    e->crdb, &err);

	for (i = 0; i < err.n_warnings; i++)
		out_warning(e, "WARNING", "22P06", err.warnings[i]);
	if (!ast)
		(void)fail(e, err.sqlstate, "%s", err.message);
	return ast;
}

static void on_query(struct engine *e, struct get *g)
{
	const char *text = get_str(g);
	struct sql *ast;

	if (!body_is_whole(e, g, "invalid string in message"))
		return;
	if (asked(e, AT_QUERY) == GOT_FAIL) {
		engine_failed(e);
		return;
	}
	if (!e->crdb) {
		xact_start(e);
		prepared_drop(e, "");
	}
	ast = parse(e, text);
	if (!ast) {
		engine_failed(e);
		return;
	}
	task_query(e, ast);
}

static enum got prepare(struct engine *e, const char *name, const char *text, uint32_t *declared,
			unsigned n)
{
	uint32_t *oids = declared;
	struct prepared *p;
	struct sql *ast;
	enum got got = GOT_DONE;

	if (!e->crdb)
		xact_start(e);
	if (!*name)
		prepared_drop(e, "");
	ast = parse(e, text);
	if (!ast)
		return GOT_FAIL;
	if (ast->n > 1 && e->crdb)
		got = fail(e, "42P14", "prepared statement had %u statements, expected 1", ast->n);
	else if (ast->n && e->crdb && ast->first->kind == SQL_COPY_IN)
		got = fail(e, "XXUUU", "CopyFrom not supported in extended protocol mode");
	else if (ast->n > 1)
		got = fail(e, "42601", "cannot insert multiple commands into a prepared statement");
	else if (ast->n && xact_aborted(e) && !is_exit(ast->first) && !e->crdb)
		got = refuse_aborted(e);
	if (got == GOT_DONE && ast->n) {
		got = analyze(e, ast->first, &oids, n, &n);
	} else if (got == GOT_DONE) {
		oids = mem_grow(NULL, (n + 1) * sizeof(*oids));
		memcpy(oids, declared, n * sizeof(*oids));
	}
	if (got == GOT_DONE && *name && prepared_find(e, name)) {
		free(oids);
		got = fail(e, "42P05", "prepared statement \"%s\" already exists", name);
	}
	if (got == GOT_FAIL) {
		sql_free(ast);
		return GOT_FAIL;
	}
	p = mem_grow(NULL, sizeof(*p));
	*p = (struct prepared){ e->prepared, mem_copy(name), ast, oids, n, false };
	e->prepared = p;
	return GOT_DONE;
}

static void on_parse(struct engine *e, struct get *g)
{
	const char *name = get_str(g), *text = g->bad ? "" : get_str(g);
	bool no_text = g->bad;
	unsigned n = get_u16(g), i;
	uint32_t *oids = mem_grow(NULL, (n + 1) * sizeof(*oids));
	enum got got;

	for (i = 0; i < n && !g->bad; i++)
		oids[i] = get_u32(g);
	if (!body_is_whole(e, g, no_text ? "invalid string in message" :
					   "insufficient data left in message")) {
		free(oids);
		return;
	}
	got = asked(e, AT_PARSE);
	if (got == GOT_DONE)
		got = prepare(e, name, text, oids, n);
	free(oids);
	if (got == GOT_FAIL)
		engine_failed(e);
	else
		out_msg(e, '1');
}

static enum got no_portal(struct engine *e, const char *name)
{
	return fail(e, "34000", e->crdb ? "unknown portal \"%s\"" : "portal \"%s\" does not exist",
		    name);
}

static enum got describe_statement(struct engine *e, const char *name)
{
	struct prepared *p = prepared_find(e, name);
	struct cols cols = { 0 };
	unsigned i;

	if (!p && e->crdb)
		return fail(e, "26000", "unknown prepared statement \"%s\"", name);
	if (!p && !*name)
		return fail(e, "26000", "unnamed prepared statement does not exist");
	if (!p)
		return fail(e, "26000", "prepared statement \"%s\" does not exist", name);
	if (p->ast && p->ast->first)
		describe(e, p->ast->first, p->oids, &cols);
	if (xact_aborted(e) && cols.any && !e->crdb) {
		cols_free(&cols);
		return refuse_aborted(e);
	}
	out_begin(e, 't');
	out_u16(e, p->n_params);
	for (i = 0; i < p->n_params; i++)
		out_u32(e, p->oids[i]);
	out_end(e);
	if (cols.any)
		out_cols(e, &cols, NULL, 0);
	else
		out_msg(e, 'n');
	cols_free(&cols);
	return GOT_DONE;
}

static enum got describe_portal(struct engine *e, const char *name)
{
	struct portal *p = portal_find(e, name);

	if (!p)
		return no_portal(e, name);
	if (xact_aborted(e) && p->cols.any && !e->crdb)
		return refuse_aborted(e);
	if (p->cols.any)
		out_cols(e, &p->cols, p->formats, p->n_formats);
	else
		out_msg(e, 'n');
	return GOT_DONE;
}

static void on_describe(struct engine *e, struct get *g)
{
	unsigned kind = get_u8(g);
	const char *name = g->bad ? "" : get_str(g);
	enum got got;

	if (!body_is_whole(e, g, g->p == g->end && !kind ? "no data left in message" :
							   "invalid string in message"))
		return;
	got = asked(e, AT_DESCRIBE);
	if (got == GOT_DONE && (kind == 'S' || kind == 'P') && !e->crdb)
		xact_start(e);
	if (got == GOT_DONE && kind == 'S')
		got = describe_statement(e, name);
	else if (got == GOT_DONE && kind == 'P')
		got = describe_portal(e, name);
	else if (got == GOT_DONE)
		got = fail(e, "08P01", "invalid DESCRIBE message subtype %u", kind);
	if (got == GOT_FAIL)
		engine_failed(e);
}

static void on_close(struct engine *e, struct get *g)
{
	unsigned kind = get_u8(g);
	const char *name = g->bad ? "" : get_str(g);
	struct portal *p;

	if (!body_is_whole(e, g, g->p == g->end && !kind ? "no data left in message" :
							   "invalid string in message"))
		return;
	if (asked(e, AT_CLOSE) == GOT_FAIL) {
		engine_failed(e);
		return;
	}
	if (kind != 'S' && kind != 'P') {
		(void)fail(e, "08P01", "invalid CLOSE message subtype %u", kind);
		engine_failed(e);
		return;
	}
	if (kind == 'S')
		prepared_drop(e, name);
	p = kind == 'P' ? portal_find(e, name) : NULL;
	if (p)
		portal_drop(e, p);
	out_msg(e, '3');
}

static void on_execute(struct engine *e, struct get *g)
{
	const char *name = get_str(g);
	bool no_name = g->bad;
	uint32_t limit = get_u32(g);
	struct portal *p;

	if (!body_is_whole(e, g, no_name ? "invalid string in message" :
					   "insufficient data left in message"))
		return;
	if (asked(e, AT_EXECUTE) == GOT_FAIL) {
		engine_failed(e);
		return;
	}
	p = portal_find(e, name);
	if (!p) {
		(void)no_portal(e, name);
		engine_failed(e);
		return;
	}
	if (!p->run) {
		out_msg(e, 'I');
		return;
	}
	task_execute(e, p, limit > INT32_MAX ? 0 : limit);
}

static void on_sync(struct engine *e, struct get *g)
{
	if (!body_is_whole(e, g, "invalid message format"))
		return;
	if (asked(e, AT_SYNC) == GOT_FAIL) {
		engine_failed(e);
		return;
	}
	task_sync(e);
}

/* There are no functions that could be called so. */
static void on_function(struct engine *e, struct get *g)
{
	uint32_t oid = get_u32(g);

	if (g->bad)
		(void)fail(e, "08P01", "insufficient data left in message");
	else if (xact_aborted(e))
		(void)refuse_aborted(e);
	else
		(void)fail(e, "42883", "function with OID %u does not exist", oid);
	engine_failed(e);
}

static void message(struct engine *e, uint8_t type, struct get *g)
{
	e->extended = strchr("PBDECH", type) != NULL;
	e->batch |= e->extended;
	switch (type) {
	case 'Q':
		on_query(e, g);
		break;
	case 'P':
		on_parse(e, g);
		break;
	case 'B':
		proto_bind(e, g);
		break;
	case 'D':
		on_describe(e, g);
		break;
	case 'E':
		on_execute(e, g);
		break;
	case 'C':
		on_close(e, g);
		break;
	case 'S':
		on_sync(e, g);
		break;
	case 'H':
		if (body_is_whole(e, g, "invalid message format"))
			out_flush(e);
		break;
	case 'X':
		e->out.len = 0; /* nobody waits for it */
		engine_close(e);
		break;
	case 'd':
	case 'c':
	case 'f':
		break; /* outside of a COPY */
	case 'F':
		if (!e->crdb) {
			on_function(e, g);
			break;
		}
		/* fall through */
	default:
		e->extended = true; /* only CockroachDB goes on after such */
		(void)fail(e, "08P01", "unrecognized client message type %u", type);
		engine_failed(e);
		break;
	}
}

void proto_message(struct engine *e, uint8_t type, const uint8_t *body, size_t n)
{
	struct get g = { e, body, body + n, false, false };

	if (type == 'S' || type == 'X')
		e->skip = false;
	if (e->skip && e->crdb && type == 'Q') {
		e->skip = false; /* it is not run, but answered */
		out_ready(e);
	} else if (e->skip) {
		return;
	} else {
		message(e, type, &g);
	}
}
