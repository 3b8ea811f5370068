/* tests/sim/engine_out.c - memory, values, and the bytes that a backend says.
 *
 * What is said is kept until PostgreSQL would send it: at ReadyForQuery, Flush, an
 * error or notice, CopyInResponse, or when 8 kB are full. So a server that dies in the
 * middle leaves as much behind as a real one.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

#define SEND_BUFFER 8192u

/* A simulation without memory says so by ending. */
void *mem_grow(void *p, size_t n)
{
	p = realloc(p, n ? n : 1);
	if (!p)
		abort();
	return p;
}

char *mem_copy_n(const void *s, size_t n)
{
	char *p = mem_grow(NULL, n + 1);

	if (n)
		memcpy(p, s, n);
	p[n] = 0;
	return p;
}

char *mem_copy(const char *s)
{
	return s ? mem_copy_n(s, strlen(s)) : NULL;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
	if (b->len + n > b->cap) {
		b->cap = (b->len + n) * 2 + 64;
		b->p = mem_grow(b->p, b->cap);
	}
	if (n)
		memcpy(b->p + b->len, p, n);
	b->len += n;
}

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

/* ---- values ---- */

void val_free(struct val *v)
{
	free(v->text);
	*v = (struct val){ 0 };
}

void val_set_n(struct val *v, const void *p, size_t n)
{
	val_free(v);
	v->text = mem_copy_n(p, n);
	v->len = n;
}

void val_set(struct val *v, const char *text)
{
	val_free(v);
	if (text)
		val_set_n(v, text, strlen(text));
}

void row_free(struct row *r)
{
	unsigned i;

	for (i = 0; i < r->n; i++)
		val_free(&r->v[i]);
	free(r->v);
	*r = (struct row){ 0 };
}

void cols_free(struct cols *c)
{
	unsigned i;

	for (i = 0; i < c->n; i++)
		free(c->v[i].name);
	free(c->v);
	*c = (struct cols){ 0 };
}

void cols_add(struct cols *c, const char *name, uint32_t oid)
{
	struct col *v;

	c->v = mem_grow(c->v, (c->n + 1) * sizeof(*c->v));
	v = &c->v[c->n++];
	c->any = true;
	v->name = mem_copy(name);
	v->oid = oid;
	v->len = (int16_t)(oid == OID_BOOL			     ? 1 :
			   oid == OID_INT4 || oid == OID_VOID	     ? 4 :
			   oid == OID_INT8 || oid == OID_FLOAT8	     ? 8 :
								       -1);
}

/* ---- messages ---- */

void out_begin(struct engine *e, char type)
{
	e->msg_at = e->out.len;
	buf_put(&e->out, &type, 1);
	out_u32(e, 0);
}

void out_end(struct engine *e)
{
	uint32_t n = (uint32_t)(e->out.len - e->msg_at - 1);
	uint8_t *p = e->out.p + e->msg_at + 1;

	p[0] = (uint8_t)(n >> 24);
	p[1] = (uint8_t)(n >> 16);
	p[2] = (uint8_t)(n >> 8);
	p[3] = (uint8_t)n;
	if (e->out.len >= SEND_BUFFER)
		out_flush(e);
}

void out_u8(struct engine *e, uint8_t v)
{
	buf_put(&e->out, &v, 1);
}

void out_u16(struct engine *e, unsigned v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	buf_put(&e->out, b, 2);
}

void out_u32(struct engine *e, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	buf_put(&e->out, b, 4);
}

void out_bytes(struct engine *e, const void *p, size_t n)
{
	buf_put(&e->out, p, n);
}

void out_str(struct engine *e, const char *s)
{
	buf_put(&e->out, s, strlen(s) + 1);
}

void out_msg(struct engine *e, char type)
{
	out_begin(e, type);
	out_end(e);
}

void out_flush(struct engine *e)
{
	if (!e->out.len)
		return;
	e->env.out(e->env.arg, e->out.p, e->out.len);
	e->out.len = 0;
}

void out_tag(struct engine *e, const char *tag)
{
	out_begin(e, 'C');
	out_str(e, tag);
	out_end(e);
}

static uint16_t format_of(const uint16_t *formats, unsigned n, unsigned i)
{
	if (!n)
		return 0;
	return n == 1 ? formats[0] : i < n ? formats[i] : 0;
}

void out_cols(struct engine *e, const struct cols *c, const uint16_t *formats, unsigned n_formats)
{
	unsigned i;

	out_begin(e, 'T');
	out_u16(e, c->n);
	for (i = 0; i < c->n; i++) {
		out_str(e, c->v[i].name);
		out_u32(e, 0);
		out_u16(e, 0);
		out_u32(e, c->v[i].oid);
		out_u16(e, (uint16_t)c->v[i].len);
		out_u32(e, UINT32_MAX);
		out_u16(e, format_of(formats, n_formats, i));
	}
	out_end(e);
}

static void out_binary(struct engine *e, const struct val *v, const struct col *c)
{
	uint64_t n = (uint64_t)strtoll(v->text, NULL, 10);

	if (c->oid == OID_BOOL) {
		out_u32(e, 1);
		out_u8(e, *v->text == 't');
	} else if (c->oid == OID_INT4) {
		out_u32(e, 4);
		out_u32(e, (uint32_t)n);
	} else if (c->oid == OID_INT8) {
		out_u32(e, 8);
		out_u32(e, (uint32_t)(n >> 32));
		out_u32(e, (uint32_t)n);
	} else {
		out_u32(e, (uint32_t)v->len);
		out_bytes(e, v->text, v->len);
	}
}

void out_row(struct engine *e, const struct row *r, const struct cols *c, const uint16_t *formats,
	     unsigned n_formats)
{
	unsigned i;

	out_begin(e, 'D');
	out_u16(e, r->n);
	for (i = 0; i < r->n; i++) {
		const struct val *v = &r->v[i];

		if (!v->text) {
			out_u32(e, UINT32_MAX);
		} else if (i < c->n && format_of(formats, n_formats, i) == 1) {
			out_binary(e, v, &c->v[i]);
		} else {
			out_u32(e, (uint32_t)v->len);
			out_bytes(e, v->text, v->len);
		}
	}
	out_end(e);
}

static void out_field(struct engine *e, char letter, const char *text)
{
	out_u8(e, (uint8_t)letter);
	out_str(e, text);
}

static void out_fields(struct engine *e, char type, const char *severity, const char *sqlstate,
		       const char *text)
{
	out_begin(e, type);
	out_field(e, 'S', severity);
	if (!e->crdb)
		out_field(e, 'V', severity);
	out_field(e, 'C', sqlstate);
	out_field(e, 'M', text);
}

void out_error(struct engine *e, const char *severity, const struct engine_error *err)
{
	out_fields(e, 'E', severity, err->sqlstate, err->message);
	if (err->hint)
		out_field(e, 'H', err->hint);
	if (*e->context)
		out_field(e, 'W', e->context);
	if (e->routine)
		out_field(e, 'R', e->routine);
	out_u8(e, 0);
	out_end(e);
	out_flush(e);
}

void out_warning(struct engine *e, const char *severity, const char *sqlstate, const char *text)
{
	out_fields(e, 'N', severity, sqlstate, text);
	out_u8(e, 0);
	out_end(e);
	out_flush(e);
}

/* Notifications that have come, when it is in no transaction. */
void out_notices(struct engine *e)
{
	struct notice *n;

	while ((n = e->notices) != NULL) {
		out_begin(e, 'A');
		out_u32(e, n->pid);
		out_str(e, n->channel);
		out_str(e, n->payload);
		out_end(e);
		e->notices = n->next;
		free(n->channel);
		free(n->payload);
		free(n);
	}
}

void out_ready(struct engine *e)
{
	char status = engine_status(e);

	if (status == 'I')
		out_notices(e);
	if (!e->crdb)
		settings_report(e);
	out_begin(e, 'Z');
	out_u8(e, (uint8_t)status);
	out_end(e);
	out_flush(e);
	e->batch = false;
}

enum got env_fail(struct engine *e)
{
	e->context[0] = 0;
	e->routine = NULL;
	return GOT_FAIL;
}

enum got fail(struct engine *e, const char *sqlstate, const char *format, ...)
{
	va_list ap;

	e->err = (struct engine_error){ .hint = NULL };
	e->context[0] = 0;
	e->routine = NULL;
	(void)snprintf(e->err.sqlstate, sizeof(e->err.sqlstate), "%s", sqlstate);
	va_start(ap, format);
	(void)vsnprintf(e->err.message, sizeof(e->err.message), format, ap);
	va_end(ap);
	return GOT_FAIL;
}
