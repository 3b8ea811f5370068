/* tests/sim/program_sql.c - the statements and messages that programs are made of.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "program_in.h"
#include "store.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *mark(struct program *p)
{
	char *s = p->tags[p->number % COUNT(p->tags)];

	snprintf(s, sizeof(p->tags[0]), "c%u.%u", p->c.client, p->number);
	p->number++;
	return s;
}

/* Few keys are in demand, so that transactions meet. */
unsigned some_key(struct program *p)
{
	return rng_chance(&p->r, 60) ? rng_below(&p->r, 3) : rng_below(&p->r, KEYS);
}

/* ---- texts ---- */

void text_begin(struct program *p)
{
	p->t.n = 0;
	p->t.s[0] = 0;
}

void say_text(struct program *p, const char *fmt, ...)
{
	size_t room = sizeof(p->t.s) - p->t.n;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->t.s + p->t.n, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		p->t.n += (size_t)n < room ? (size_t)n : room - 1;
}

/* Different keys, in any order. */
static unsigned some_keys(struct program *p, unsigned *k, unsigned n)
{
	unsigned i, j, m = 0;

	for (i = 0; i < n; i++) {
		k[m] = some_key(p);
		for (j = 0; j < m && k[j] != k[m]; j++)
			;
		if (j == m)
			m++;
	}
	return m;
}

void add_read(struct program *p)
{
	unsigned k[4], n, i;

	if (rng_chance(&p->r, 50)) {
		say_text(p, "SELECT v FROM kv WHERE k = %u%s", some_key(p),
			 rng_chance(&p->r, 30) ? " FOR UPDATE" : "");
		return;
	}
	n = some_keys(p, k, rng_between(&p->r, 2, 4));
	say_text(p, "SELECT k, v FROM kv WHERE k IN (");
	for (i = 0; i < n; i++)
		say_text(p, "%s%u", i ? ", " : "", k[i]);
	say_text(p, ")");
}

void add_append(struct program *p)
{
	unsigned k[3], n, i;
	const char *returning = rng_chance(&p->r, 30) ? " RETURNING v" : "";

	switch (rng_below(&p->r, 4)) {
	case 0:
		n = some_keys(p, k, rng_between(&p->r, 1, 3));
		say_text(p, "INSERT INTO kv VALUES ");
		for (i = 0; i < n; i++)
			say_text(p, "%s(%u, '%s')", i ? ", " : "", k[i], mark(p));
		say_text(p, "%s", returning);
		return;
	case 1:
		if (p->c.dialect == DIALECT_CRDB) {
			say_text(p, "UPSERT INTO kv VALUES (%u, '%s')", some_key(p), mark(p));
			return;
		}
		break;
	default:
		break;
	}
	say_text(p, "UPDATE kv SET v = v || '%s' WHERE k = %u%s", mark(p), some_key(p), returning);
}

void add_other(struct program *p)
{
	const char *m;

	switch (rng_below(&p->r, 9)) {
	case 0:
		say_text(p, "SELECT '%s', %u", mark(p), rng_below(&p->r, 1000));
		return;
	case 1:
		m = mark(p);
		say_text(p, "SELECT '%s' AS \"%s\", 'it''s %s'", m, m, m);
		return;
	case 2:
		say_text(p, "SELECT repeat('%s ', %u)", mark(p), rng_between(&p->r, 1, 300));
		return;
	case 3:
		say_text(p, "SELECT g FROM generate_series(1, %u) g", rng_between(&p->r, 1, 60));
		return;
	case 4:
		say_text(p, "SELECT version()");
		return;
	case 5:
		say_text(p, "SHOW application_name");
		return;
	case 6:
		say_text(p, "SELECT pg_catalog.current_setting('TimeZone')");
		return;
	case 7:
		say_text(p, "SELECT pg_sleep(0.0%u)", rng_between(&p->r, 1, 9));
		return;
	default:
		say_text(p, "SELECT %u /* %s */", rng_below(&p->r, 1000), mark(p));
	}
}

void add_error(struct program *p)
{
	switch (rng_below(&p->r, 5)) {
	case 0:
		say_text(p, "SELECT * FROM nothing");
		return;
	case 1:
		say_text(p, "SELEKT '%s'", mark(p));
		return;
	case 2:
		say_text(p, "SHOW no_such_setting");
		return;
	default:
		say_text(p, "SELECT 1/0");
	}
}

/* errors: percent. */
void add_any(struct program *p, unsigned errors)
{
	unsigned n = rng_below(&p->r, 100);

	if (rng_chance(&p->r, errors))
		add_error(p);
	else if (n < 40)
		add_read(p);
	else if (n < 80)
		add_append(p);
	else
		add_other(p);
}

void add_begin(struct program *p)
{
	static const char *const begins[] = {
		"BEGIN", "BEGIN", "BEGIN", "BEGIN WORK", "BEGIN TRANSACTION", "START TRANSACTION",
		"BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN READ WRITE",
		"START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
	};

	if (rng_chance(&p->r, 4))
		say_text(p, "BEGIN READ ONLY");
	else
		say_text(p, "%s", begins[rng_below(&p->r, COUNT(begins))]);
}

void add_end(struct program *p)
{
	static const char *const ends[] = {
		"COMMIT", "COMMIT", "COMMIT", "COMMIT", "END", "COMMIT WORK", "COMMIT TRANSACTION",
		"COMMIT AND NO CHAIN", "END TRANSACTION", "ROLLBACK", "ABORT",
	};

	unsigned i = rng_below(&p->r, COUNT(ends));

	/* which CockroachDB has not: what pgweir answers in place of a lost server takes it */
	if (p->c.dialect == DIALECT_CRDB && strstr(ends[i], "CHAIN"))
		i = 0;
	say_text(p, "%s", ends[i]);
}

const char *some_setting(struct program *p, const char **value)
{
	static const char *const settings[][4] = {
		{ "work_mem", "8MB", "16384", "64kB" },
		{ "TimeZone", "utc", "Europe/Berlin", "Asia/Tokyo" },
		{ "DateStyle", "iso", "German", "ISO, DMY" },
		{ "IntervalStyle", "iso_8601", "postgres", "sql_standard" },
		{ "extra_float_digits", "2", "0", "3" },
		{ "statement_timeout", "60000", "90s", "0" },
		{ "lock_timeout", "50s", "0", "70000" },
		{ "search_path", "public", "app", "pg_catalog" },
		{ "client_encoding", "utf8", "LATIN1", "UTF8" },
		{ "standard_conforming_strings", "on", "off", "on" },
		{ "default_transaction_isolation", "serializable", "read committed",
		  "repeatable read" },
		{ "my.setting", "one", "two", "" },
	};
	unsigned i = rng_below(&p->r, COUNT(settings) + 5);

	if (i >= COUNT(settings)) {
		*value = mark(p);
		return rng_chance(&p->r, 30) ? "app.marker" : "application_name";
	}
	*value = settings[i][rng_between(&p->r, 1, 3)];
	return settings[i][0];
}

/* ---- messages ---- */

/* Another spelling of the same text. */
static void vary(struct program *p, char *out, size_t cap)
{
	bool small = rng_chance(&p->r, 10), text = false;
	const char *before = "", *behind = "";
	int n;
	char *c;

	if (rng_chance(&p->r, 5))
		before = rng_chance(&p->r, 50) ? "/* a /* nested */ word */ " : "-- a word\n ";
	if (rng_chance(&p->r, 12))
		behind = rng_chance(&p->r, 70) ? ";" : " ; -- end";
	n = snprintf(out, cap, "%s%s%s", before, p->t.s, behind);
	if (!small || n < 0)
		return;
	for (c = out; *c; c++) {
		if (*c == '\'' || *c == '"')
			text = !text;
		else if (!text && *c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	}
}

void put_query(struct program *p)
{
	size_t cap = p->t.n + 64;
	uint8_t *at;

	/* straight into the message, which is then as long as the text */
	wire_begin(&p->w, 'Q');
	if (p->w.bad || p->w.cap - p->w.len < cap) {
		p->w.bad = true;
		return;
	}
	at = p->w.p + p->w.len;
	vary(p, (char *)at, cap);
	p->w.len += strlen((char *)at) + 1;
	wire_end(&p->w);
}

void put_simple(struct program *p, const char *sql)
{
	wire_put_msg_str(&p->w, 'Q', sql);
}

void put_parse(struct program *p, const char *name, const char *sql)
{
	wire_begin(&p->w, 'P');
	wire_put_str(&p->w, name);
	wire_put_str(&p->w, sql);
	wire_put_u16(&p->w, 0);
	wire_end(&p->w);
}

/* i: integer, t: text */
static const struct {
	const char *sql, *types;
} tmpls[T_N] = {
	[T_READ] = { "SELECT v FROM kv WHERE k = $1", "i" },
	[T_READ_UPDATE] = { "SELECT v FROM kv WHERE k = $1 FOR UPDATE", "i" },
	[T_READ_3] = { "SELECT k, v FROM kv WHERE k IN ($1, $2, $3)", "iii" },
	[T_APPEND] = { "UPDATE kv SET v = v || $1 WHERE k = $2", "ti" },
	[T_APPEND_RETURNING] = { "UPDATE kv SET v = v || $1 WHERE k = $2 RETURNING v", "ti" },
	[T_INSERT] = { "INSERT INTO kv VALUES ($1, $2)", "it" },
	[T_INSERT_RETURNING] = { "INSERT INTO kv VALUES ($1, $2) RETURNING v", "it" },
	[T_LITERAL] = { "SELECT '%s' AS mine, $1 AS given", "t" },
	[T_SERIES] = { "SELECT g FROM generate_series(1, 7) g", "" },
	[T_REPEAT] = { "SELECT repeat('%s ', 200)", "" },
	[T_SHOW] = { "SHOW application_name", "" },
	[T_SET] = { "SET application_name = '%s'", "" },
	[T_DIVIDE] = { "SELECT 1/0", "" },
	[T_NOTHING] = { "SELECT * FROM nothing", "" },
	[T_SYNTAX] = { "SELEKT '%s'", "" },
	[T_EMPTY] = { "", "" },
	[T_BEGIN] = { "BEGIN", "" },
	[T_COMMIT] = { "COMMIT", "" },
	[T_ROLLBACK] = { "ROLLBACK", "" },
};

void put_parse_tmpl(struct program *p, const char *name, enum tmpl t)
{
	const char *sql = tmpls[t].sql, *types = tmpls[t].types, *in = strstr(sql, "%s");
	unsigned i, n = rng_chance(&p->r, 30) ? (unsigned)strlen(types) : 0;

	wire_begin(&p->w, 'P');
	wire_put_str(&p->w, name);
	if (in) {
		wire_put_bytes(&p->w, sql, (size_t)(in - sql));
		sql = mark(p);
		wire_put_bytes(&p->w, sql, strlen(sql));
		wire_put_str(&p->w, in + 2);
	} else {
		wire_put_str(&p->w, sql);
	}
	wire_put_u16(&p->w, (uint16_t)n);
	for (i = 0; i < n; i++)
		wire_put_u32(&p->w, types[i] == 'i' ? 23 : 25);
	wire_end(&p->w);
}

void put_bind_tmpl(struct program *p, const char *portal, const char *name, enum tmpl t)
{
	const char *types = tmpls[t].types, *s;
	unsigned i, n = (unsigned)strlen(types);
	char key[12];

	wire_begin(&p->w, 'B');
	wire_put_str(&p->w, portal);
	wire_put_str(&p->w, name);
	/* formats: none, or one for all, or one for each; all text */
	i = rng_below(&p->r, 3);
	i = i == 0 ? 0 : i == 1 ? 1 : n;
	wire_put_u16(&p->w, (uint16_t)i);
	while (i--)
		wire_put_u16(&p->w, 0);
	wire_put_u16(&p->w, (uint16_t)n);
	for (i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%u", types[i] == 'i' ? some_key(p) : 0);
		s = types[i] == 'i' ? key : mark(p);
		wire_put_u32(&p->w, (uint32_t)strlen(s));
		wire_put_bytes(&p->w, s, strlen(s));
	}
	if (rng_chance(&p->r, 50)) {
		wire_put_u16(&p->w, 1);
		wire_put_u16(&p->w, 0);
	} else {
		wire_put_u16(&p->w, 0);
	}
	wire_end(&p->w);
}

static void put_named(struct program *p, char type, char what, const char *name)
{
	wire_begin(&p->w, type);
	wire_put_u8(&p->w, (uint8_t)what);
	wire_put_str(&p->w, name);
	wire_end(&p->w);
}

void put_describe(struct program *p, char what, const char *name)
{
	put_named(p, 'D', what, name);
}

void put_close(struct program *p, char what, const char *name)
{
	put_named(p, 'C', what, name);
}

void put_execute(struct program *p, const char *portal, unsigned rows)
{
	wire_begin(&p->w, 'E');
	wire_put_str(&p->w, portal);
	wire_put_u32(&p->w, rows);
	wire_end(&p->w);
}

void put_sync(struct program *p)
{
	wire_put_msg(&p->w, 'S');
}

void put_all(struct program *p, const char *sql)
{
	put_parse(p, "", sql);
	put_bind_tmpl(p, "", "", T_EMPTY);
	put_execute(p, "", 0);
}

void put_copy_data(struct program *p, const char *data, size_t n)
{
	wire_begin(&p->w, 'd');
	wire_put_bytes(&p->w, data, n);
	wire_end(&p->w);
}
