/* proxy/http/out.c - see out.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/out.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void out_bytes(struct out *o, const char *p, size_t n)
{
	size_t cap = o->cap ? o->cap : 4096;
	char *more;

	if (o->bad)
		return;
	if (o->cap - o->len < n) {
		while (cap - o->len < n)
			cap *= 2;
		more = realloc(o->p, cap);
		if (!more) {
			o->bad = true;
			return;
		}
		o->p = more;
		o->cap = cap;
	}
	memcpy(o->p + o->len, p, n);
	o->len += n;
}

void out_text(struct out *o, const char *s)
{
	out_bytes(o, s, strlen(s));
}

void out_fmt(struct out *o, const char *fmt, ...)
{
	char text[501];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		out_bytes(o, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* Length of the character of UTF-8 at s, 0: there is none. */
static size_t utf8_len(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t c;
	size_t n, i;

	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	c = p[0] & (0x7fu >> n);
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

static void escaped(struct out *o, const char *s, bool json)
{
	size_t n;

	for (; *s; s += n ? n : 1) {
		n = utf8_len(s);
		if (!n)
			out_text(o, "\xef\xbf\xbd");
		else if (*s == '"' || *s == '\\')
			out_fmt(o, "\\%c", *s);
		else if (*s == '\n')
			out_text(o, "\\n");
		else if (json && (unsigned char)*s < 0x20)
			out_fmt(o, "\\u%04x", (unsigned)(unsigned char)*s);
		else
			out_bytes(o, s, n);
	}
}

void out_json(struct out *o, const char *s)
{
	escaped(o, s, true);
}

void out_label(struct out *o, const char *s)
{
	escaped(o, s, false);
}

/* n / 10^digits */
static void decimal(struct out *o, uint64_t n, unsigned digits)
{
	uint64_t unit = 1, rest;
	unsigned i;

	for (i = 0; i < digits; i++)
		unit *= 10;
	rest = n % unit;
	out_fmt(o, "%llu", (unsigned long long)(n / unit));
	if (!rest)
		return;
	for (; rest % 10 == 0; digits--)
		rest /= 10;
	out_fmt(o, ".%0*llu", (int)digits, (unsigned long long)rest);
}

void out_seconds(struct out *o, uint64_t us)
{
	decimal(o, us, 6);
}

void out_millis(struct out *o, uint64_t us)
{
	decimal(o, us, 3);
}

void out_free(struct out *o)
{
	free(o->p);
	memset(o, 0, sizeof(*o));
}
