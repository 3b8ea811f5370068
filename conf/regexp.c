/* conf/regexp.c - see regexp.h.
 *
 * The text becomes a program (Thompson's construction), its jumps relative, so that a
 * part can be moved and copied. All ways through it are followed side by side, one
 * byte of the name at a time, each place of the program at most once for each byte.
 * Of two ways to one place the first counts: the one that repeats more, or has taken
 * the earlier alternative.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/regexp.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BOUND_MAX 255u
#define NO_BOUND 0u                    /* as the upper one */
#define SETS_MAX 128u                  /* more than a text can hold: [x] has three bytes */
#define SET_BYTES 32u

enum op {
	OP_CHAR = 0,                   /* this byte */
	OP_ANY,
	OP_SET,                        /* a byte of this set */
	OP_BEGIN,                      /* ^ */
	OP_END,                        /* $ */
	OP_JUMP,
	OP_SPLIT,                      /* goes on, or else jumps */
	OP_AGAIN,                      /* jumps, or else goes on */
	OP_OPEN,                       /* the first group */
	OP_CLOSE,
	OP_MATCH
};

struct step {
	uint8_t op;
	uint8_t arg;                   /* the byte, the set */
	int16_t jump;
};

struct regexp {
	enum regexp_group group;
	unsigned n;
	struct step *steps;
	uint8_t (*sets)[SET_BYTES];
};

/* --- making --------------------------------------------------------------------- */

struct maker {
	const char *at;                /* what is still to be read */
	unsigned n, set_n, depth;
	enum regexp_group group;
	bool is_full;
	struct step steps[REGEXP_STEPS_MAX + 1];
	uint8_t sets[SETS_MAX][SET_BYTES];
};

static const char *take_alternatives(struct maker *m);

static void emit(struct maker *m, enum op op, uint8_t arg, int jump)
{
	if (m->n == REGEXP_STEPS_MAX) {
		m->is_full = true;
		return;
	}
	m->steps[m->n++] = (struct step){.op = (uint8_t)op, .arg = arg, .jump = (int16_t)jump};
}

/* A step in front of what begins at `at`. */
static void put_before(struct maker *m, unsigned at, enum op op, int jump)
{
	unsigned n = m->n;

	emit(m, op, 0, jump);
	if (m->n == n)
		return;
	memmove(&m->steps[at + 1], &m->steps[at], (n - at) * sizeof(*m->steps));
	m->steps[at] = (struct step){.op = (uint8_t)op, .jump = (int16_t)jump};
}

static void copy(struct maker *m, unsigned at, unsigned len)
{
	unsigned i;

	for (i = 0; i < len && !m->is_full; i++)
		emit(m, (enum op)m->steps[at + i].op, m->steps[at + i].arg, m->steps[at + i].jump);
}

/* What begins at `at` and is written once so far: min to max times. */
static void repeat(struct maker *m, unsigned at, unsigned min, unsigned max)
{
	unsigned len = m->n - at, i;

	for (i = 1; i < min; i++)
		copy(m, at, len);
	if (max == NO_BOUND && min == 0) {
		put_before(m, at, OP_SPLIT, (int)len + 2);
		emit(m, OP_JUMP, 0, -(int)len - 1);
		return;
	}
	if (max == NO_BOUND) {
		emit(m, OP_AGAIN, 0, -(int)len);
		return;
	}
	if (min == 0) {
		put_before(m, at++, OP_SPLIT, (int)len + 1);
		min = 1;
	}
	for (i = min; i < max; i++) {
		emit(m, OP_SPLIT, 0, (int)len + 1);
		copy(m, at, len);
	}
}

static bool number(const char **s, unsigned *n)
{
	const char *p = *s;

	*n = 0;
	while (isdigit((unsigned char)*p) && *n <= BOUND_MAX)
		*n = *n * 10 + (unsigned)(*p++ - '0');
	if (p == *s || *n > BOUND_MAX)
		return false;
	*s = p;
	return true;
}

/* Behind the opening brace. NULL, or what is wrong. */
static const char *take_bound(struct maker *m, unsigned *min, unsigned *max)
{
	if (!number(&m->at, min))
		return "{ must be followed by a number from 0 to 255; for the character write \\{";
	*max = *min;
	if (*m->at == ',') {
		m->at++;
		*max = NO_BOUND;
		if (*m->at == '}') {
			m->at++;
			return NULL;
		}
		if (!number(&m->at, max))
			return "{n,m} must have numbers from 0 to 255";
	}
	if (*m->at++ != '}')
		return "{ is not closed";
	return *max < *min || *max == 0 ? "{n,m} must be at least once, and m not less than n" :
					  NULL;
}

static bool is_repeat(char c)
{
	return c == '*' || c == '+' || c == '?' || c == '{';
}

/* What may stand behind the part that begins at `at`. */
static const char *take_repeat(struct maker *m, unsigned at)
{
	unsigned min = 0, max = NO_BOUND;
	const char *wrong = NULL;
	char c = *m->at;

	if (!is_repeat(c))
		return NULL;
	m->at++;
	if (c == '+')
		min = 1;
	else if (c == '?')
		max = 1;
	else if (c == '{')
		wrong = take_bound(m, &min, &max);
	if (wrong)
		return wrong;
	repeat(m, at, min, max);
	return is_repeat(*m->at) ? "* + ? and {} cannot follow each other" : NULL;
}

/* --- sets of bytes -------------------------------------------------------------- */

static void set_add(uint8_t *set, unsigned from, unsigned to)
{
	for (; from <= to; from++)
		set[from / 8] |= (uint8_t)(1u << from % 8);
}

static bool set_has(const uint8_t *set, uint8_t c)
{
	return set[c / 8] >> c % 8 & 1;
}

static void set_invert(uint8_t *set)
{
	unsigned i;

	for (i = 0; i < SET_BYTES; i++)
		set[i] = (uint8_t)~set[i];
}

static void set_class(uint8_t *set, int (*is)(int))
{
	unsigned c;

	for (c = 0; c < 128; c++)
		if (is((int)c))
			set_add(set, c, c);
}

/* Adds what \d, \w, \s (or in capitals) stand for; false: there is no such. */
static bool set_escape(uint8_t *set, char letter)
{
	switch (tolower((unsigned char)letter)) {
	case 'd':
		set_class(set, isdigit);
		return true;
	case 'w':
		set_class(set, isalnum);
		set_add(set, '_', '_');
		return true;
	case 's':
		set_class(set, isspace);
		return true;
	default:
		return false;
	}
}

/* At [:, behind it later. */
static const char *take_class(struct maker *m, uint8_t *set)
{
	static const struct {
		const char *name;
		int (*is)(int);
	} classes[] = {
		{"alnum:]", isalnum}, {"alpha:]", isalpha}, {"blank:]", isblank},
		{"cntrl:]", iscntrl}, {"digit:]", isdigit}, {"graph:]", isgraph},
		{"lower:]", islower}, {"print:]", isprint}, {"punct:]", ispunct},
		{"space:]", isspace}, {"upper:]", isupper}, {"xdigit:]", isxdigit},
	};
	size_t i, n;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		n = strlen(classes[i].name);
		if (strncmp(m->at + 2, classes[i].name, n) == 0) {
			set_class(set, classes[i].is);
			m->at += 2 + n;
			return NULL;
		}
	}
	return "[: must be followed by alnum, alpha, blank, cntrl, digit, graph, lower, print, "
	       "punct, space, upper or xdigit, and :]";
}

/* One end of a range, or a character by itself. */
static const char *take_member(struct maker *m, unsigned *c)
{
	if (m->at[0] == '[' && (m->at[1] == '.' || m->at[1] == '=' || m->at[1] == ':'))
		return "[. and [= are not known, and [: is no end of a range";
	if (*m->at == '\\') {
		m->at++;
		if (!ispunct((unsigned char)*m->at))
			return "\\ in [...] may stand before d, w, s and punctuation; a range has "
			       "characters at its ends";
	}
	if (!isascii(*m->at))
		return "letters beyond ASCII cannot stand in [...]";
	*c = (unsigned char)*m->at++;
	return NULL;
}

static bool at_range(const struct maker *m)
{
	return m->at[0] == '-' && m->at[1] && m->at[1] != ']';
}

/* A member, a range, a class, an escape. */
static const char *take_item(struct maker *m, uint8_t *set)
{
	unsigned from = 0, to;
	const char *wrong;

	if (m->at[0] == '[' && m->at[1] == ':') {
		wrong = take_class(m, set);
		if (wrong)
			return wrong;
		return at_range(m) ? "a range has characters at its ends" : NULL;
	}
	if (m->at[0] == '\\' && islower((unsigned char)m->at[1]) && set_escape(set, m->at[1])) {
		m->at += 2;
		return at_range(m) ? "a range has characters at its ends" : NULL;
	}
	wrong = take_member(m, &from);
	if (wrong)
		return wrong;
	to = from;
	if (at_range(m)) {
		m->at++;
		wrong = take_member(m, &to);
		if (wrong)
			return wrong;
		if (to < from || at_range(m))
			return "a range goes from a lower character to a higher one";
	}
	set_add(set, from, to);
	return NULL;
}

/* Behind the opening bracket. */
static const char *take_bracket(struct maker *m)
{
	uint8_t *set = m->sets[m->set_n];
	bool is_not = *m->at == '^';
	const char *first, *wrong = NULL;

	m->at += is_not;
	for (first = m->at; *m->at && (*m->at != ']' || m->at == first) && !wrong;)
		wrong = take_item(m, set);
	if (wrong)
		return wrong;
	if (!*m->at)
		return "[ is not closed";
	m->at++;
	if (is_not)
		set_invert(set);
	emit(m, OP_SET, (uint8_t)m->set_n++, 0);
	return NULL;
}

/* --- parts ---------------------------------------------------------------------- */

/* Behind a backslash. */
static const char *take_escape(struct maker *m)
{
	unsigned char c = (unsigned char)*m->at;

	if (!c)
		return "it ends with a backslash";
	m->at++;
	if (set_escape(m->sets[m->set_n], (char)c)) {
		if (isupper(c))
			set_invert(m->sets[m->set_n]);
		emit(m, OP_SET, (uint8_t)m->set_n++, 0);
	} else if (isalnum(c) || !isascii(c)) {
		return "\\ may stand before d, w, s, D, W, S, and what is neither letter nor "
		       "digit";
	} else {
		emit(m, OP_CHAR, c, 0);
	}
	return NULL;
}

/* Behind the opening one. */
static const char *take_group(struct maker *m)
{
	bool is_first = m->group == REGEXP_NO_GROUP;
	const char *wrong;

	if (*m->at == '?')
		return "(? is not known";
	if (m->depth == REGEXP_DEPTH_MAX)
		return "groups are nested too deep";
	m->depth++;
	if (is_first) {
		m->group = REGEXP_GROUP;
		emit(m, OP_OPEN, 0, 0);
	}
	wrong = take_alternatives(m);
	if (wrong)
		return wrong;
	if (*m->at != ')')
		return "( is not closed";
	m->at++;
	m->depth--;
	if (is_first)
		emit(m, OP_CLOSE, 0, 0);
	if (is_first && is_repeat(*m->at) && *m->at != '?')
		m->group = REGEXP_GROUP_REPEATED;
	return NULL;
}

/* One part, with what repeats it. */
static const char *take_part(struct maker *m)
{
	unsigned at = m->n;
	const char *wrong = NULL;
	char c = *m->at++;

	switch (c) {
	case '(':
		wrong = take_group(m);
		break;
	case '[':
		wrong = take_bracket(m);
		break;
	case '\\':
		wrong = take_escape(m);
		break;
	case '.':
		emit(m, OP_ANY, 0, 0);
		break;
	case '^':
	case '$':
		emit(m, c == '^' ? OP_BEGIN : OP_END, 0, 0);
		return is_repeat(*m->at) ? "* + ? and {} cannot stand behind ^ or $" : NULL;
	case '*':
	case '+':
	case '?':
	case '{':
		return "* + ? and {} must stand behind a character, a group or [...]";
	default:
		emit(m, OP_CHAR, (uint8_t)c, 0);
		if (!isascii(c) && is_repeat(*m->at))
			return "* + ? and {} cannot stand behind a letter beyond ASCII";
		break;
	}
	return wrong ? wrong : take_repeat(m, at);
}

static const char *take_parts(struct maker *m)
{
	const char *wrong = NULL;

	while (!wrong && *m->at && *m->at != '|' && *m->at != ')')
		wrong = take_part(m);
	return wrong;
}

static const char *take_alternatives(struct maker *m)
{
	unsigned at = m->n, jump;
	const char *wrong = take_parts(m);

	while (!wrong && *m->at == '|') {
		m->at++;
		put_before(m, at, OP_SPLIT, (int)(m->n - at) + 2);
		jump = m->n;
		emit(m, OP_JUMP, 0, 0);
		wrong = take_parts(m);
		m->steps[jump].jump = (int16_t)(m->n - jump);
	}
	return wrong;
}

static const char *take_all(struct maker *m)
{
	const char *wrong = take_alternatives(m);

	if (wrong)
		return wrong;
	if (*m->at == ')')
		return ") has no (; for the character write \\)";
	emit(m, OP_MATCH, 0, 0);
	return m->is_full ? "its repetitions are too many" : NULL;
}

static struct regexp *freeze(const struct maker *m)
{
	struct regexp *re = calloc(1, sizeof(*re));

	if (!re)
		return NULL;
	re->group = m->group;
	re->n = m->n;
	re->steps = malloc(m->n * sizeof(*re->steps));
	re->sets = malloc((m->set_n + 1) * sizeof(*re->sets));
	if (!re->steps || !re->sets) {
		regexp_free(re);
		return NULL;
	}
	memcpy(re->steps, m->steps, m->n * sizeof(*re->steps));
	memcpy(re->sets, m->sets, m->set_n * sizeof(*re->sets));
	return re;
}

int regexp_make(const char *text, struct regexp **out, struct err *e)
{
	struct maker m = {.at = text};
	const char *wrong;

	*out = NULL;
	if (strlen(text) > REGEXP_TEXT_MAX)
		return err_set(e, "the regular expression \"%.40s...\" is longer than %d bytes",
			       text, REGEXP_TEXT_MAX);
	wrong = take_all(&m);
	if (wrong)
		return err_set(e, "the regular expression \"%s\" is not understood: %s", text,
			       wrong);
	*out = freeze(&m);
	return *out ? 0 : err_set(e, "out of memory");
}

void regexp_free(struct regexp *re)
{
	if (!re)
		return;
	free(re->steps);
	free(re->sets);
	free(re);
}

enum regexp_group regexp_group(const struct regexp *re)
{
	return re->group;
}

/* --- matching ------------------------------------------------------------------- */

/* One way through the program. */
struct way {
	uint16_t at;                   /* its step */
	int16_t begin;                 /* where in the name it began */
	int16_t open, from, to;        /* the first group: now, and when it was last closed */
};

struct ways {
	unsigned n;
	struct way w[REGEXP_STEPS_MAX];
};

struct run {
	const struct regexp *re;
	const uint8_t *name;
	int len, pos;
	uint16_t seen[REGEXP_STEPS_MAX]; /* the position + 1 where the step was last come to */
	struct way todo[REGEXP_STEPS_MAX];
	bool is_found;
	int end;                       /* of the best match so far */
	struct way best;
};

static void found(struct run *r, const struct way *w)
{
	if (r->is_found && (w->begin > r->best.begin ||
			    (w->begin == r->best.begin && r->pos <= r->end)))
		return;
	r->is_found = true;
	r->best = *w;
	r->end = r->pos;
}

/* The next step of a way that takes no byte; false: it takes one, or ends. n: of what is
 * still to do, ways that come after this one. */
static bool advance(struct run *r, struct way *w, unsigned *n)
{
	const struct step *s = &r->re->steps[w->at];

	switch ((enum op)s->op) {
	case OP_JUMP:
		w->at = (uint16_t)(w->at + s->jump);
		return true;
	case OP_SPLIT:
	case OP_AGAIN:
		r->todo[*n] = *w;
		r->todo[(*n)++].at = (uint16_t)(w->at + (s->op == OP_SPLIT ? s->jump : 1));
		w->at = (uint16_t)(w->at + (s->op == OP_SPLIT ? 1 : s->jump));
		return true;
	case OP_OPEN:
		w->open = (int16_t)r->pos;
		break;
	case OP_CLOSE:
		w->from = w->open;
		w->to = (int16_t)r->pos;
		break;
	case OP_BEGIN:
		if (r->pos > 0)
			return false;
		break;
	case OP_END:
		if (r->pos < r->len)
			return false;
		break;
	case OP_MATCH:
		found(r, w);
		return false;
	case OP_CHAR:
	case OP_ANY:
	case OP_SET:
	default:
		return false;
	}
	w->at++;
	return true;
}

static bool takes_byte(const struct step *s)
{
	return s->op == OP_CHAR || s->op == OP_ANY || s->op == OP_SET;
}

/* Follows a way to all steps at this position that take a byte. Each step is come to
 * once, so todo has room: a step adds one at most. */
static void follow(struct run *r, struct ways *list, struct way from)
{
	unsigned n = 0;
	struct way w;

	r->todo[n++] = from;
	while (n > 0) {
		w = r->todo[--n];
		while (r->seen[w.at] != r->pos + 1) {
			r->seen[w.at] = (uint16_t)(r->pos + 1);
			if (!advance(r, &w, &n)) {
				if (takes_byte(&r->re->steps[w.at]))
					list->w[list->n++] = w;
				break;
			}
		}
	}
}

static bool fits(const struct regexp *re, const struct step *s, uint8_t c)
{
	return s->op == OP_ANY || (s->op == OP_CHAR && s->arg == c) ||
	       (s->op == OP_SET && set_has(re->sets[s->arg], c));
}

/* All ways take the byte at pos, or end there. */
static void take_byte(struct run *r, const struct ways *now, struct ways *next)
{
	uint8_t c = r->name[r->pos++];
	unsigned i;

	next->n = 0;
	for (i = 0; i < now->n; i++) {
		struct way w = now->w[i];

		if (!fits(r->re, &r->re->steps[w.at], c))
			continue;
		w.at++;
		follow(r, next, w);
	}
}

bool regexp_try(const struct regexp *re, const char *name, struct regexp_span *group)
{
	struct run r = {.re = re, .name = (const uint8_t *)name};
	struct ways list[2], *now = &list[0], *next = &list[1], *swap;
	size_t len = strnlen(name, REGEXP_NAME_MAX + 1);

	if (group)
		*group = (struct regexp_span){.from = -1, .to = -1};
	if (len > REGEXP_NAME_MAX)
		return false;
	r.len = (int)len;
	now->n = 0;
	for (;;) {
		/* The later a match begins the less it counts, so a new one comes last. */
		if (!r.is_found)
			follow(&r, now, (struct way){.begin = (int16_t)r.pos, .from = -1, .to = -1});
		if ((r.is_found && (!group || now->n == 0)) || r.pos == r.len)
			break;
		take_byte(&r, now, next);
		swap = now;
		now = next;
		next = swap;
	}
	if (group && r.is_found)
		*group = (struct regexp_span){.from = r.best.from, .to = r.best.to};
	return r.is_found;
}
