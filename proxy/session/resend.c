/* proxy/session/resend.c - see resend.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/resend.h"

#include <stdlib.h>
#include <string.h>

#include "session/names.h"
#include "session/replay.h"
#include "session/unit.h"
#include "session/up_stmt.h"
#include "wire/wire.h"

static uint64_t id_of(const char *name)
{
	size_t len;

	return stmt_name_id(name, &len);
}

static bool close_first(struct server *s, const char *name)
{
	uint8_t b[64];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_close(&w, name);
	return !w.bad && !owed_sent(&s->owed, 'C', 0, true, 0, NULL) &&
	       stream_send(&s->s, b, w.len) != IO_FAIL;
}

/* The statement a Bind or Describe names is prepared anew when the server has it
 * no more. */
static bool prepare_again(struct client *c, struct server *s, const char *name)
{
	uint64_t id = id_of(name);
	uint8_t head[WIRE_HEADER + STMT_NAME_CAP];
	struct wire_put w = wire_put_to(head, sizeof(head));
	bool again;
	const char *theirs;
	const struct stmt *st = id ? stmt_names_find(&c->names, id, &theirs) : NULL;

	if (!st && id)
		st = replay_closed(c, id);
	if (!st || stmt_cache_use(&s->cache, id))
		return true; /* nothing to prepare */
	again = s->stale == id;
	if (again) {
		s->stale = 0;
		if (!close_first(s, name))
			return false;
	}
	wire_put_u8(&w, 'P');
	wire_put_u32(&w, (uint32_t)(4 + strlen(name) + 1 + st->len));
	wire_put_str(&w, name);
	return !w.bad && !owed_sent(&s->owed, 'P', 0, true, id | (again ? REF_AGAIN : 0), NULL) &&
	       !stmt_cache_add(&s->cache, id) && stream_send(&s->s, head, w.len) != IO_FAIL &&
	       stream_send(&s->s, st->body, st->len) != IO_FAIL;
}

/* The unnamed statement is given or taken once more: what the first attempt did to
 * it was undone where the server skipped it, and is the same again where not. */
static bool unnamed_again(struct client *c, struct server *s, uint8_t type, struct wire_get body)
{
	struct stmt *st = NULL;
	bool fresh = false;

	if (type == 'P') {
		st = stmts_get(&c->h->stmts, body.p, (uint32_t)wire_left(&body), &fresh);
		if (!st)
			return false;
		if (fresh)
			up_classify(c, st);
	}
	if (names_unnamed(c, st)) {
		stmts_put(&c->h->stmts, st);
		return false;
	}
	s->unnamed_serial = c->unnamed_serial;
	return true;
}

static bool resend_one(struct client *c, struct server *s, const uint8_t *msg, uint32_t len,
		  bool swallow)
{
	struct wire_get g = wire_body(msg, len);
	char what = 0;
	uint64_t ref = 0;

	if (msg[0] == 'P') {
		const char *name = wire_get_str(&g, NULL);

		ref = *name ? id_of(name) : REF_UNNAMED;
		if (*name && stmt_cache_use(&s->cache, ref) && !close_first(s, name))
			return false;
		if (*name && stmt_cache_add(&s->cache, ref))
			return false;
		if (!*name && swallow)
			s->unnamed_serial = c->unnamed_serial;
		else if (!*name && !unnamed_again(c, s, 'P', g))
			return false;
		/* The name itself was settled by the first attempt; its
		 * registration is the client's and stays. */
		if (*name)
			ref |= REF_AGAIN;
	} else if (msg[0] == 'D' || msg[0] == 'C') {
		what = (char)wire_get_u8(&g);
	}
	if (msg[0] == 'C' && what == 'S' && len == WIRE_HEADER + 2) {
		ref = REF_UNNAMED;
		s->unnamed_serial = 0;
		if (!swallow && !unnamed_again(c, s, 'C', g))
			return false;
	}
	if (msg[0] == 'C' && what == 'S' && swallow && len > WIRE_HEADER + 2) {
		ref = id_of(wire_get_str(&g, NULL)); /* it had to make room */
		stmt_cache_del(&s->cache, ref);
	}
	if (msg[0] == 'B')
		(void)wire_get_str(&g, NULL);
	if (msg[0] == 'B' || (msg[0] == 'D' && what == 'S')) {
		const char *name = wire_get_str(&g, NULL);

		ref = id_of(name);
		if (!prepare_again(c, s, name))
			return false;
	}
	if (owed_sent(&s->owed, (char)msg[0], what, swallow, ref, NULL))
		return false;
	return stream_send(&s->s, msg, len) != IO_FAIL;
}

bool resend_log(struct client *c, struct server *s, const struct hold *log, size_t at, size_t end)
{
	while (at < end) {
		uint8_t kind = log->p[at++], type = 0;
		uint32_t len = 0;

		if (kind == UNIT_LOCAL) {
			uint64_t ref;

			memcpy(&ref, log->p + at, sizeof(ref));
			at += sizeof(ref);
			if (owed_sent_local(&s->owed, ref, NULL))
				return false;
			continue;
		}
		if (wire_header(log->p + at, end - at, &type, &len) != WIRE_OK || len > end - at ||
		    !resend_one(c, s, log->p + at, len, kind == UNIT_SWALLOW))
			return false;
		at += len;
	}
	return true;
}

bool resend_unit(struct client *c, struct server *s)
{
	struct unit *u = &c->unit;

	hold_free(&u->back, &c->h->holds);
	u->answered = u->failed = u->other_error = u->reprepare = false;
	u->complete_seen = u->commit_seen = false;
	u->completes = 0;
	u->error = 0;
	u->resending = true;
	c->at_start = false; /* what the client sends next is another unit */
	c->commit_sent |= u->commits;
	c->opens_sent |= u->opens && !u->commits;
	if (!resend_log(c, s, &u->log, 0, u->log.len))
		return false;
	u->resending = false;
	return true;
}
