/* proxy/top/grid.c - see grid.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/grid.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

int grid_size(struct grid *g, int w, int h)
{
	size_t i, n = (size_t)w * (size_t)h;
	struct cell *p = n ? realloc(g->cells, n * sizeof(*p)) : g->cells;

	if (n && !p) {
		g->w = g->h = 0;
		return -1;
	}
	g->cells = p;
	g->w = w;
	g->h = h;
	for (i = 0; i < n; i++)
		p[i] = (struct cell){ ' ', LOOK_PLAIN };
	return 0;
}

void grid_free(struct grid *g)
{
	free(g->cells);
	free(g->out);
	g->cells = NULL;
	g->out = NULL;
	g->w = g->h = 0;
	g->len = g->cap = 0;
}

/* ---- characters ---- */

/* One of UTF-8, shortest form only; 0: it is none. */
static size_t decode(const unsigned char *s, uint32_t *out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc0 ? 2 : 0, i;
	uint32_t v = n == 1 ? *s : *s & (0x7fu >> n);

	if (!n || *s >= 0xf8)
		return 0;
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0;
	*out = v;
	return n;
}

/* The next character as it is shown, and its columns. */
static const char *next(const struct grid *g, const char *s, uint32_t *ch, int *cols)
{
	size_t n = decode((const unsigned char *)s, ch);

	*cols = 1;
	if (!n) {
		*ch = '?';
		return s + 1;
	}
	if (*ch < 0x80) {
		if (*ch < 0x20 || *ch == 0x7f)
			*ch = '?';
		return s + n;
	}
	/* C1 controls, marks that join others, directions: nothing that moves what is beside */
	*cols = g->utf8 ? wcwidth((wchar_t)*ch) : -1;
	if (*cols < 1 || *cols > 2 || *ch < 0xa0) {
		*ch = '?';
		*cols = 1;
	}
	return s + n;
}

int grid_width(const struct grid *g, const char *text)
{
	int n = 0, cols;
	uint32_t ch;

	while (*text) {
		text = next(g, text, &ch, &cols);
		n += cols;
	}
	return n;
}

int grid_put(struct grid *g, int x, int y, int max, enum look look, const char *text)
{
	int at = x, end = x + max < g->w ? x + max : g->w, cols;
	uint32_t ch;

	if (y < 0 || y >= g->h || x < 0)
		return 0;
	while (*text) {
		text = next(g, text, &ch, &cols);
		if (at + cols > end)
			break;
		g->cells[y * g->w + at] = (struct cell){ ch, (uint8_t)look };
		if (cols == 2)
			g->cells[y * g->w + at + 1] = (struct cell){ 0, (uint8_t)look };
		at += cols;
	}
	return at - x;
}

void grid_right(struct grid *g, int x, int y, int max, enum look look, const char *text)
{
	int n = grid_width(g, text);

	(void)grid_put(g, n < max ? x + max - n : x, y, n < max ? n : max, look, text);
}

void grid_fill(struct grid *g, int x, int y, int n, enum look look, uint32_t ch)
{
	for (; n > 0 && x >= 0 && x < g->w && y >= 0 && y < g->h; n--, x++)
		g->cells[y * g->w + x] = (struct cell){ ch, (uint8_t)look };
}

/* ---- bytes ---- */

static bool add(struct grid *g, const char *p, size_t n)
{
	if (g->len + n > g->cap) {
		size_t cap = (g->len + n) * 2 + 4096;
		char *q = realloc(g->out, cap);

		if (!q)
			return false;
		g->out = q;
		g->cap = cap;
	}
	memcpy(g->out + g->len, p, n);
	g->len += n;
	return true;
}

static bool add_text(struct grid *g, const char *s)
{
	return add(g, s, strlen(s));
}

static bool add_char(struct grid *g, uint32_t c)
{
	char b[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, i;

	if (n == 1) {
		b[0] = (char)c;
	} else {
		for (i = n; i-- > 1; c >>= 6)
			b[i] = (char)(0x80 | (c & 0x3f));
		b[0] = (char)(c | (n == 2 ? 0xc0u : n == 3 ? 0xe0u : 0xf0u));
	}
	return add(g, b, n);
}

/* The columns of a line up to its last character. */
static int used(const struct grid *g, int y)
{
	int w = g->w;

	while (w && g->cells[y * g->w + w - 1].ch == ' ' && g->cells[y * g->w + w - 1].look != LOOK_HEAD)
		w--;
	return w;
}

const char *grid_bytes(struct grid *g, size_t *len)
{
	static const char *const in_colour[LOOK_N] = { "\033[0m",     "\033[0;1m",  "\033[0;2m",
						       "\033[0;7m",   "\033[0;32m", "\033[0;33m",
						       "\033[0;1;31m" };
	static const char *const without[LOOK_N] = { "\033[0m",	  "\033[0;1m", "\033[0m", "\033[0;7m",
						     "\033[0m",	  "\033[0;1m", "\033[0;1m" };
	bool ok;
	int x, y, end;

	g->len = 0;
	ok = add_text(g, "\033[H");
	for (y = 0; y < g->h; y++) {
		int look = -1;

		end = used(g, y);
		for (x = 0; x < end; x++) {
			const struct cell *c = &g->cells[y * g->w + x];

			if (c->look != look)
				ok = ok && add_text(g, g->colours ? in_colour[c->look] : without[c->look]);
			look = c->look;
			if (c->ch)
				ok = ok && add_char(g, c->ch);
		}
		ok = ok && add_text(g, "\033[0m");
		/* behind the last column a terminal would clear that one */
		if (end < g->w)
			ok = ok && add_text(g, "\033[K");
		if (y + 1 < g->h)
			ok = ok && add_text(g, "\r\n");
	}
	*len = g->len;
	return ok ? g->out : NULL;
}

const char *grid_lines(struct grid *g, size_t *len)
{
	bool ok = true;
	int x, y, end, h = g->h;

	g->len = 0;
	while (h && used(g, h - 1) == 0)
		h--;
	for (y = 0; y < h; y++) {
		end = g->w;
		while (end && g->cells[y * g->w + end - 1].ch == ' ')
			end--;
		for (x = 0; x < end; x++)
			if (g->cells[y * g->w + x].ch)
				ok = ok && add_char(g, g->cells[y * g->w + x].ch);
		ok = ok && add_text(g, "\n");
	}
	*len = g->len;
	return ok ? g->out : NULL;
}
