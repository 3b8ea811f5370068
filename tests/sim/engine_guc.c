/* tests/sim/engine_guc.c - which settings there are, and how values are checked and
 * written: as PostgreSQL's guc.c does for these.
 *
 * SPDX-License-Identifier: ISC
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine_state.h"

static const char *const isolation[] = { "serializable", "repeatable read", "read committed",
					 "read uncommitted", NULL };
static const char *const interval[] = { "postgres", "postgres_verbose", "sql_standard", "iso_8601",
					NULL };
static const char *const bytea[] = { "escape", "hex", NULL };
static const char *const levels[] = { "debug5", "debug4", "debug3", "debug2", "debug1", "debug",
				      "log",	"info",	  "notice", "warning", "error", NULL };
static const char *const sync_commit[] = { "local", "remote_write", "remote_apply", "on", "off",
					   NULL };

static const struct guc gucs[] = {
	{ "application_name", "", GUC_NAME, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "bytea_output", "hex", GUC_ENUM, false, false, false, bytea, 0, 0, EVERYWHERE },
	{ "client_encoding", "UTF8", GUC_ENCODING, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "client_min_messages", "notice", GUC_ENUM, false, false, false, levels, 0, 0, EVERYWHERE },
	{ "crdb_version", "", GUC_FACT, false, false, true, NULL, 0, 0, ONLY_CRDB },
	{ "DateStyle", "ISO, MDY", GUC_DATESTYLE, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "default_transaction_deferrable", "off", GUC_BOOL, false, false, false, NULL, 0, 0, EVERYWHERE },
	{ "default_transaction_isolation", "read committed", GUC_ENUM, false, false, false,
	  isolation, 0, 0, EVERYWHERE },
	{ "default_transaction_read_only", "off", GUC_BOOL, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "extra_float_digits", "1", GUC_INT, false, false, false, NULL, -15, 3, EVERYWHERE },
	{ "geqo", "on", GUC_BOOL, false, false, false, NULL, 0, 0, NOT_CRDB },
	{ "idle_in_transaction_session_timeout", "0", GUC_MS, false, false, false, NULL, 0, INT32_MAX, EVERYWHERE },
	{ "idle_session_timeout", "0", GUC_MS, false, false, false, NULL, 0, INT32_MAX, NOT_CRDB },
	{ "in_hot_standby", "off", GUC_FACT, true, false, false, NULL, 0, 0, NOT_CRDB },
	{ "integer_datetimes", "on", GUC_FACT, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "IntervalStyle", "postgres", GUC_ENUM, true, false, false, interval, 0, 0, EVERYWHERE },
	{ "is_superuser", "off", GUC_FACT, true, false, true, NULL, 0, 0, EVERYWHERE },
	{ "jit", "on", GUC_BOOL, false, false, false, NULL, 0, 0, NOT_CRDB },
	{ "lock_timeout", "0", GUC_MS, false, false, false, NULL, 0, INT32_MAX, NOT_CRDB },
	{ "role", "none", GUC_WHO, false, true, true, NULL, 0, 0, EVERYWHERE },
	{ "row_security", "on", GUC_BOOL, false, false, false, NULL, 0, 0, EVERYWHERE },
	{ "search_path", "\"$user\", public", GUC_PATH, false, false, false, NULL, 0, 0, EVERYWHERE },
	{ "server_encoding", "UTF8", GUC_FACT, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "server_version", "", GUC_FACT, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "server_version_num", "", GUC_FACT, false, false, false, NULL, 0, 0, EVERYWHERE },
	{ "session_authorization", "", GUC_WHO, true, true, true, NULL, 0, 0, EVERYWHERE },
	{ "standard_conforming_strings", "on", GUC_BOOL, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "statement_timeout", "0", GUC_MS, false, false, false, NULL, 0, INT32_MAX, EVERYWHERE },
	{ "synchronous_commit", "on", GUC_ENUM, false, false, false, sync_commit, 0, 0, EVERYWHERE },
	{ "TimeZone", "UTC", GUC_ZONE, true, false, false, NULL, 0, 0, EVERYWHERE },
	{ "transaction_isolation", "", GUC_ENUM, false, true, true, isolation, 0, 0, EVERYWHERE },
	{ "transaction_read_only", "off", GUC_BOOL, false, true, false, NULL, 0, 0, EVERYWHERE },
	{ "work_mem", "4096", GUC_KB, false, false, false, NULL, 64, INT32_MAX, EVERYWHERE },
};

unsigned guc_count(void)
{
	return (unsigned)(sizeof(gucs) / sizeof(*gucs));
}

const struct guc *guc_at(unsigned i)
{
	return &gucs[i];
}

static char *invalid(struct engine *e, const char *name, const char *value)
{
	(void)fail(e, "22023", "invalid value for parameter \"%s\": \"%.100s\"", name, value);
	return NULL;
}

/* ---- words ---- */

/* 1, 0, -1: a unique beginning of true, false, yes, no, on, off; 1; 0. */
static int truth(const char *v)
{
	static const struct {
		const char *word;
		size_t min;
		int value;
	} words[] = { { "true", 1, 1 }, { "false", 1, 0 }, { "yes", 1, 1 }, { "no", 1, 0 },
		      { "on", 2, 1 },	{ "off", 2, 0 },   { "1", 1, 1 },   { "0", 1, 0 } };
	size_t i, n = strlen(v);

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (n >= words[i].min && n <= strlen(words[i].word) &&
		    strncasecmp(words[i].word, v, n) == 0)
			return words[i].value;
	return -1;
}

static char *from_bool(struct engine *e, const char *name, const char *value)
{
	int t = truth(value);

	if (t < 0) {
		(void)fail(e, "22023", "parameter \"%s\" requires a Boolean value", name);
		return NULL;
	}
	return mem_copy(t ? "on" : "off");
}

static char *from_enum(struct engine *e, const struct guc *g, const char *name, const char *value)
{
	unsigned i;

	for (i = 0; g->words[i]; i++)
		if (strcasecmp(g->words[i], value) == 0)
			return mem_copy(g->words[i]);
	if (g->words == sync_commit && truth(value) >= 0)
		return mem_copy(truth(value) ? "on" : "off");
	return invalid(e, name, value);
}

/* ---- numbers ---- */

struct unit {
	const char *word;
	double factor;
};

static const struct unit ms_units[] = { { "us", 0.001 }, { "ms", 1 },	 { "s", 1000 },
					{ "min", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
static const struct unit kb_units[] = { { "B", 1.0 / 1024 }, { "kB", 1 },	     { "MB", 1024 },
					{ "GB", 1048576 },   { "TB", 1073741824 } };

static char *from_number(struct engine *e, const struct guc *g, const char *name, const char *value)
{
	const struct unit *units = g->kind == GUC_MS ? ms_units : kb_units;
	size_t n = g->kind == GUC_MS ? 6 : g->kind == GUC_KB ? 5 : 0, i;
	const char *unit = g->kind == GUC_MS ? "ms" : g->kind == GUC_KB ? "kB" : "";
	char *rest, text[24];
	double d = strtod(value, &rest);

	if (rest == value)
		return invalid(e, name, value);
	while (isspace((unsigned char)*rest))
		rest++;
	if (*rest) {
		for (i = 0; i < n && strcmp(rest, units[i].word) != 0; i++)
			;
		if (i == n)
			return invalid(e, name, value);
		d *= units[i].factor;
	}
	d = rint(d);
	if (!(d >= -2147483648.0 && d <= 2147483647.0))
		return invalid(e, name, value);
	if (d < (double)g->min || d > (double)g->max) {
		(void)fail(e, "22023",
			   "%d%s%s is outside the valid range for parameter \"%s\" (%d .. %d)",
			   (int)d, *unit ? " " : "", unit, name, (int)g->min, (int)g->max);
		return NULL;
	}
	(void)snprintf(text, sizeof(text), "%d", (int)d);
	return mem_copy(text);
}

const char *guc_show(const struct guc *g, const char *value, char *out, size_t cap)
{
	const struct unit *units = g && g->kind == GUC_MS ? ms_units : kb_units;
	size_t i = g && g->kind == GUC_MS ? 6 : 5;
	long n = strtol(value, NULL, 10);

	if (!g || (g->kind != GUC_MS && g->kind != GUC_KB) || n <= 0)
		return value;
	while (i-- > 1)
		if (n % (long)units[i].factor == 0)
			break;
	(void)snprintf(out, cap, "%ld%s", n / (long)units[i].factor, units[i].word);
	return out;
}

/* ---- what has forms of its own ---- */

static char *from_encoding(struct engine *e, const struct guc *g, const char *value)
{
	static const char *const names[][2] = {
		{ "utf8", "UTF8" },	    { "unicode", "UTF8" },   { "latin1", "LATIN1" },
		{ "iso88591", "LATIN1" },   { "latin2", "LATIN2" },  { "latin9", "LATIN9" },
		{ "sqlascii", "SQL_ASCII" }, { "win1252", "WIN1252" }, { "win1251", "WIN1251" },
		{ "win1250", "WIN1250" },   { "eucjp", "EUC_JP" },   { "sjis", "SJIS" },
		{ "shiftjis", "SJIS" },	    { "big5", "BIG5" },	     { "gbk", "GBK" },
		{ "uhc", "UHC" },	    { "gb18030", "GB18030" }, { "johab", "JOHAB" },
		{ "koi8r", "KOI8R" },
	};
	char clean[32];
	size_t n = 0, i;

	for (i = 0; value[i] && n + 1 < sizeof(clean); i++)
		if (isalnum((unsigned char)value[i]))
			clean[n++] = (char)tolower((unsigned char)value[i]);
	clean[n] = 0;
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i][0], clean) == 0)
			return mem_copy(names[i][1]);
	return invalid(e, g->name, value);
}

struct style {
	const char *style, *order;
	bool has_style, has_order, bad;
};

static void style_word(struct style *s, const char *w, size_t n)
{
	static const struct {
		const char *word;
		size_t min;        /* 0: all of it */
		const char *style, *order;
	} words[] = {
		{ "iso", 0, "ISO", NULL },	   { "sql", 0, "SQL", NULL },
		{ "postgres", 8, "Postgres", NULL }, { "german", 0, "German", NULL },
		{ "ymd", 0, NULL, "YMD" },	   { "dmy", 0, NULL, "DMY" },
		{ "euro", 4, NULL, "DMY" },	   { "mdy", 0, NULL, "MDY" },
		{ "us", 0, NULL, "MDY" },	   { "noneuro", 7, NULL, "MDY" },
	};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
		size_t m = words[i].min ? words[i].min : strlen(words[i].word);

		if (n < m || (!words[i].min && n != m) || strncasecmp(w, words[i].word, m) != 0)
			continue;
		if (words[i].style) {
			s->bad |= s->has_style && strcmp(s->style, words[i].style) != 0;
			s->style = words[i].style;
			s->has_style = true;
			if (*words[i].word == 'g' && !s->has_order)
				s->order = "DMY";
		} else {
			s->bad |= s->has_order && strcmp(s->order, words[i].order) != 0;
			s->order = words[i].order;
			s->has_order = true;
		}
		return;
	}
	s->bad = true;
}

static char *from_datestyle(struct engine *e, const struct guc *g, const char *value,
			    const char *old)
{
	static const char *const styles[] = { "ISO", "SQL", "Postgres", "German" };
	static const char *const orders[] = { "MDY", "DMY", "YMD" };
	struct style s = { "ISO", "MDY", false, false, false };
	char text[32];
	const char *p = value;
	size_t i, n;

	for (i = 0; i < 4; i++)
		if (strncmp(old, styles[i], strlen(styles[i])) == 0)
			s.style = styles[i];
	for (i = 0; i < 3; i++)
		if (strstr(old, orders[i]))
			s.order = orders[i];
	for (;;) {
		while (*p == ' ')
			p++;
		n = strcspn(p, ", ");
		style_word(&s, p, n);
		p += n;
		while (*p == ' ')
			p++;
		if (*p != ',')
			break;
		p++;
	}
	if (s.bad || *p)
		return invalid(e, g->name, value);
	(void)snprintf(text, sizeof(text), "%s, %s", s.style, s.order);
	return mem_copy(text);
}

static char *from_zone(struct engine *e, const struct guc *g, const char *value)
{
	static const char *const zones[] = { "UTC",	     "GMT",		 "Etc/UTC",
					     "Europe/Berlin", "Europe/Paris",	 "Europe/London",
					     "Europe/Vienna", "America/New_York", "Asia/Tokyo",
					     "Asia/Kolkata",  "Australia/Sydney", "America/Chicago" };
	char *rest, text[32];
	double hours;
	size_t i;

	for (i = 0; i < sizeof(zones) / sizeof(*zones); i++)
		if (strcasecmp(zones[i], value) == 0)
			return mem_copy(zones[i]);
	hours = strtod(value, &rest);
	if (rest == value || *rest || hours != rint(hours) || hours < -15 || hours > 15)
		return invalid(e, g->name, value);
	(void)snprintf(text, sizeof(text), "<%c%02d>%c%02d", hours < 0 ? '-' : '+',
		       abs((int)hours), hours < 0 ? '+' : '-', abs((int)hours));
	return mem_copy(text);
}

static char *from_name(struct engine *e, const char *value)
{
	char *v = mem_copy(value), *text;
	size_t i, n = strlen(v);

	if (n > 63) {
		v[63] = 0;
		text = mem_grow(NULL, n + 200);
		(void)snprintf(text, n + 200, "identifier \"%s\" will be truncated to \"%s\"", value, v);
		out_warning(e, "NOTICE", "42622", text);
		free(text);
	}
	for (i = 0; v[i]; i++)
		if (v[i] < 32 || v[i] > 126)
			v[i] = '?';
	return v;
}

/* Names, quoted or not, with commas between. */
static bool is_list(const char *p)
{
	while (*p == ' ')
		p++;
	if (!*p)
		return true;
	for (;; p++) {
		const char *from;

		while (*p == ' ')
			p++;
		from = p;
		if (*p == '"') {
			for (p++; *p && (*p != '"' || p[1] == '"'); p += *p == '"' ? 2 : 1)
				;
			if (*p++ != '"' || p == from + 2)
				return false;
		} else {
			while (*p && *p != ',' && *p != ' ')
				p++;
			if (p == from)
				return false;
		}
		while (*p == ' ')
			p++;
		if (*p != ',')
			return !*p;
	}
}

static char *checked(struct engine *e, const struct guc *g, const char *as_typed,
		     const char *value, const char *old)
{
	switch (g->kind) {
	case GUC_BOOL:
		return from_bool(e, as_typed, value);
	case GUC_ENUM:
		return from_enum(e, g, as_typed, value);
	case GUC_INT:
	case GUC_MS:
	case GUC_KB:
		return from_number(e, g, as_typed, value);
	case GUC_ENCODING:
		return from_encoding(e, g, value);
	case GUC_DATESTYLE:
		return from_datestyle(e, g, value, old);
	case GUC_ZONE:
		return from_zone(e, g, value);
	case GUC_NAME:
		return from_name(e, value);
	case GUC_PATH:
		return is_list(value) ? mem_copy(value) : invalid(e, g->name, value);
	case GUC_WHO:
	case GUC_TEXT:
		return mem_copy(value);
	case GUC_FACT:
	default:
		(void)fail(e, "55P02", "parameter \"%s\" cannot be changed", as_typed);
		return NULL;
	}
}

char *guc_value(struct engine *e, const struct guc *g, const char *as_typed, const char *value,
		const char *old)
{
	char *v = checked(e, g, as_typed, value, old);

	if (v && e->crdb && crdb_refuses(e, g, v)) {
		free(v);
		return NULL;
	}
	return v;
}
