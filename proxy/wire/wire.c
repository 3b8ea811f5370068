/* proxy/wire/wire.c - see wire.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/wire.h"

#include <string.h>

uint8_t wire_get_u8(struct wire_get *g)
{
	if (g->bad || wire_left(g) < 1) {
		g->bad = true;
		return 0;
	}
	return *g->p++;
}

uint16_t wire_get_u16(struct wire_get *g)
{
	uint16_t v;

	if (g->bad || wire_left(g) < 2) {
		g->bad = true;
		return 0;
	}
	v = (uint16_t)(g->p[0] << 8 | g->p[1]);
	g->p += 2;
	return v;
}

uint32_t wire_get_u32(struct wire_get *g)
{
	uint32_t v;

	if (g->bad || wire_left(g) < 4) {
		g->bad = true;
		return 0;
	}
	v = (uint32_t)g->p[0] << 24 | (uint32_t)g->p[1] << 16 | (uint32_t)g->p[2] << 8 | g->p[3];
	g->p += 4;
	return v;
}

const char *wire_get_str(struct wire_get *g, size_t *len)
{
	const uint8_t *z;
	const char *s;

	if (len)
		*len = 0;
	if (g->bad)
		return "";
	z = wire_left(g) ? memchr(g->p, 0, wire_left(g)) : NULL;
	if (!z) {
		g->bad = true;
		return "";
	}
	s = (const char *)g->p;
	if (len)
		*len = (size_t)(z - g->p);
	g->p = z + 1;
	return s;
}

void wire_put_bytes(struct wire_put *w, const void *p, size_t n)
{
	if (w->bad || w->cap - w->len < n) {
		w->bad = true;
		return;
	}
	if (n)
		memcpy(w->p + w->len, p, n);
	w->len += n;
}

void wire_put_u8(struct wire_put *w, uint8_t v)
{
	wire_put_bytes(w, &v, 1);
}

void wire_put_u16(struct wire_put *w, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	wire_put_bytes(w, b, sizeof(b));
}

void wire_set_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void wire_put_u32(struct wire_put *w, uint32_t v)
{
	uint8_t b[4];

	wire_set_u32(b, v);
	wire_put_bytes(w, b, sizeof(b));
}

void wire_put_str(struct wire_put *w, const char *s)
{
	wire_put_bytes(w, s, strlen(s) + 1);
}

void wire_begin(struct wire_put *w, char type)
{
	if (type)
		wire_put_u8(w, (uint8_t)type);
	w->start = w->len;
	wire_put_u32(w, 0);
}

void wire_end(struct wire_put *w)
{
	if (!w->bad)
		wire_set_u32(w->p + w->start, (uint32_t)(w->len - w->start));
}

void wire_put_msg_str(struct wire_put *w, char type, const char *s)
{
	wire_begin(w, type);
	wire_put_str(w, s);
	wire_end(w);
}

void wire_put_msg(struct wire_put *w, char type)
{
	wire_begin(w, type);
	wire_end(w);
}

void wire_put_close(struct wire_put *w, const char *statement)
{
	wire_begin(w, 'C');
	wire_put_u8(w, 'S');
	wire_put_str(w, statement);
	wire_end(w);
}

void wire_put_ready(struct wire_put *w, char status)
{
	wire_begin(w, 'Z');
	wire_put_u8(w, (uint8_t)status);
	wire_end(w);
}

static void put_field(struct wire_put *w, char code, const char *s, size_t max)
{
	size_t n = s ? strlen(s) : 0;

	if (!n)
		return;
	wire_put_u8(w, (uint8_t)code);
	wire_put_bytes(w, s, n > max ? max : n);
	wire_put_u8(w, 0);
}

void wire_put_error(struct wire_put *w, char type, const struct wire_error *e)
{
	wire_begin(w, type);
	put_field(w, 'S', e->severity, 16);
	put_field(w, 'V', e->severity, 16);
	put_field(w, 'C', e->sqlstate, 5);
	put_field(w, 'M', e->message, 800);
	put_field(w, 'D', e->detail, 400);
	put_field(w, 'H', e->hint, 400);
	put_field(w, 'R', e->routine, 60);
	wire_put_u8(w, 0);
	wire_end(w);
}

void wire_get_fields(struct wire_get g, struct wire_fields *out)
{
	bool have_v = false;

	*out = (struct wire_fields){ "", "", "", "", "" };
	for (;;) {
		uint8_t code = wire_get_u8(&g);
		const char *s;

		if (g.bad || !code)
			return;
		s = wire_get_str(&g, NULL);
		if (g.bad)
			return;
		if (code == 'V') {
			out->severity = s;
			have_v = true;
		} else if (code == 'S' && !have_v) {
			out->severity = s;
		} else if (code == 'C') {
			out->sqlstate = s;
		} else if (code == 'M') {
			out->message = s;
		} else if (code == 'W') {
			out->context = s;
		} else if (code == 'R') {
			out->routine = s;
		}
	}
}
