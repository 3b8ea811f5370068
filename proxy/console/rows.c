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

void rows_append(struct rows *r, const void *p, size_t n)
{
	need(r, n);
	if (r->bad || !n)
		return;
	memcpy(r->p + r->len, p, n);
	r->len += n;
}

void rows_consume(struct rows *r, size_t n)
{
	r->len -= n;
	if (r->len)
		memmove(r->p, r->p + n, r->len);
}

static void put_u16(struct rows *r, unsigned v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	rows_append(r, b, 2);
}

static void put_u32(struct rows *r, uint32_t v)
{
	uint8_t b[4];

	wire_set_u32(b, v);
	rows_append(r, b, 4);
}

static void begin(struct rows *r, char type)
{
	rows_append(r, &type, 1);
	r->row_at = r->len;
	put_u32(r, 0);
}

static void end(struct rows *r)
{
	if (!r->bad)
		wire_set_u32(r->p + r->row_at, (uint32_t)(r->len - r->row_at));
}

unsigned rows_count(const struct column *col)
{
	unsigned n = 0;

	while (col && col[n].name)
		n++;
	return n;
}

void rows_init(struct rows *r, const struct column *col, uint64_t binary)
{
	memset(r, 0, sizeof(*r));
	r->col = col;
	r->columns = rows_count(col);
	r->binary = binary;
}

void rows_describe(struct rows *r, const struct column *col, uint64_t binary)
{
	unsigned n = rows_count(col), i;

	begin(r, 'T');
	put_u16(r, n);
	for (i = 0; i < n; i++) {
		int type = col[i].type;

		rows_append(r, col[i].name, strlen(col[i].name) + 1);
		put_u32(r, 0);
		put_u16(r, 0);
		put_u32(r, (uint32_t)type);
		put_u16(r, type == ROWS_INT8 ? 8 : type == ROWS_INT4 ? 4 : 0xffff);
		put_u32(r, 0xffffffff);
		put_u16(r, binary >> i & 1);
	}
	end(r);
}

void rows_row(struct rows *r)
{
	begin(r, 'D');
	put_u16(r, r->columns);
	r->at = 0;
}

static void put_value(struct rows *r, const void *p, size_t n)
{
	put_u32(r, (uint32_t)n);
	rows_append(r, p, n);
	r->at++;
}

void rows_null(struct rows *r)
{
	put_u32(r, 0xffffffff);
	r->at++;
}

void rows_text(struct rows *r, const char *s)
{
	if (s)
		put_value(r, s, strlen(s));
	else
		rows_null(r);
}

/* Digits to the base of 10,000, the highest first. */
static void put_numeric(struct rows *r, uint64_t v, bool negative)
{
	uint16_t digit[8];
	uint8_t b[8 + sizeof(digit)];
	struct wire_put w = wire_put_to(b, sizeof(b));
	unsigned n = 0, weight, i;

	for (; v; v /= 10000)
		digit[n++] = (uint16_t)(v % 10000);
	weight = n ? n - 1 : 0;
	for (i = 0; i < n && !digit[i]; i++)
		;
	wire_put_u16(&w, (uint16_t)(n - i));
	wire_put_u16(&w, (uint16_t)weight);
	wire_put_u16(&w, negative ? 0x4000 : 0);
	wire_put_u16(&w, 0);
	while (n > i)
		wire_put_u16(&w, digit[--n]);
	put_value(r, b, w.len);
}

static void put_number(struct rows *r, uint64_t size, bool negative)
{
	int type = r->at < r->columns ? r->col[r->at].type : ROWS_TEXT;
	uint64_t max = type == ROWS_INT4 ? INT32_MAX : INT64_MAX, v;
	uint8_t b[8];
	char text[24];

	if ((type == ROWS_INT4 || type == ROWS_INT8) && size > max)
		size = max;
	v = negative ? 0 - size : size;
	if (!(r->binary >> r->at & 1) || type == ROWS_TEXT) {
		put_value(r, text, (size_t)snprintf(text, sizeof(text), "%s%llu", negative ? "-" : "",
						    (unsigned long long)size));
		return;
	}
	wire_set_u32(b, (uint32_t)(v >> 32));
	wire_set_u32(b + 4, (uint32_t)v);
	if (type == ROWS_INT4)
		put_value(r, b + 4, 4);
	else if (type == ROWS_INT8)
		put_value(r, b, 8);
	else
		put_numeric(r, size, negative);
}

void rows_uint(struct rows *r, uint64_t v)
{
	put_number(r, v, false);
}

void rows_int(struct rows *r, int64_t v)
{
	put_number(r, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
}

void rows_end_row(struct rows *r)
{
	end(r);
}

void rows_free(struct rows *r)
{
	free(r->p);
	r->p = NULL;
	r->len = r->cap = 0;
}
