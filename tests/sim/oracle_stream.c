/* tests/sim/oracle_stream.c - messages as they come, and which errors may be among
 * them that the session itself has no reason for.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "oracle_in.h"
#include "wire/wire.h"

/* ---- framing ---- */

static void push(struct msgs *m, const uint8_t *p, size_t n, uint64_t at_us)
{
	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 16;
		m->v = mem_grow(m->v, m->cap * sizeof(*m->v));
	}
	m->v[m->n++] = (struct msg){ (uint8_t *)mem_copy_n(p, n), (uint32_t)n, ++m->count, at_us };
}

void msgs_add(struct msgs *m, const uint8_t *p, size_t n, uint64_t at_us)
{
	size_t at = 0;
	uint32_t len;
	uint8_t type;

	m->part = mem_grow(m->part, m->part_n + n);
	if (n)
		memcpy(m->part + m->part_n, p, n);
	m->part_n += n;
	while (!m->broken) {
		enum wire_status st = wire_header(m->part + at, m->part_n - at, &type, &len);

		m->broken = st == WIRE_BAD;
		if (st != WIRE_OK || m->part_n - at < len)
			break;
		push(m, m->part + at, len, at_us);
		at += len;
	}
	if (m->broken && m->part_n > at) {
		push(m, m->part + at, m->part_n - at, at_us);
		at = m->part_n;
	}
	m->part_n -= at;
	memmove(m->part, m->part + at, m->part_n);
}

void msgs_drop(struct msgs *m, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		free(m->v[i].p);
	m->n -= n;
	if (n && m->n)
		memmove(m->v, m->v + n, m->n * sizeof(*m->v));
}

void msgs_free(struct msgs *m)
{
	msgs_drop(m, m->n);
	free(m->v);
	free(m->part);
	*m = (struct msgs){ 0 };
}

/* ---- reading ---- */

const char *msg_sql(const struct msg *m)
{
	struct wire_get g = wire_body(m->p, m->len);
	const char *s;

	if (m->len <= WIRE_HEADER || (m->p[0] != 'Q' && m->p[0] != 'P'))
		return "";
	if (m->p[0] == 'P')
		(void)wire_get_str(&g, NULL);
	s = wire_get_str(&g, NULL);
	return g.bad ? "" : s;
}

bool row_column(const struct msg *m, unsigned i, bool from_end, const char **p, uint32_t *n)
{
	struct wire_get g = wire_body(m->p, m->len);
	unsigned cols = wire_get_u16(&g), at;

	if (g.bad || i >= cols)
		return false;
	if (from_end)
		i = cols - 1 - i;
	for (at = 0;; at++) {
		uint32_t len = wire_get_u32(&g);

		if (g.bad || (len != UINT32_MAX && len > wire_left(&g)))
			return false;
		*p = (const char *)g.p;
		*n = len == UINT32_MAX ? 0 : len;
		if (at == i)
			return len != UINT32_MAX;
		g.p += *n;
	}
}

struct fields msg_fields(const uint8_t *p, size_t n)
{
	struct wire_get g = wire_body(p, (uint32_t)n);
	struct fields f = { "", "", "", "" };

	for (;;) {
		uint8_t code = wire_get_u8(&g);
		const char *s;

		if (g.bad || !code)
			return f;
		s = wire_get_str(&g, NULL);
		if (g.bad)
			return f;
		if (code == 'S')
			f.s = s;
		else if (code == 'V')
			f.v = s;
		else if (code == 'C')
			f.c = s;
		else if (code == 'M')
			f.m = s;
	}
}

/* ---- showing ---- */

static void add_bytes(struct shown *w, const uint8_t *p, size_t n)
{
	size_t at = strlen(w->s), i;

	for (i = 0; i < n && at + 8 < sizeof(w->s); i++) {
		if (p[i] >= ' ' && p[i] <= '~' && p[i] != '\\')
			w->s[at++] = (char)p[i];
		else
			at += (size_t)snprintf(w->s + at, sizeof(w->s) - at, p[i] ? "\\x%02x" : "|",
					       p[i]);
	}
	w->s[at] = 0;
	if (i < n)
		(void)snprintf(w->s + at, sizeof(w->s) - at, "...");
}

static void add_row(struct shown *w, const uint8_t *p, size_t n)
{
	struct msg m = { .p = (uint8_t *)(uintptr_t)p, .len = (uint32_t)n };
	unsigned cols = n >= 7 ? (unsigned)p[5] << 8 | p[6] : 0, i;

	for (i = 0; i < cols; i++) {
		const char *v = "NULL";
		uint32_t len = 4;

		if (i)
			add_bytes(w, (const uint8_t *)", ", 2);
		if (!row_column(&m, i, false, &v, &len)) {
			v = "NULL";
			len = 4;
		}
		add_bytes(w, (const uint8_t *)v, len);
	}
}

struct shown msg_show(const uint8_t *p, size_t n)
{
	struct shown w = { "" };
	struct fields f;

	if (n < WIRE_HEADER) {
		add_bytes(&w, p, n);
		return w;
	}
	add_bytes(&w, p, 1);
	if (n > WIRE_HEADER)
		add_bytes(&w, (const uint8_t *)" ", 1);
	if (*p == 'E' || *p == 'N') {
		f = msg_fields(p, n);
		if (*f.c && snprintf(w.s, sizeof(w.s), "%c %s %s %s", *p, *f.v ? f.v : f.s, f.c, f.m) > 0)
			return w;
	}
	if (*p == 'D' && n >= 11)
		add_row(&w, p, n);
	else
		add_bytes(&w, p + WIRE_HEADER, n - WIRE_HEADER);
	return w;
}

/* ---- excuses ---- */

struct rule {
	unsigned may;              /* one of these must be allowed */
	const char *sqlstate, *message;
	bool begins;               /* only the beginning of the message */
	enum excuse what;
};

static const struct rule errors[] = {
	{ MAY_SERIALIZE, "40001", "could not serialize access due to ", true, EX_SERIALIZE },
	{ MAY_SERIALIZE, "40P01", "deadlock detected", false, EX_SERIALIZE },
	{ MAY_SERIALIZE, "40001", "restart transaction: ", true, EX_SERIALIZE },
	{ MAY_READ_ONLY, "25006", "cannot execute ", true, EX_SERIALIZE },
	{ MAY_LOSE, "40001", "the connection to the server was lost inside a transaction", false,
	  EX_LOST_BLOCK },
	{ MAY_LOSE, "40003", "the connection to the server was lost while COMMIT was in flight", false,
	  EX_LOST_UNKNOWN },
	{ MAY_LOSE, "40003", "the connection to the server was lost while a statement was in flight",
	  false, EX_LOST_UNKNOWN },
	{ MAY_LOSE, "40001", "the connection to the server was lost before anything was done", false,
	  EX_LOST_UNKNOWN },
	{ MAY_CANCEL, "57014", "canceling statement due to user request", false, EX_REFUSED },
	{ MAY_CANCEL, "57014", "query execution canceled", false, EX_REFUSED },
	{ MAY_WAIT, "57P03", "no suitable node was up within query_wait_timeout", false, EX_REFUSED },
	{ MAY_WAIT, "53300", "no server connection became free within query_wait_timeout", false,
	  EX_REFUSED },
	{ MAY_PIN, "53300", "too many clients of this pool are bound to their server", false,
	  EX_REFUSED },
	{ MAY_PIN, "0A000", "pin = error refuses what a session leaves behind on its server", false,
	  EX_REFUSED },
	{ MAY_MEMORY, "53200", "out of memory", false, EX_REFUSED },
};

static const struct rule fatals[] = {
	{ MAY_CLOSE, "57P01", "terminating connection due to administrator command", false, EX_FATAL },
	{ MAY_CLOSE, "57P01", "the server connection of this session was lost", false, EX_FATAL },
	{ MAY_CLOSE, "08006", "servers end the connection when given this session's settings", false,
	  EX_FATAL },
	{ MAY_CLOSE, "25P03", "terminating connection due to idle_transaction_timeout", false, EX_FATAL },
	{ MAY_CLOSE, "57P05", "terminating connection due to client_idle_timeout", false, EX_FATAL },
	{ MAY_CLOSE, "53200", "out of memory", false, EX_FATAL },
	{ MAY_CLOSE, "53300", "sorry, too many clients already", false, EX_FATAL },
	/* also of two that were let in and found to need the last place */
	{ MAY_CLOSE | MAY_PIN, "53300", "the state of this session cannot be followed", false,
	  EX_FATAL },
	{ MAY_CLOSE, "57P03", "no suitable node was up within query_wait_timeout", false, EX_FATAL },
	{ MAY_CLOSE, "53300", "no server connection became free within query_wait_timeout", false,
	  EX_FATAL },
	{ MAY_CLOSE, "08P01", "client_login_timeout", false, EX_FATAL },
	{ MAY_CLOSE, "3D000", "the database was removed from the configuration", false, EX_FATAL },
	{ MAY_CLOSE, "XX000", "the server reported no parameters", false, EX_FATAL },
	{ MAY_MEMORY, "22023", "startup parameter \"", true, EX_FATAL },
};

static const char limbo_message[] =
	"current transaction is aborted, commands ignored until end of transaction block";

/* A setting with a dot in its name that is empty here may be unknown on another server. */
static bool is_unset(const struct oracle *o, const struct fields *f)
{
	static const char begin[] = "unrecognized configuration parameter \"";
	const char *name = f->m + sizeof(begin) - 1, *value;
	char copy[64];
	size_t n;

	if (strcmp(f->c, "42704") != 0 || strncmp(f->m, begin, sizeof(begin) - 1) != 0)
		return false;
	n = strlen(name) - 1;
	if (!strchr(name, '.') || n >= sizeof(copy) || name[n] != '"')
		return false;
	memcpy(copy, name, n);
	copy[n] = 0;
	value = engine_setting(o->e, copy);
	return !value || !*value;
}

bool is_no_unnamed(const struct fields *f)
{
	return strcmp(f->c, "26000") == 0 && (strcmp(f->m, "unnamed prepared statement does not exist") == 0 ||
					     strcmp(f->m, "unknown prepared statement \"\"") == 0);
}

/* A Parse that is longer than pgweir takes, or the beginning of one. */
static bool sends_too_much(const struct oracle *o)
{
	uint8_t type = 0;
	uint32_t len = 0;
	unsigned i;

	for (i = o->sent_at; i < o->sent.n; i++)
		if (o->sent.v[i].p[0] == 'P' && o->sent.v[i].len > 1u << 20)
			return true;
	return wire_header(o->sent.part, o->sent.part_n, &type, &len) == WIRE_OK && type == 'P' &&
	       len > 1u << 20;
}

/* pgweir ends the session for what was sent: for a Parse that is too long for it, and
 * for a message of no type that there is. That may stand behind a batch without Sync,
 * for the answers to which it does not wait. */
static bool is_nonsense(const struct oracle *o, const struct fields *f)
{
	char text[60];
	unsigned i;

	if (strcmp(f->c, "54000") == 0 && strcmp(f->m, "Parse message is longer than 1 MiB") == 0)
		return sends_too_much(o);
	/* CockroachDB skips it with an error, or with what it skips already: it has been
	 * played when it is answered */
	i = o->conf.dialect == DIALECT_CRDB ? o->start_sent : o->sent_at;
	for (; i < o->sent.n && strcmp(f->c, "08P01") == 0; i++) {
		uint8_t t = o->sent.v[i].p[0];

		if (t && strchr("QPBDECSHFdcfX", t))
			continue;
		(void)snprintf(text, sizeof(text), "invalid frontend message type %u", t);
		return strcmp(f->m, text) == 0;
	}
	return false;
}

/* Has a BEGIN been run? The status of several statements in one Query says T too. */
static bool in_block(const struct oracle *o)
{
	return o->e->block == BLOCK_BEGIN || o->e->block == BLOCK_INPROGRESS || o->e->block == BLOCK_ABORT;
}

enum excuse excuse_of(const struct oracle *o, const struct msg *m)
{
	struct fields f = msg_fields(m->p, m->len);
	bool fatal = strcmp(f.s, "FATAL") == 0;
	const struct rule *r = fatal ? fatals : errors;
	size_t n = fatal ? sizeof(fatals) / sizeof(*fatals) : sizeof(errors) / sizeof(*errors), i;

	if (m->p[0] != 'E' || (!fatal && strcmp(f.s, "ERROR") != 0) || (*f.v && strcmp(f.s, f.v) != 0))
		return NO_EXCUSE;
	if (o->limbo && !fatal && strcmp(f.c, "25P02") == 0 && strcmp(f.m, limbo_message) == 0)
		return EX_LIMBO;
	if (!fatal && (is_unset(o, &f) || (o->unnamed_doubt && is_no_unnamed(&f))))
		return EX_UNKNOWN;
	if (fatal && is_nonsense(o, &f))
		return EX_FATAL;
	for (i = 0; i < n; i++) {
		if (!(o->may & r[i].may) || strcmp(f.c, r[i].sqlstate) != 0 ||
		    strncmp(f.m, r[i].message, strlen(r[i].message)) != 0 ||
		    (!r[i].begins && f.m[strlen(r[i].message)]))
			continue;
		if (r[i].what == EX_LOST_BLOCK && o->status == 'I' && !in_block(o))
			return NO_EXCUSE; /* inside which transaction? */
		return r[i].what;
	}
	return NO_EXCUSE;
}

struct engine_error error_of(const struct msg *m)
{
	struct fields f = msg_fields(m->p, m->len);
	struct engine_error e = { .fatal = false };

	(void)snprintf(e.sqlstate, sizeof(e.sqlstate), "%s", f.c);
	(void)snprintf(e.message, sizeof(e.message), "%s", f.m);
	return e;
}

bool sql_commits(const char *sql)
{
	unsigned depth = 0;

	for (; *sql; sql++) {
		if (strncmp(sql, "/*", 2) == 0) {
			depth++;
			sql++;
		} else if (depth && strncmp(sql, "*/", 2) == 0) {
			depth--;
			sql++;
		} else if (!depth && strncmp(sql, "--", 2) == 0) {
			sql += strcspn(sql, "\n");
			if (!*sql)
				return false;
		} else if (!depth && !strchr(" \t\r\n\f\v;", *sql)) {
			break;
		}
	}
	return strncasecmp(sql, "commit", 6) == 0 || strncasecmp(sql, "end", 3) == 0;
}
