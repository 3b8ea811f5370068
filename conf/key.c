/* conf/key.c - see key.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/key.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/spell.h"
#include "conf/text.h"

#define STRUCT_GLOBAL struct conf_global
#define STRUCT_DB struct conf_db_keys
#define STRUCT_USER struct conf_user_keys
#define STRUCT_PEER struct conf_peer_keys
#define IS_RELOAD true
#define IS_START false

static const struct key rows[] = {
#define KEY(scope_, type_, name_, def_, min_, max_, when_, help_)                                  \
	{                                                                                          \
		.scope = KEY_##scope_,                                                             \
		.type = KEY_##type_,                                                               \
		.name = #name_,                                                                    \
		.def = def_,                                                                       \
		.min = (double)(min_),                                                             \
		.max = (double)(max_),                                                             \
		.is_reloadable = IS_##when_,                                                       \
		.help = help_,                                                                     \
		.offset = offsetof(STRUCT_##scope_, name_),                                        \
	},
#include "conf/keys.def"
};

#define ROW_N (sizeof(rows) / sizeof(rows[0]))

struct word {
	enum key_type type;
	int64_t value;
	const char *text;
};

#define KEY(scope_, type_, name_, def_, min_, max_, when_, help_)
#define WORD(type_, value_, text_) {KEY_##type_, value_, text_},
static const struct word words[] = {
#include "conf/keys.def"
};

#define WORD_N (sizeof(words) / sizeof(words[0]))

const struct key *key_row(size_t i)
{
	return i < ROW_N ? &rows[i] : NULL;
}

size_t key_index(const struct key *k)
{
	return (size_t)(k - rows);
}

size_t key_count(void)
{
	return ROW_N;
}

const struct key *key_find(enum key_scope scope, const char *name)
{
	size_t i;

	for (i = 0; i < ROW_N; i++)
		if (rows[i].scope == scope && strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

bool key_is_secret(const struct key *k)
{
	size_t n = strlen(k->name), w = strlen("password");

	return n >= w && strcmp(k->name + n - w, "password") == 0;
}

const char *key_hint(enum key_scope scope, const char *name, char *out, size_t cap)
{
	struct spell s;
	size_t i;

	spell_start(&s, name);
	for (i = 0; i < ROW_N; i++)
		if (rows[i].scope == scope)
			spell_try(&s, rows[i].name);
	return spell_hint(&s, out, cap);
}

const char *key_words(enum key_type type, char *out, size_t cap)
{
	size_t i, len = 0;
	int n;

	snprintf(out, cap, "%s", "");
	for (i = 0; i < WORD_N; i++) {
		if (words[i].type != type)
			continue;
		n = snprintf(out + len, cap - len, "%s%s", len ? ", " : "", words[i].text);
		if (n < 0 || (size_t)n >= cap - len)
			break;
		len += (size_t)n;
	}
	return out;
}

/* --- numbers with units --------------------------------------------------- */

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit time_units[] = {
	{"us", 1},
	{"ms", 1000},
	{"s", 1000000},
	{"min", 60000000},
	{"h", 3600000000},
	{"d", 86400000000},
	{NULL, 0},
};

static const struct unit size_units[] = {
	{"B", 1},
	{"k", 1 << 10},
	{"kB", 1 << 10},
	{"M", 1 << 20},
	{"MB", 1 << 20},
	{"G", 1 << 30},
	{"GB", 1 << 30},
	{NULL, 0},
};

static const struct unit no_units[] = {
	{NULL, 0},
};

enum number { NUMBER_OK = 0, NUMBER_BAD, NUMBER_HUGE };

/* Digits as they are, then at most 9 decimals in billionths (times only). */
static enum number digits(const char **s, bool has_decimals, int64_t *whole, int64_t *billionths)
{
	int64_t scale = 100000000;
	const char *p = *s;
	bool any = false;

	*whole = 0;
	*billionths = 0;
	for (; isdigit((unsigned char)*p); p++, any = true)
		if (__builtin_mul_overflow(*whole, 10, whole) ||
		    __builtin_add_overflow(*whole, *p - '0', whole))
			return NUMBER_HUGE;
	if (has_decimals && *p == '.') {
		for (p++; isdigit((unsigned char)*p); p++, any = true) {
			*billionths += (*p - '0') * scale;
			scale /= 10;
		}
	}
	*s = p;
	return any ? NUMBER_OK : NUMBER_BAD;
}

static enum number number(const char *s, const struct unit *units, int64_t factor,
			  bool has_decimals, int64_t *out)
{
	int64_t whole, billionths;
	bool is_negative = *s == '-';
	enum number res;

	if (is_negative)
		s++;
	res = digits(&s, has_decimals, &whole, &billionths);
	if (res != NUMBER_OK)
		return res;
	while (isblank((unsigned char)*s))
		s++;
	if (*s) {
		while (units->name && strcmp(units->name, s) != 0)
			units++;
		if (!units->name)
			return NUMBER_BAD;
		factor = units->factor;
	}
	if (__builtin_mul_overflow(whole, factor, out))
		return NUMBER_HUGE;
	/* Half a microsecond up; exact far beyond what a clock tells. */
	if (__builtin_add_overflow(
		    *out, (int64_t)((double)billionths / 1e9 * (double)factor + 0.5), out))
		return NUMBER_HUGE;
	if (is_negative)
		*out = -*out;
	return NUMBER_OK;
}

static int64_t scaled(double limit, int64_t factor)
{
	return (int64_t)(limit * (double)factor + 0.5);
}

static int set_number(const struct key *k, const char *text, int64_t *out, struct err *e)
{
	bool is_time = k->type == KEY_TIME, is_size = k->type == KEY_SIZE;
	const struct unit *units = is_time ? time_units : is_size ? size_units : no_units;
	int64_t factor = is_time ? 1000000 : 1, value = 0;
	const char *what = is_time ? " seconds (units: us, ms, s, min, h, d)"
			   : is_size ? " bytes (units: B, k, kB, M, MB, G, GB)" : "";
	enum number res = number(text, units, factor, is_time, &value);

	if (res == NUMBER_BAD)
		return err_set(e, "%s = \"%.64s\" is not a number%s; allowed: %.15g to %.15g%s",
			       k->name, text, is_time || is_size ? " with a unit" : "", k->min,
			       k->max, what);
	if (res == NUMBER_HUGE || value < scaled(k->min, factor) ||
	    value > scaled(k->max, factor))
		return err_set(e, "%s = \"%.64s\" is out of range; allowed: %.15g to %.15g%s",
			       k->name, text, k->min, k->max, what);
	*out = value;
	return 0;
}

/* --- the other types ------------------------------------------------------- */

static int set_bool(const struct key *k, const char *text, int64_t *out, struct err *e)
{
	static const char *const yes_no[2][4] = {
		{"0", "off", "no", "false"},
		{"1", "on", "yes", "true"},
	};
	int v, i;

	for (v = 0; v < 2; v++) {
		for (i = 0; i < 4; i++) {
			if (strcasecmp(text, yes_no[v][i]) == 0) {
				*out = v;
				return 0;
			}
		}
	}
	return err_set(e, "%s = \"%.64s\" is not a yes or no; allowed: 0, 1 (or off, on, no, yes, "
		       "false, true)", k->name, text);
}

bool key_word_value(enum key_type type, const char *word, int64_t *value)
{
	size_t i;

	for (i = 0; i < WORD_N; i++) {
		if (words[i].type != type || strcasecmp(words[i].text, word) != 0)
			continue;
		*value = words[i].value;
		return true;
	}
	return false;
}

static int set_word(const struct key *k, const char *text, int64_t *out, struct err *e)
{
	char hint[128], allowed[128];
	struct spell s;
	size_t i;

	spell_start(&s, text);
	if (key_word_value(k->type, text, out))
		return 0;
	for (i = 0; i < WORD_N; i++)
		if (words[i].type == k->type)
			spell_try(&s, words[i].text);
	return err_set(e, "%s = \"%.64s\" is unknown; allowed: %s%s", k->name, text,
		       key_words(k->type, allowed, sizeof(allowed)),
		       spell_hint(&s, hint, sizeof(hint)));
}

static int set_workers(const struct key *k, const char *text, int64_t *out, struct err *e)
{
	if (strcasecmp(text, "auto") == 0) {
		*out = 0;
		return 0;
	}
	if (number(text, no_units, 1, false, out) != NUMBER_OK || *out < (int64_t)k->min ||
	    *out > (int64_t)k->max)
		return err_set(e, "%s = \"%.64s\" is neither auto nor a number from %.15g to %.15g",
			       k->name, text, k->min, k->max);
	return 0;
}

static int set_mode(const struct key *k, const char *text, int64_t *out, struct err *e)
{
	size_t n = strspn(text, "01234567");
	int64_t v = 0;
	size_t i;

	for (i = 0; i < n && v <= (int64_t)k->max; i++)
		v = v * 8 + (text[i] - '0');
	if (n == 0 || text[n] || v > (int64_t)k->max)
		return err_set(e, "%s = \"%.64s\" is not the mode of a file; allowed: 0000 to %04llo, "
			       "in octal", k->name, text, (unsigned long long)k->max);
	*out = v;
	return 0;
}

static int set_str(char **out, const char *text, struct err *e)
{
	char *copy = NULL;

	if (*text) {
		copy = strdup(text);
		if (!copy)
			return err_set(e, "out of memory");
	}
	text_wipe(out);
	*out = copy;
	return 0;
}

int key_set(const struct key *k, void *base, const char *text, struct err *e)
{
	char *field = (char *)base + k->offset;
	int64_t value = 0;
	int ret = -1;

	switch (k->type) {
	case KEY_STR:
		return set_str((char **)(void *)field, text, e);
	case KEY_BOOL:
		ret = set_bool(k, text, &value, e);
		break;
	case KEY_INT:
	case KEY_TIME:
	case KEY_SIZE:
		ret = set_number(k, text, &value, e);
		break;
	case KEY_WORKERS:
		ret = set_workers(k, text, &value, e);
		break;
	case KEY_MODE:
		ret = set_mode(k, text, &value, e);
		break;
	case KEY_POOL_MODE:
	case KEY_BALANCE:
	case KEY_SESSION_ATTRS:
	case KEY_AUTH_TYPE:
	case KEY_SSLMODE:
	case KEY_SSLNEGOTIATION:
	case KEY_CHANNEL_BINDING:
	case KEY_CLEARTEXT:
	case KEY_RETRY:
	case KEY_PIN:
	case KEY_RETRY_UNKNOWN:
	case KEY_ON_MARKED_DOWN:
		ret = set_word(k, text, &value, e);
		break;
	case KEY_TYPE_N:
		break;
	}
	if (ret == 0)
		*(int64_t *)(void *)field = value;
	return ret;
}

int key_defaults(enum key_scope scope, void *base, struct err *e)
{
	size_t i;

	for (i = 0; i < ROW_N; i++) {
		const struct key *k = &rows[i];

		if (k->scope != scope)
			continue;
		if (scope != KEY_GLOBAL && k->type != KEY_STR)
			*(int64_t *)(void *)((char *)base + k->offset) = CONF_UNSET;
		else if (key_set(k, base, k->def, e) < 0)
			return -1;
	}
	return 0;
}

/* --- printing -------------------------------------------------------------- */

static void print_time(int64_t us, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%lld.%06lld", (long long)(us / 1000000),
			 (long long)(us % 1000000));

	if (n <= 0 || (size_t)n >= cap)
		return;
	while (out[n - 1] == '0')
		n--;
	if (out[n - 1] == '.')
		n--;
	out[n] = '\0';
}

/* In the largest unit that needs no decimals. */
static void print_size(int64_t bytes, char *out, size_t cap)
{
	static const struct unit shown[] = {{"G", 1 << 30}, {"M", 1 << 20}, {"k", 1 << 10}};
	size_t i;

	for (i = 0; i < 3; i++)
		if (bytes > 0 && bytes % shown[i].factor == 0)
			break;
	snprintf(out, cap, "%lld%s", (long long)(i < 3 ? bytes / shown[i].factor : bytes),
		 i < 3 ? shown[i].name : "");
}

const char *key_word(enum key_type type, int64_t value)
{
	size_t i;

	for (i = 0; i < WORD_N; i++)
		if (words[i].type == type && words[i].value == value)
			return words[i].text;
	return "?";
}

const char *key_print(const struct key *k, const void *base, char *out, size_t cap)
{
	const void *field = (const char *)base + k->offset;
	const char *s;
	int64_t v;

	if (k->type == KEY_STR) {
		s = *(char *const *)field;
		return s ? s : "";
	}
	v = *(const int64_t *)field;
	if (v == CONF_UNSET)
		return "";
	switch (k->type) {
	case KEY_TIME:
		print_time(v, out, cap);
		break;
	case KEY_SIZE:
		print_size(v, out, cap);
		break;
	case KEY_WORKERS:
		if (v == 0)
			return "auto";
		snprintf(out, cap, "%lld", (long long)v);
		break;
	case KEY_MODE:
		snprintf(out, cap, "%04llo", (unsigned long long)v);
		break;
	case KEY_POOL_MODE:
	case KEY_BALANCE:
	case KEY_SESSION_ATTRS:
	case KEY_AUTH_TYPE:
	case KEY_SSLMODE:
	case KEY_SSLNEGOTIATION:
	case KEY_CHANNEL_BINDING:
	case KEY_CLEARTEXT:
	case KEY_RETRY:
	case KEY_PIN:
	case KEY_RETRY_UNKNOWN:
	case KEY_ON_MARKED_DOWN:
		return key_word(k->type, v);
	case KEY_STR:
	case KEY_BOOL:
	case KEY_INT:
	case KEY_TYPE_N:
		snprintf(out, cap, "%lld", (long long)v);
		break;
	}
	return out;
}
