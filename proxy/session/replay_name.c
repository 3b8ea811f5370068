/* proxy/session/replay_name.c - see replay_name.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/replay_name.h"

#include <string.h>

#include "session/unit.h"
#include "wire/fingerprint.h"
#include "wire/wire.h"

/* The text that a Parse of this name in front of it gave, or what the name stands for. */
static const char *text_of(const struct client *c, const char *name, const char *parsed)
{
	const struct stmt *st;
	const char *theirs;
	uint64_t id;
	size_t len;

	if (!*name)
		return parsed;
	id = stmt_name_id(name, &len);
	st = id ? stmt_names_find(&c->names, id, &theirs) : NULL;
	if (!st && id)
		st = replay_closed(c, id);
	return st ? (const char *)st->body : NULL;
}

/* In the records of a log from at to end. */
static uint64_t first_in(const struct client *c, const struct hold *log, size_t at, size_t end)
{
	const char *parsed = c->unnamed ? (const char *)c->unnamed->body : NULL, *sql;

	while (at < end) {
		uint8_t kind = log->p[at++], type = 0;
		const uint8_t *msg = log->p + at;
		struct wire_get g;
		uint32_t len = 0;

		if (kind == UNIT_LOCAL) {
			at += sizeof(uint64_t);
			continue;
		}
		if (wire_header(msg, end - at, &type, &len) != WIRE_OK || len > end - at)
			return 0;
		at += len;
		g = wire_body(msg, len);
		sql = NULL;
		if (type == 'P' && !*wire_get_str(&g, NULL))
			parsed = wire_get_str(&g, NULL);
		else if (type == 'Q' && kind == UNIT_FORWARD)
			sql = wire_get_str(&g, NULL);
		else if (type == 'B' && wire_get_str(&g, NULL))
			sql = text_of(c, wire_get_str(&g, NULL), parsed);
		if (sql && !g.bad)
			return lex_fingerprint(sql, strlen(sql));
	}
	return 0;
}

uint64_t replay_fingerprint(const struct client *c, unsigned unit)
{
	const struct replay *r = c->replay;
	uint32_t from = 0, to = 0;
	size_t at = 0;
	unsigned i;

	if (unit >= r->units)
		return first_in(c, &c->unit.log, 0, c->unit.log.len);
	for (i = 0; i <= unit; i++) {
		const uint8_t *sum = r->sums.p + at + sizeof(to);

		from = to;
		memcpy(&to, r->sums.p + at, sizeof(to));
		at += sizeof(to) + (*sum == 255 ? 33u : 1u + *sum);
	}
	return first_in(c, &r->log, from, to);
}
