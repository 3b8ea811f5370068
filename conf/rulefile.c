/* conf/rulefile.c - see rulefile.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/rulefile.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/text.h"

#define PATH_LONGEST 4096

struct reader {
	struct rulefile *f;
	bool is_mem;
	size_t bytes, files, lines, words;
	struct err *e;
};

/* Where the reader is. */
struct place {
	const char *file;
	int line;
	int depth;
};

#define FAIL(r, p, fmt, ...)                                                                       \
	err_set((r)->e, "%s:%d: " fmt, (p)->file, (p)->line, __VA_ARGS__)

static int read_into(struct reader *r, const struct place *from, const char *path,
		     struct rule_lines *into);

/* --- memory ------------------------------------------------------------------ */

static void column_free(struct rule_column *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		free(c->words[i].text);
	free(c->words);
	*c = (struct rule_column){0};
}

static void line_free(struct rule_line *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		column_free(&l->columns[i]);
	free(l->columns);
	*l = (struct rule_line){0};
}

static void lines_free(struct rule_lines *lines)
{
	size_t i;

	for (i = 0; i < lines->n; i++)
		line_free(&lines->at[i]);
	free(lines->at);
	*lines = (struct rule_lines){0};
}

void rulefile_free(struct rulefile *f)
{
	size_t i;

	lines_free(&f->lines);
	for (i = 0; i < f->file_n; i++)
		free(f->files[i]);
	free(f->files);
	*f = (struct rulefile){0};
}

char **rulefile_take_files(struct rulefile *f, size_t *n)
{
	char **files = f->files;

	*n = f->file_n;
	f->files = NULL;
	f->file_n = f->file_cap = 0;
	return files;
}

static const char *keep_file(struct reader *r, const char *path)
{
	struct rulefile *f = r->f;
	char **files = text_grow(f->files, &f->file_cap, f->file_n, sizeof(*files));

	if (!files)
		return NULL;
	f->files = files;
	files[f->file_n] = strdup(path);
	return files[f->file_n] ? files[f->file_n++] : NULL;
}

/* Takes text over in any case. */
static int add_word(struct rule_column *c, char *text, bool is_quoted)
{
	struct rule_word *words = text ? text_grow(c->words, &c->cap, c->n, sizeof(*words)) : NULL;

	if (!words) {
		free(text);
		return -1;
	}
	c->words = words;
	words[c->n++] = (struct rule_word){.text = text, .is_quoted = is_quoted};
	return 0;
}

/* Takes the column over in any case. */
static int add_column(struct rule_line *l, struct rule_column *c)
{
	struct rule_column *columns = text_grow(l->columns, &l->cap, l->n, sizeof(*columns));

	if (!columns) {
		column_free(c);
		return -1;
	}
	l->columns = columns;
	columns[l->n++] = *c;
	return 0;
}

/* --- other files -------------------------------------------------------------- */

/* NULL: too long. */
static const char *beside(const char *file, const char *name, char *out, size_t cap)
{
	const char *slash = strrchr(file, '/');
	int n;

	if (*name == '/' || !slash)
		n = snprintf(out, cap, "%s", name);
	else
		n = snprintf(out, cap, "%.*s/%s", (int)(slash - file), file, name);
	return n < 0 || (size_t)n >= cap ? NULL : out;
}

static int other_file(struct reader *r, const struct place *p, const char *name, bool may_miss,
		      struct rule_lines *into)
{
	char path[PATH_LONGEST];

	if (r->is_mem)
		return FAIL(r, p, "other files are not allowed here (\"%.100s\")", name);
	if (!*name || !beside(p->file, name, path, sizeof(path)))
		return FAIL(r, p, "\"%.100s\" is no name of a file", name);
	if (may_miss && access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	return read_into(r, p, path, into);
}

static int is_conf(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int dir_entry(struct reader *r, const struct place *p, const char *dir, const char *name,
		     struct rule_lines *into)
{
	char path[PATH_LONGEST];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return FAIL(r, p, "a path in \"%.100s\" is too long", dir);
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return read_into(r, p, path, into);
}

static int other_dir(struct reader *r, const struct place *p, const char *name,
		     struct rule_lines *into)
{
	struct dirent **list = NULL;
	char dir[PATH_LONGEST];
	int n, i, ret = 0;

	if (r->is_mem)
		return FAIL(r, p, "other files are not allowed here (\"%.100s\")", name);
	if (!name[strspn(name, " \t\r")] || !beside(p->file, name, dir, sizeof(dir)))
		return FAIL(r, p, "\"%.100s\" is no name of a directory", name);
	n = scandir(dir, &list, is_conf, by_name);
	if (n < 0)
		return FAIL(r, p, "cannot read the directory \"%.200s\": %s", dir, strerror(errno));
	for (i = 0; i < n; i++) {
		if (ret == 0)
			ret = dir_entry(r, p, dir, list[i]->d_name, into);
		free(list[i]);
	}
	free(list);
	return ret;
}

/* @FILE: all its words, whatever line and column they stand in. */
static int words_of_file(struct reader *r, const struct place *p, const char *name,
			 struct rule_column *c)
{
	struct rule_lines lines = {0};
	int ret = other_file(r, p, name, false, &lines);
	size_t i, j, k;

	for (i = 0; ret == 0 && i < lines.n; i++) {
		for (j = 0; ret == 0 && j < lines.at[i].n; j++) {
			struct rule_column *from = &lines.at[i].columns[j];

			for (k = 0; ret == 0 && k < from->n; k++) {
				if (add_word(c, from->words[k].text, from->words[k].is_quoted) < 0)
					ret = err_set(r->e, "out of memory");
				from->words[k].text = NULL;
			}
		}
	}
	lines_free(&lines);
	return ret;
}

/* --- one line ------------------------------------------------------------------ */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* What is left of the line. */
struct rest {
	const char *at, *end;
};

struct word {
	bool is_quoted;
	bool has_more;                 /* a comma behind it: the column goes on */
};

/* 1: a word, 0: the line is at its end, -1: wrong. */
static int take_word(struct reader *r, const struct place *p, struct rest *s, struct text_buf *out,
		     struct word *w)
{
	const char *at = s->at;
	bool in_quote = false, saw_quote = false;

	text_clear(out);
	*w = (struct word){0};
	while (at < s->end && (is_blank(*at) || *at == ','))
		at++;
	for (; at < s->end && (in_quote || (!is_blank(*at) && *at != ',')); at++) {
		if (*at == '#' && !in_quote) {
			at = s->end;
			break;
		}
		if (*at == '"' && (!in_quote || at + 1 == s->end || at[1] != '"')) {
			w->is_quoted = w->is_quoted || (!in_quote && out->len == 0);
			in_quote = !in_quote;
			saw_quote = true;
			continue;
		}
		at += *at == '"';
		if (text_add(out, at, 1) < 0)
			return err_set(r->e, "out of memory");
	}
	if (in_quote)
		return FAIL(r, p, "%s", "a double quote is not closed");
	w->has_more = at < s->end && *at == ',';
	s->at = at;
	if (!saw_quote && out->len == 0)
		return 0;
	return text_add(out, "", 0) < 0 ? err_set(r->e, "out of memory") : 1;
}

/* 1: a column, 0: the line is at its end, -1: wrong. */
static int take_column(struct reader *r, const struct place *p, struct rest *s,
		       struct text_buf *buf, struct rule_column *c)
{
	struct word w;
	int got, n = 0;

	do {
		got = take_word(r, p, s, buf, &w);
		if (got <= 0)
			break;
		n++;
		if (++r->words > RULEFILE_WORDS_MAX)
			return FAIL(r, p, "more than %u words, with all files that are included",
				    RULEFILE_WORDS_MAX);
		if (!w.is_quoted && buf->len > 1 && buf->data[0] == '@') {
			if (words_of_file(r, p, buf->data + 1, c) < 0)
				return -1;
		} else if (add_word(c, strdup(buf->data), w.is_quoted) < 0) {
			return err_set(r->e, "out of memory");
		}
	} while (w.has_more);
	if (got < 0)
		return -1;
	if (n > 0 && c->n == 0)
		return FAIL(r, p, "%s", "there is no word in the files of a column that has only "
					"@files; write one that is no name, \"\", for none");
	return n > 0;
}

static int take_columns(struct reader *r, const struct place *p, const struct text_buf *text,
			struct rule_line *l)
{
	struct rest s = {.at = text->data, .end = text->data + text->len};
	struct text_buf buf = {0};
	struct rule_column c;
	int got;

	do {
		c = (struct rule_column){0};
		got = take_column(r, p, &s, &buf, &c);
		if (got > 0 && add_column(l, &c) < 0)
			got = err_set(r->e, "out of memory");
		else if (got <= 0)
			column_free(&c);
	} while (got > 0);
	text_free(&buf);
	return got;
}

const struct rule_word *rule_single(const struct rule_line *l, size_t column, const char *what,
				    struct err *e)
{
	if (column >= l->n) {
		err_set(e, "the line ends where %s should be", what);
		return NULL;
	}
	if (l->columns[column].n != 1) {
		err_set(e, "exactly one word is expected for %s, here are %zu", what,
			l->columns[column].n);
		return NULL;
	}
	return &l->columns[column].words[0];
}

enum directive { NO_DIRECTIVE = 0, INCLUDE, INCLUDE_IF_EXISTS, INCLUDE_DIR };

static enum directive directive_of(const struct rule_line *l)
{
	const char *word = l->columns[0].words[0].text;

	if (l->n != 2)
		return NO_DIRECTIVE;
	if (strcmp(word, "include") == 0)
		return INCLUDE;
	if (strcmp(word, "include_if_exists") == 0)
		return INCLUDE_IF_EXISTS;
	return strcmp(word, "include_dir") == 0 ? INCLUDE_DIR : NO_DIRECTIVE;
}

static int follow(struct reader *r, const struct place *p, const struct rule_line *l,
		  struct rule_lines *into)
{
	enum directive d = directive_of(l);
	const struct rule_word *w;
	struct err why;

	w = rule_single(l, 0, "include", &why);
	if (w)
		w = rule_single(l, 1, d == INCLUDE_DIR ? "the directory" : "the file", &why);
	if (!w)
		return FAIL(r, p, "%s", why.text);
	if (d == INCLUDE_DIR)
		return other_dir(r, p, w->text, into);
	return other_file(r, p, w->text, d == INCLUDE_IF_EXISTS, into);
}

/* A whole line, its continuations joined to it. */
static int take_line(struct reader *r, const struct place *p, const struct text_buf *text,
		     struct rule_lines *into)
{
	struct rule_line l = {.file = p->file, .line = p->line}, *lines;
	int ret = 0;

	if (text->len == 0)
		return 0;
	if (memchr(text->data, '\0', text->len))
		return FAIL(r, p, "%s", "a NUL byte is not allowed");
	ret = take_columns(r, p, text, &l);
	if (ret < 0 || l.n == 0 || directive_of(&l) != NO_DIRECTIVE) {
		if (ret == 0 && l.n > 0)
			ret = follow(r, p, &l, into);
		line_free(&l);
		return ret;
	}
	lines = text_grow(into->at, &into->cap, into->n, sizeof(*lines));
	if (!lines || ++r->lines > RULEFILE_LINES_MAX) {
		line_free(&l);
		if (!lines)
			return err_set(r->e, "out of memory");
		into->at = lines;
		return FAIL(r, p, "more than %u rules, with all files that are included",
			    RULEFILE_LINES_MAX);
	}
	into->at = lines;
	lines[into->n++] = l;
	return 0;
}

/* --- one file ------------------------------------------------------------------ */

/* One line of the file; true when the next one belongs to it. */
static bool join(struct text_buf *whole, const char *line, size_t n, bool *no_memory)
{
	bool goes_on;

	while (n > 0 && line[n - 1] == '\r')
		n--;
	goes_on = n > 0 && line[n - 1] == '\\';
	*no_memory = text_add(whole, line, n - goes_on) < 0;
	return goes_on && !*no_memory;
}

static int read_text(struct reader *r, const struct place *at, const char *text, size_t len,
		     struct rule_lines *into)
{
	const char *s = text, *end = text + len, *eol;
	struct text_buf whole = {0};
	struct place p = *at;
	int ret = 0, next = 1;
	bool no_memory = false;

	while (ret == 0 && s < end) {
		bool goes_on = true;

		text_clear(&whole);
		for (p.line = next; goes_on && s < end; next++) {
			eol = memchr(s, '\n', (size_t)(end - s));
			eol = eol ? eol : end;
			goes_on = join(&whole, s, (size_t)(eol - s), &no_memory);
			s = eol < end ? eol + 1 : end;
		}
		ret = no_memory ? err_set(r->e, "out of memory") : take_line(r, &p, &whole, into);
	}
	text_free(&whole);
	return ret;
}

/* from: the line that names the file, NULL for the first one. */
static int read_into(struct reader *r, const struct place *from, const char *path,
		     struct rule_lines *into)
{
	struct place p = {.depth = from ? from->depth + 1 : 0};
	char where[300] = "";
	struct text_buf text = {0};
	struct stat st;
	struct err why;
	int ret;

	if (from)
		snprintf(where, sizeof(where), "%s:%d: ", from->file, from->line);
	if (p.depth > RULEFILE_DEPTH_MAX)
		return err_set(r->e, "%sfiles are nested deeper than %d (\"%.200s\")", where,
			       RULEFILE_DEPTH_MAX, path);
	if (++r->files > RULEFILE_FILES_MAX)
		return err_set(r->e, "%smore than %u files", where, RULEFILE_FILES_MAX);
	if (stat(path, &st) == 0 && st.st_size > (off_t)(RULEFILE_BYTES_MAX - r->bytes))
		return err_set(r->e, "%s\"%.200s\": more than %u bytes, with all files that are "
				     "included", where, path, RULEFILE_BYTES_MAX);
	if (text_slurp(path, &text, &why) < 0)
		return err_set(r->e, "%s%s", where, why.text);
	p.file = keep_file(r, path);
	ret = p.file ? 0 : err_set(r->e, "out of memory");
	if (ret == 0 && text.len > RULEFILE_BYTES_MAX - r->bytes)
		ret = err_set(r->e, "%s\"%.200s\": it grew while it was read", where, path);
	if (ret == 0) {
		r->bytes += text.len;
		ret = read_text(r, &p, text.data, text.len, into);
	}
	text_free(&text);
	return ret;
}

int rulefile_read(const char *path, struct rulefile *out, struct err *e)
{
	struct reader r = {.f = out, .e = e};

	*out = (struct rulefile){0};
	if (read_into(&r, NULL, path, &out->lines) == 0)
		return 0;
	rulefile_free(out);
	return -1;
}

int rulefile_read_mem(const char *name, const char *text, size_t len, struct rulefile *out,
		      struct err *e)
{
	struct reader r = {.f = out, .e = e, .is_mem = true};
	struct place p = {0};

	*out = (struct rulefile){0};
	p.file = keep_file(&r, name);
	if (!p.file || len > RULEFILE_BYTES_MAX) {
		err_set(e, p.file ? "%s: it is too long" : "out of memory", name);
	} else if (read_text(&r, &p, text, len, &out->lines) == 0) {
		return 0;
	}
	rulefile_free(out);
	return -1;
}
