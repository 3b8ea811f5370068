/* proxy/console/rows.c - see rows.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

static void need(struct rows *r, size_t n)
{
	size_t cap = r->cap ? r->cap : 1024;
	uint8_t *p;

	if (r->bad || r->cap - r->len >= n)
		return;
	while (cap - r->len < n)
		cap *= 2;
	p = realloc(r->p, cap);
	if (!p) {
		r->bad = true;
		return;
	}
	r->p = p;
	r->cap = cap;
}

static void put(struct rows *r, const void *p, size_t n)
{
	need(r, n);
	if (r->bad)
		return;
	memcpy(r->p + r->len, p, n);
	r->len += n;
}

static void put_u16(struct rows *r, unsigned v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	put(r, b, 2);
}

static void put_u32(struct rows *r, uint32_t v)
{
	uint8_t b[4];

	wire_set_u32(b, v);
	put(r, b, 4);
}

static void begin(struct rows *r, char type)
{
	put(r, &type, 1);
	r->row_at = r->len;
	put_u32(r, 0);
}

static void end(struct rows *r)
{
	if (!r->bad)
		wire_set_u32(r->p + r->row_at, (uint32_t)(r->len - r->row_at));
}

void rows_begin(struct rows *r, const char *const *names, const int *types)
{
	unsigned n = 0, i;

	memset(r, 0, sizeof(*r));
	while (names[n])
		n++;
	r->columns = (uint16_t)n;
	begin(r, 'T');
	put_u16(r, n);
	for (i = 0; i < n; i++) {
		int type = types ? types[i] : ROWS_TEXT;

		put(r, names[i], strlen(names[i]) + 1);
		put_u32(r, 0);
		put_u16(r, 0);
		put_u32(r, (uint32_t)type);
		put_u16(r, type == ROWS_INT8 ? 8 : type == ROWS_INT4 ? 4 : 0xffff);
		put_u32(r, 0xffffffff);
		put_u16(r, 0);
	}
	end(r);
}

void rows_row(struct rows *r)
{
	begin(r, 'D');
	put_u16(r, r->columns);
}

void rows_text(struct rows *r, const char *s)
{
	if (!s) {
		put_u32(r, 0xffffffff);
		return;
	}
	put_u32(r, (uint32_t)strlen(s));
	put(r, s, strlen(s));
}

void rows_uint(struct rows *r, uint64_t v)
{
	char b[24];

	(void)snprintf(b, sizeof(b), "%llu", (unsigned long long)v);
	rows_text(r, b);
}

void rows_end_row(struct rows *r)
{
	end(r);
}

void rows_end(struct rows *r, const char *tag)
{
	static const uint8_t ready[] = { 'Z', 0, 0, 0, 5, 'I' };

	begin(r, 'C');
	put(r, tag, strlen(tag) + 1);
	end(r);
	put(r, ready, sizeof(ready));
}

void rows_free(struct rows *r)
{
	free(r->p);
	r->p = NULL;
}
