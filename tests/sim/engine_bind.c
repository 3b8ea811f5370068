/* tests/sim/engine_bind.c - Bind: parameters of all types, and a portal.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

/* What Bind says, borrowed from the message. */
struct bind {
	const char *portal, *name;
	uint16_t *formats, *results;
	unsigned n_formats, n_params, n_results;
	struct prepared *p;
	struct portal *made;       /* NULL: not yet */
	struct val *args;
	unsigned n_args;
};

static enum got malformed(struct engine *e, const char *text)
{
	return fail(e, "08P01", "%s", text);
}

static uint16_t *get_formats(struct get *g, unsigned *n)
{
	uint16_t *v;
	unsigned i, all = get_u16(g);

	v = mem_grow(NULL, (all + 1) * sizeof(*v));
	for (i = 0; i < all && !g->bad; i++)
		v[i] = (uint16_t)get_u16(g);
	*n = g->bad ? 0 : all;
	return v;
}

/* ---- parameters ---- */

static enum got from_text(struct engine *e, const char *text, uint32_t oid)
{
	int64_t n;
	char *rest;

	if (oid == OID_INT4 || oid == OID_INT8)
		return parse_number(e, text, oid, &n);
	if (oid == OID_FLOAT8) {
		(void)strtod(text, &rest);
		if (rest == text || *rest)
			return fail(e, "22P02",
				    "invalid input syntax for type double precision: \"%.100s\"", text);
	}
	if (oid == OID_BOOL && !strchr("tfyn01o", *text))
		return fail(e, "22P02", "invalid input syntax for type boolean: \"%.100s\"", text);
	return GOT_DONE;
}

static enum got from_binary(struct engine *e, struct val *v, const uint8_t *p, size_t n,
			    uint32_t oid, unsigned number)
{
	size_t want = oid == OID_INT4 ? 4 : oid == OID_INT8 || oid == OID_FLOAT8 ? 8 :
		      oid == OID_BOOL ? 1 : n;
	char text[40];
	uint64_t u = 0;
	double d;
	size_t i;

	if (n < want)
		return malformed(e, want == 1 ? "no data left in message" :
						"insufficient data left in message");
	if (n > want)
		return fail(e, "22P03", "incorrect binary data format in bind parameter %u", number);
	if (oid != OID_INT4 && oid != OID_INT8 && oid != OID_FLOAT8 && oid != OID_BOOL) {
		val_set_n(v, p, n);
		return GOT_DONE;
	}
	for (i = 0; i < n; i++)
		u = u << 8 | p[i];
	if (oid == OID_FLOAT8) {
		memcpy(&d, &u, sizeof(d));
		(void)snprintf(text, sizeof(text), "%.17g", d);
	} else if (oid == OID_BOOL) {
		(void)snprintf(text, sizeof(text), "%s", u ? "t" : "f");
	} else {
		(void)snprintf(text, sizeof(text), "%lld",
			       oid == OID_INT4 ? (long long)(int32_t)u : (long long)u);
	}
	val_set(v, text);
	return GOT_DONE;
}

static enum got one_param(struct engine *e, struct bind *b, struct get *g, unsigned i)
{
	uint16_t format = b->n_formats > 1 ? b->formats[i] : b->n_formats ? b->formats[0] : 0;
	uint32_t oid = i < b->p->n_params ? b->p->oids[i] : OID_TEXT;
	struct val *v = &b->args[i];
	uint32_t n = get_u32(g);
	const uint8_t *p;

	if (n == UINT32_MAX && !g->bad)
		return GOT_DONE;
	p = get_bytes(g, n);
	if (g->bad)
		return malformed(e, "insufficient data left in message");
	if (format > 1)
		return fail(e, "22023", "unsupported format code: %d", (int)(int16_t)format);
	if (!format || oid == OID_TEXT) {
		if (memchr(p, 0, n))
			return fail(e, "22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
		if (!get_utf8(g, p, n))
			return GOT_FAIL;
	}
	if (format == 1)
		return from_binary(e, v, p, n, oid, i + 1);
	val_set_n(v, p, n);
	return from_text(e, v->text, oid);
}

/* ---- the portal ---- */

static enum got make_portal(struct engine *e, struct bind *b)
{
	struct portal *p = portal_find(e, b->portal);

	if (p && *b->portal && e->crdb)
		return fail(e, "42P03", "portal \"%s\" already exists", b->portal);
	if (p && *b->portal)
		return fail(e, "42P03", "cursor \"%s\" already exists", b->portal);
	if (p)
		portal_drop(e, p);
	b->made = portal_new(e, b->portal);
	return GOT_DONE;
}

static enum got fill_portal(struct engine *e, struct bind *b)
{
	const struct sql_stmt *st = b->p->ast ? b->p->ast->first : NULL;
	struct cols cols = { 0 };
	struct portal *p;
	struct run *run = NULL;

	if (st) {
		uint32_t *oids = b->p->oids;
		unsigned n;

		if (analyze(e, st, &oids, b->p->n_params, &n) == GOT_FAIL)
			return GOT_FAIL;
		run = run_new(b->p->ast, st);
		run->args = b->args;
		run->n_args = b->n_args;
		run->oids = oids;
		b->args = NULL;
		b->n_args = 0;
		if (plan(e, run) == GOT_FAIL) {
			run_free(run);
			return GOT_FAIL;
		}
		describe(e, st, oids, &cols);
	}
	if (b->n_results > 1 && b->n_results != cols.n) {
		unsigned n = cols.n;

		run_free(run);
		cols_free(&cols);
		return fail(e, "08P01", "bind message has %u result formats but query has %u columns",
			    b->n_results, n);
	}
	p = b->made;
	p->run = run;
	p->cols = cols;
	p->formats = b->results;
	p->n_formats = b->n_results;
	b->results = NULL;
	return GOT_DONE;
}

static enum got check_count(struct engine *e, const struct bind *b)
{
	if (b->n_formats > 1 && b->n_formats != b->n_params)
		return fail(e, "08P01", "bind message has %u parameter formats but %u parameters",
			    b->n_formats, b->n_params);
	if (b->n_params != b->p->n_params)
		return fail(e, "08P01",
			    "bind message supplies %u parameters, but prepared statement \"%s\" "
			    "requires %u", b->n_params, b->name, b->p->n_params);
	if (xact_aborted(e) && (!is_exit(b->p->ast ? b->p->ast->first : NULL) || b->n_params) &&
	    !e->crdb)
		return refuse_aborted(e);
	return GOT_DONE;
}

static enum got find_statement(struct engine *e, struct bind *b)
{
	b->p = prepared_find(e, b->name);
	if (b->p)
		return GOT_DONE;
	if (e->crdb)
		return fail(e, "26000", "unknown prepared statement \"%s\"", b->name);
	if (!*b->name)
		return fail(e, "26000", "unnamed prepared statement does not exist");
	return fail(e, "26000", "prepared statement \"%s\" does not exist", b->name);
}

static enum got bind(struct engine *e, struct bind *b, struct get *g)
{
	unsigned i;

	b->portal = get_str(g);
	b->name = g->bad ? "" : get_str(g);
	if (g->bad)
		return g->told ? GOT_FAIL : malformed(e, "invalid string in message");
	if (find_statement(e, b) == GOT_FAIL)
		return GOT_FAIL;
	if (!e->crdb)
		xact_start(e);
	b->formats = get_formats(g, &b->n_formats);
	b->n_params = g->bad ? 0 : get_u16(g);
	if (g->bad)
		return malformed(e, "insufficient data left in message");
	if (check_count(e, b) == GOT_FAIL || make_portal(e, b) == GOT_FAIL)
		return GOT_FAIL;
	b->args = mem_grow(NULL, (b->n_params + 1) * sizeof(*b->args));
	for (; b->n_args < b->n_params; b->n_args++)
		b->args[b->n_args] = (struct val){ 0 };
	for (i = 0; i < b->n_params; i++)
		if (one_param(e, b, g, i) == GOT_FAIL)
			return GOT_FAIL;
	b->results = get_formats(g, &b->n_results);
	if (g->bad)
		return malformed(e, "insufficient data left in message");
	if (!get_end(g))
		return malformed(e, "invalid message format");
	return fill_portal(e, b);
}

void proto_bind(struct engine *e, struct get *g)
{
	struct bind b = { .portal = "" };
	enum got got = asked(e, AT_BIND);
	unsigned i;

	if (got == GOT_DONE)
		got = bind(e, &b, g);
	for (i = 0; i < b.n_args; i++)
		val_free(&b.args[i]);
	free(b.args);
	free(b.formats);
	free(b.results);
	/* PostgreSQL keeps one that has come to nothing until its transaction ends */
	if (got == GOT_FAIL && b.made && e->crdb)
		portal_drop(e, b.made);
	if (got == GOT_FAIL)
		engine_failed(e);
	else
		out_msg(e, '2');
}
