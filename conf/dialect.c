/* conf/dialect.c - see dialect.h.
 *
 * One setting makes one or more pieces: "name=..." and then continuation lines
 * that start with a blank. Bytes that libinih would interpret travel as control
 * bytes, which the reader has refused in the file before. The handler turns
 * them back and joins the pieces; the setting is delivered when its last piece
 * is back.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/dialect.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "conf/text.h"

/* What libinih would interpret; travels as 1 + its place in here. */
static const char guarded[] = ";:#=[] \t";

/* libinih keeps 49 bytes of a name, so a longer one travels as its head. */
#define NAME_HEAD 40

struct frame {
	char *name;
	struct text_buf own;           /* the bytes of a file; empty for memory */
	const char *text;
	size_t len;
	size_t at;
	int line;
};

struct reader {
	const struct dialect_sink *sink;
	struct err *e;
	bool is_failed;
	bool is_mem;
	struct frame frame[DIALECT_INCLUDE_MAX + 1];
	int depth;                     /* frames in use */

	/* The setting on its way through libinih. */
	bool is_open;
	struct text_buf name;
	struct text_buf value;
	size_t given;                  /* bytes of value handed over */
	struct text_buf joined;        /* bytes of value that came back */
};

static struct dialect_pos reader_pos(const struct reader *r)
{
	const struct frame *f = &r->frame[r->depth > 0 ? r->depth - 1 : 0];

	return (struct dialect_pos){.file = f->name ? f->name : "?", .line = f->line};
}

/* Says where; the sentence follows. Always -1. Callers never pass values in:
 * a line that cannot be understood may hold a password. */
#define READER_FAIL(r, fmt, ...)                                                                   \
	reader_fail((r), err_set((r)->e, "%s:%d: " fmt, reader_pos(r).file, reader_pos(r).line,    \
				 __VA_ARGS__))

static int reader_fail(struct reader *r, int ret)
{
	r->is_failed = true;
	return ret;
}

static char guard(char c)
{
	const char *at = c ? strchr(guarded, c) : NULL;

	return at ? (char)(at - guarded + 1) : c;
}

static char unguard(char c)
{
	return c > 0 && (size_t)c < sizeof(guarded) ? guarded[c - 1] : c;
}

/* --- files ------------------------------------------------------------- */

static void frame_pop(struct reader *r)
{
	struct frame *f = &r->frame[--r->depth];

	free(f->name);
	text_free(&f->own);
	*f = (struct frame){0};
}

static int frame_push(struct reader *r, const char *name, const char *text, size_t len,
		      struct err *e)
{
	struct frame *f = &r->frame[r->depth];

	*f = (struct frame){.name = strdup(name), .text = text, .len = len};
	if (!f->name)
		return err_set(e, "out of memory");
	r->depth++;
	/* Editors on Windows leave a mark of three bytes; it means nothing. */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		f->at = 3;
	return 0;
}

static int frame_push_file(struct reader *r, const char *path, struct err *e)
{
	struct text_buf own = {0};

	if (text_slurp(path, &own, e) < 0)
		return -1;
	if (frame_push(r, path, own.data, own.len, e) < 0) {
		text_free(&own);
		return -1;
	}
	r->frame[r->depth - 1].own = own;
	return 0;
}

/* --- one physical line --------------------------------------------------- */

struct span {
	const char *at;
	size_t len;
};

static void span_trim(struct span *s)
{
	while (s->len > 0 && isblank((unsigned char)s->at[0])) {
		s->at++;
		s->len--;
	}
	while (s->len > 0 && isblank((unsigned char)s->at[s->len - 1]))
		s->len--;
}

/* The next line without its end, of this file or of one that includes it.
 * 1, 0 at the very end, -1 on a byte that may not stand in a file. */
static int line_next(struct reader *r, struct span *out)
{
	struct frame *f;
	const char *end;
	size_t i;

	while (r->depth > 1 && r->frame[r->depth - 1].at >= r->frame[r->depth - 1].len)
		frame_pop(r);
	f = &r->frame[r->depth - 1];
	if (f->at >= f->len)
		return 0;
	out->at = f->text + f->at;
	end = memchr(out->at, '\n', f->len - f->at);
	out->len = end ? (size_t)(end - out->at) : f->len - f->at;
	f->at += out->len + 1;
	f->line++;
	if (out->len > 0 && out->at[out->len - 1] == '\r')
		out->len--;
	for (i = 0; i < out->len; i++) {
		unsigned char c = (unsigned char)out->at[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return READER_FAIL(r, "byte 0x%02x (column %zu) is not allowed", c, i + 1);
	}
	span_trim(out);
	return 1;
}

static int line_include(struct reader *r, struct span line)
{
	static const char word[] = "%include";
	struct err why;
	char *path;
	int ret;

	if (line.len < sizeof(word) || memcmp(line.at, word, sizeof(word) - 1) != 0 ||
	    !isblank((unsigned char)line.at[sizeof(word) - 1]))
		return READER_FAIL(r, "%s", "a line that begins with % must be %include FILE");
	if (r->is_mem)
		return READER_FAIL(r, "%s", "%include is not allowed here");
	if (r->depth > DIALECT_INCLUDE_MAX)
		return READER_FAIL(r, "%%include is nested deeper than %d", DIALECT_INCLUDE_MAX);
	line.at += sizeof(word) - 1;
	line.len -= sizeof(word) - 1;
	span_trim(&line);
	path = strndup(line.at, line.len);
	if (!path)
		return READER_FAIL(r, "%s", "out of memory");
	ret = frame_push_file(r, path, &why);
	if (ret < 0)
		READER_FAIL(r, "%%include: %s", why.text);
	free(path);
	return ret;
}

/* "[name]" exactly. The header travels through libinih too, once the sink has
 * accepted it (so it is one of our short words). */
static int line_section(struct reader *r, struct span line, char *out, size_t cap)
{
	struct dialect_pos pos = reader_pos(r);
	char name[40];
	size_t i, n;

	if (line.len < 3 || line.at[line.len - 1] != ']' ||
	    memchr(line.at, ']', line.len) != line.at + line.len - 1)
		return READER_FAIL(r, "%s", "a section header is [name] with nothing behind it");
	n = line.len - 2;
	for (i = 0; i < n && (isalnum((unsigned char)line.at[i + 1]) || line.at[i + 1] == '_');)
		i++;
	if (i < n)
		return READER_FAIL(r, "%s", "a section name consists of letters, digits and _");
	if (n >= sizeof(name) || n + 4 > cap)
		return READER_FAIL(r, "%s", "unknown section: its name is too long");
	memcpy(name, line.at + 1, n);
	name[n] = '\0';
	if (r->sink->section(r->sink->arg, &pos, name, r->e) < 0)
		return reader_fail(r, -1);
	memcpy(out, line.at, line.len);
	memcpy(out + line.len, "\n", 2);
	return 0;
}

/* Takes the name off the line. 0, or -1 when there is none. */
static int line_name(struct reader *r, struct span *line)
{
	size_t i = 0;

	text_clear(&r->name);
	if (line->at[0] != '\'') {
		while (i < line->len && line->at[i] &&
		       (isalnum((unsigned char)line->at[i]) || strchr("_.*-", line->at[i])))
			i++;
		if (i == 0)
			return READER_FAIL(r, "%s", "expected name = value, [section], %include "
					   "FILE or a comment");
		if (text_add(&r->name, line->at, i) < 0)
			return READER_FAIL(r, "%s", "out of memory");
	} else {
		for (i = 1;; i++) {
			if (i >= line->len)
				return READER_FAIL(r, "%s", "the quote around the name is not closed");
			if (line->at[i] == '\'' && (++i >= line->len || line->at[i] != '\''))
				break;
			if (text_add(&r->name, line->at + i, 1) < 0)
				return READER_FAIL(r, "%s", "out of memory");
		}
		if (r->name.len == 0)
			return READER_FAIL(r, "%s", "an empty name");
	}
	line->at += i;
	line->len -= i;
	return 0;
}

static int line_setting(struct reader *r, struct span line)
{
	if (line_name(r, &line) < 0)
		return -1;
	span_trim(&line);
	if (line.len == 0 || line.at[0] != '=')
		return READER_FAIL(r, "expected = after the name \"%.64s\"%s", r->name.data,
				   line.len > 0 && line.at[0] == ':'
				   ? " (: does not separate name and value)" : "");
	line.at++;
	line.len--;
	span_trim(&line);
	text_clear(&r->value);
	text_clear(&r->joined);
	if (text_add(&r->value, line.at, line.len) < 0 || text_add(&r->joined, "", 0) < 0)
		return READER_FAIL(r, "%s", "out of memory");
	r->given = 0;
	r->is_open = true;
	return 0;
}

/* --- to libinih and back ------------------------------------------------- */

/* Writes the next piece of the open setting. */
static char *piece_out(struct reader *r, char *out, size_t cap, bool is_first)
{
	size_t len = 0, i;

	if (is_first) {
		for (i = 0; i < r->name.len && i < NAME_HEAD; i++)
			out[len++] = guard(r->name.data[i]);
		out[len++] = '=';
	} else {
		out[len++] = ' ';
	}
	/* Behind it: newline and NUL. */
	while (len + 2 < cap && r->given < r->value.len)
		out[len++] = guard(r->value.data[r->given++]);
	out[len++] = '\n';
	out[len] = '\0';
	return out;
}

/* libinih's fgets(). NULL ends the parse: at the end of all files or after a
 * failure. */
static char *piece_next(char *out, int cap_int, void *arg)
{
	struct reader *r = arg;
	size_t cap = cap_int > 0 ? (size_t)cap_int : 0;
	struct span line;
	int ret;

	if (r->is_failed)
		return NULL;
	if (cap < NAME_HEAD * 2) {
		READER_FAIL(r, "the ini library's line buffer is too small (%zu bytes)", cap);
		return NULL;
	}
	if (r->is_open && r->given < r->value.len)
		return piece_out(r, out, cap, false);
	if (r->is_open) {
		READER_FAIL(r, "the ini library dropped \"%.64s\"", r->name.data);
		return NULL;
	}
	while (line_next(r, &line) > 0) {
		if (line.len == 0 || line.at[0] == ';' || line.at[0] == '#')
			continue;
		if (line.at[0] == '%')
			ret = line_include(r, line);
		else if (line.at[0] == '[')
			return line_section(r, line, out, cap) < 0 ? NULL : out;
		else
			return line_setting(r, line) < 0 ? NULL : piece_out(r, out, cap, true);
		if (ret < 0)
			return NULL;
	}
	return NULL;
}

/* libinih's handler: a piece is back. Nonzero is success. */
static int piece_in(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *r = arg;
	struct dialect_pos pos = reader_pos(r);
	char c;

	(void)section;                 /* the sink keeps its own, uncut */
	(void)name;
	if (r->is_failed)
		return 0;
	for (; *value; value++) {
		c = unguard(*value);
		if (text_add(&r->joined, &c, 1) < 0) {
			READER_FAIL(r, "%s", "out of memory");
			return 0;
		}
	}
	if (!r->is_open || r->joined.len != r->given ||
	    memcmp(r->joined.data, r->value.data, r->given) != 0) {
		READER_FAIL(r, "%s", "the ini library changed this line");
		return 0;
	}
	if (r->given < r->value.len)
		return 1;
	r->is_open = false;
	if (r->sink->setting(r->sink->arg, &pos, r->name.data, r->value.data, r->e) < 0)
		return reader_fail(r, 0);
	return 1;
}

/* Reads what has been pushed and takes everything down again. */
static int reader_run(struct reader *r)
{
	int rc = ini_parse_stream(piece_next, r, piece_in, r);

	/* Our own reader has checked every line, so this cannot speak of one. */
	if (rc != 0 && !r->is_failed)
		READER_FAIL(r, "the ini library failed (%d)", rc);
	else if (r->is_open && !r->is_failed)
		READER_FAIL(r, "the ini library dropped \"%.64s\"", r->name.data);
	while (r->depth > 0)
		frame_pop(r);
	text_free(&r->name);
	text_free(&r->value);
	text_free(&r->joined);
	return r->is_failed ? -1 : 0;
}

int dialect_read_file(const char *path, const struct dialect_sink *sink, struct err *e)
{
	struct reader r = {.sink = sink, .e = e};

	if (frame_push_file(&r, path, e) < 0)
		return -1;
	return reader_run(&r);
}

int dialect_read_mem(const char *name, const char *text, size_t len,
		     const struct dialect_sink *sink, struct err *e)
{
	struct reader r = {.sink = sink, .e = e, .is_mem = true};

	if (frame_push(&r, name, text, len, e) < 0)
		return -1;
	return reader_run(&r);
}
