/* tests/sim/engine_copy.c - COPY kv FROM STDIN and TO STDOUT, text format.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

/* ---- in ---- */

static enum got at_line(struct engine *e, const struct run *r, const char *line)
{
	if (line)
		(void)snprintf(e->context, sizeof(e->context), "COPY kv, line %llu: \"%.100s\"",
			       (unsigned long long)r->count + 1, line);
	else
		(void)snprintf(e->context, sizeof(e->context), "COPY kv, line %llu",
			       (unsigned long long)r->count + 1);
	return GOT_FAIL;
}

static enum got at_column(struct engine *e, const struct run *r, const char *column, const char *text)
{
	(void)snprintf(e->context, sizeof(e->context), "COPY kv, line %llu, column %s: %s%.100s%s",
		       (unsigned long long)r->count + 1, column, text ? "\"" : "",
		       text ? text : "null input", text ? "\"" : "");
	return GOT_FAIL;
}

/* Undoes backslashes in place. NULL: \N. */
static char *unescape(char *s)
{
	char *from = s, *to = s;

	if (strcmp(s, "\\N") == 0)
		return NULL;
	for (; *from; from++) {
		if (*from == '\\' && from[1]) {
			from++;
			*to++ = (char)(*from == 't' ? '\t' : *from == 'n' ? '\n' :
				       *from == 'r' ? '\r' : *from);
		} else {
			*to++ = *from;
		}
	}
	*to = 0;
	return s;
}

static enum got line_in(struct engine *e, struct run *r, const char *line)
{
	char *copy = mem_copy(line), *tab = strchr(copy, '\t'), *k, *v;
	enum got got = GOT_DONE;
	enum data d = DATA_OK;
	int64_t key = 0;

	if (tab)
		*tab = 0;
	if (tab && strchr(tab + 1, '\t')) {
		(void)fail(e, "22P04", "extra data after last expected column");
		got = at_line(e, r, line);
	}
	k = unescape(copy);
	if (got == GOT_DONE && k && parse_number(e, k, OID_INT4, &key) == GOT_FAIL)
		got = at_column(e, r, "k", k);
	if (got == GOT_DONE && !tab) {
		(void)fail(e, "22P04", "missing data for column \"v\"");
		got = at_line(e, r, line);
	}
	v = got == GOT_DONE ? unescape(tab + 1) : NULL;
	if (got == GOT_DONE && (!k || !v)) {
		(void)fail(e, "23502",
			   "null value in column \"%s\" of relation \"kv\" violates not-null "
			   "constraint", k ? "v" : "k");
		got = at_line(e, r, line);
	} else if (got == GOT_DONE && (key < 0 || key >= (int64_t)KEYS)) {
		(void)fail(e, "23514",
			   "new row for relation \"kv\" violates check constraint \"kv_k_check\"");
		got = at_line(e, r, line);
	} else if (got == GOT_DONE) {
		e->did_work = true;
		d = e->env.append(e->env.arg, (unsigned)key, v, &e->err);
	}
	free(copy);
	if (d == DATA_ERROR) {
		(void)env_fail(e);
		return at_line(e, r, line);
	}
	return d == DATA_WAIT ? GOT_WAIT : got;
}

/* The lines that are there, and at the end what is left. */
static enum got lines_in(struct engine *e, struct run *r)
{
	struct buf *b = &e->copy.data;

	while (b->len && !e->copy.ended) {
		uint8_t *nl = memchr(b->p, '\n', b->len);
		size_t n = nl ? (size_t)(nl - b->p) : b->len;
		char *line;
		enum got got;

		if (!nl && !e->copy.done)
			break;
		line = mem_copy_n(b->p, n);
		e->copy.ended = strcmp(line, "\\.") == 0;
		got = e->copy.ended ? GOT_DONE : line_in(e, r, line);
		free(line);
		if (got != GOT_DONE)
			return got;
		r->count += !e->copy.ended;
		n += nl ? 1 : 0;
		memmove(b->p, b->p + n, b->len - n);
		b->len -= n;
	}
	if (e->copy.ended)
		b->len = 0;
	return GOT_DONE;
}

enum got run_copy_in(struct engine *e, struct run *r)
{
	enum got got;
	unsigned i;

	if (!r->step) {
		if (may_write(e, "COPY FROM") == GOT_FAIL)
			return GOT_FAIL;
		r->step = 1;
		buf_free(&e->copy.data);
		e->copy = (struct copy){ .done = false };
		out_begin(e, 'G');
		out_u8(e, 0);
		out_u16(e, 2);
		for (i = 0; i < 2; i++)
			out_u16(e, 0);
		out_end(e);
		out_flush(e);
		return GOT_COPY;
	}
	if (e->copy.done && !e->copy.asked) {
		e->copy.asked = true;
		if (asked(e, AT_COPY_END) == GOT_FAIL)
			return at_line(e, r, NULL);
	}
	got = lines_in(e, r);
	if (got != GOT_DONE)
		return got;
	if (!e->copy.done)
		return GOT_COPY;
	buf_free(&e->copy.data);
	(void)snprintf(r->tag, sizeof(r->tag), "COPY %llu", (unsigned long long)r->count);
	return GOT_DONE;
}

/* ---- out ---- */

static void row_out(struct engine *e, unsigned key, const char *value)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u\t", key);
	out_begin(e, 'd');
	out_bytes(e, text, strlen(text));
	for (; *value; value++) {
		const char *esc = *value == '\\' ? "\\\\" : *value == '\t' ? "\\t" :
				  *value == '\n' ? "\\n" : *value == '\r' ? "\\r" : NULL;

		if (esc)
			out_bytes(e, esc, 2);
		else
			out_bytes(e, value, 1);
	}
	out_bytes(e, "\n", 1);
	out_end(e);
}

enum got run_copy_out(struct engine *e, struct run *r)
{
	const char *value;
	unsigned i;

	if (!r->step) {
		r->step = 1;
		out_begin(e, 'H');
		out_u8(e, 0);
		out_u16(e, 2);
		for (i = 0; i < 2; i++)
			out_u16(e, 0);
		out_end(e);
	}
	for (; r->pos < KEYS; r->pos++) {
		enum data d = e->env.read(e->env.arg, (unsigned)r->pos, &value, &e->err);

		if (d != DATA_OK)
			return d == DATA_WAIT ? GOT_WAIT : env_fail(e);
		row_out(e, (unsigned)r->pos, value);
	}
	out_msg(e, 'c');
	(void)snprintf(r->tag, sizeof(r->tag), "COPY %u", KEYS);
	return GOT_DONE;
}
