/* proxy/session/switches.c - see switches.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/switches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/key.h"
#include "session/ours.h"

#define OUR_PREFIX "pgweir."
/* In place of a value: that of the session's start. */
#define START_VALUE 0xffu

struct row {
	const char *name;
	enum key_type type;      /* whose words are its values */
};

static const struct row rows[SWITCH_N] = {
	[SWITCH_RETRY] = { OUR_PREFIX "retry", KEY_RETRY },
	[SWITCH_RETRY_UNKNOWN] = { OUR_PREFIX "retry_unknown", KEY_RETRY_UNKNOWN },
};

static uint8_t *field(struct client *c, unsigned id)
{
	return id == SWITCH_RETRY ? &c->retry : &c->retry_unknown;
}

bool switches_ours(const char *name)
{
	return strncasecmp(name, OUR_PREFIX, sizeof(OUR_PREFIX) - 1) == 0;
}

static int say_no(struct switch_no *no, const char *sqlstate)
{
	no->sqlstate = sqlstate;
	*no->hint = 0;
	return -1;
}

/* The setting of that name; -1: there is none. */
static int find(const char *name, struct switch_no *no)
{
	unsigned i;

	for (i = 0; i < SWITCH_N; i++)
		if (strcasecmp(rows[i].name, name) == 0)
			return (int)i;
	(void)snprintf(no->message, sizeof(no->message),
		       "unrecognized configuration parameter \"%s\"", name);
	return say_no(no, "42704");
}

static int value_of(unsigned id, const char *word, struct switch_no *no)
{
	char words[100];
	int64_t v;

	if (key_word_value(rows[id].type, word, &v))
		return (int)v;
	(void)snprintf(no->message, sizeof(no->message), "invalid value for parameter \"%s\": \"%s\"",
		       rows[id].name, word);
	(void)say_no(no, "22023");
	(void)snprintf(no->hint, sizeof(no->hint), "Available values: %s.",
		       key_words(rows[id].type, words, sizeof(words)));
	return -1;
}

uint64_t switches_ref(const struct switch_text *t, enum switch_reply what, bool binary,
		      struct switch_no *no)
{
	uint8_t value = START_VALUE;
	int id, v;

	if (t->op == SWITCH_SET_LOCAL || t->op == SWITCH_AMONG) {
		(void)snprintf(no->message, sizeof(no->message),
			       t->op == SWITCH_AMONG ?
				       "\"%s\" cannot be set or shown together with other statements" :
				       "\"%s\" cannot be set for one transaction",
			       t->name);
		(void)say_no(no, "0A000");
		(void)snprintf(no->hint, sizeof(no->hint), "%s",
			       t->op == SWITCH_AMONG ? "Send it as a query of its own." :
						       "Use SET without LOCAL.");
		return 0;
	}
	id = find(t->name, no);
	if (id < 0)
		return 0;
	if (t->op == SWITCH_SET) {
		v = value_of((unsigned)id, t->value, no);
		if (v < 0)
			return 0;
		value = (uint8_t)v;
	}
	if (what == SWITCH_DONE_SET && t->op == SWITCH_RESET)
		what = SWITCH_DONE_RESET;
	else if (what == SWITCH_DONE_SET && t->op == SWITCH_SHOW)
		what = SWITCH_DONE_SHOW;
	return REF_SWITCH | (uint64_t)what | (uint64_t)id << 8 | (uint64_t)value << 16 |
	       (uint64_t)binary << 24;
}

static void put_rows(struct wire_put *w, const char *name, bool binary)
{
	wire_begin(w, 'T');
	wire_put_u16(w, 1);
	wire_put_str(w, name);
	wire_put_u32(w, 0);
	wire_put_u16(w, 0);
	wire_put_u32(w, 25); /* text */
	wire_put_u16(w, 0xffff);
	wire_put_u32(w, 0xffffffff);
	wire_put_u16(w, binary);
	wire_end(w);
}

static void put_row(struct wire_put *w, const char *value)
{
	wire_begin(w, 'D');
	wire_put_u16(w, 1);
	wire_put_u32(w, (uint32_t)strlen(value));
	wire_put_bytes(w, value, strlen(value));
	wire_end(w);
}

static void put_told(struct wire_put *w)
{
	wire_begin(w, 't');
	wire_put_u16(w, 0);
	wire_end(w);
}

static void put_shown(struct client *c, struct wire_put *w, unsigned id, bool whole)
{
	put_row(w, key_word(rows[id].type, *field(c, id)));
	if (whole)
		wire_put_msg_str(w, 'C', "SHOW");
	else
		wire_put_msg(w, 's');
}

static void set(struct client *c, unsigned id, unsigned value)
{
	*field(c, id) = value == START_VALUE ? c->switches.start[id] : (uint8_t)value;
}

size_t switches_reply(struct client *c, uint64_t ref, uint8_t *out, size_t cap)
{
	struct wire_put w = wire_put_to(out, cap);
	unsigned id = ref >> 8 & 0xff, value = ref >> 16 & 0xff;
	bool binary = (ref >> 24 & 1) != 0;

	if (!c)
		return 0;
	switch ((enum switch_reply)(ref & 0xff)) {
	case SWITCH_BOUND:
		wire_put_msg(&w, '2');
		break;
	case SWITCH_CLOSED:
		wire_put_msg(&w, '3');
		break;
	case SWITCH_TOLD:
	case SWITCH_TOLD_ROWS:
		put_told(&w);
		if ((ref & 0xff) == SWITCH_TOLD)
			wire_put_msg(&w, 'n');
		else
			put_rows(&w, rows[id].name, false);
		break;
	case SWITCH_NO_DATA:
		wire_put_msg(&w, 'n');
		break;
	case SWITCH_ROWS:
		put_rows(&w, rows[id].name, binary);
		break;
	case SWITCH_DONE_SET:
	case SWITCH_DONE_RESET:
		set(c, id, value);
		wire_put_msg_str(&w, 'C', (ref & 0xff) == SWITCH_DONE_SET ? "SET" : "RESET");
		break;
	case SWITCH_DONE_SHOW:
	case SWITCH_SUSPENDED:
		put_shown(c, &w, id, (ref & 0xff) == SWITCH_DONE_SHOW);
		break;
	case SWITCH_SHOWN:
	default:
		wire_put_msg_str(&w, 'C', "SHOW");
	}
	return w.len;
}

/* ---- a session's start and end ---- */

bool switches_ask(struct client *c, const char *name, const char *value, bool option,
		  struct switch_no *no)
{
	int id = find(name, no), v = id < 0 ? -1 : value_of((unsigned)id, value, no);

	if (v < 0)
		return false;
	if (!option || !c->switches.asked[id])
		c->switches.asked[id] = (uint8_t)(v + 1);
	return true;
}

void switches_start(struct client *c)
{
	unsigned i;

	for (i = 0; i < SWITCH_N; i++) {
		uint8_t asked = c->switches.asked[i];

		if (asked)
			*field(c, i) = (uint8_t)(asked - 1);
		c->switches.start[i] = *field(c, i);
	}
}

void switches_reset(struct client *c)
{
	unsigned i;

	for (i = 0; i < SWITCH_N; i++)
		set(c, i, START_VALUE);
}

static void forget_no(struct client *c)
{
	free(c->switches.no);
	free(c->switches.no_hint);
	c->switches.no = c->switches.no_hint = NULL;
}

void switches_free(struct client *c)
{
	forget_no(c);
	free(c->switches.portal);
	c->switches.portal = NULL;
}

/* ---- what fails on the server ---- */

void switches_refused(struct client *c, const struct switch_no *no)
{
	if (c->unit.switch_refused)
		return; /* what is behind the first is skipped */
	forget_no(c);
	c->switches.no = strdup(no->message);
	c->switches.no_hint = *no->hint ? strdup(no->hint) : NULL;
	c->switches.no_state = no->sqlstate;
	c->unit.switch_refused = true;
}

void switches_error(const struct client *c, struct wire_error *e)
{
	*e = (struct wire_error){ .severity = "ERROR", .sqlstate = "0A000", .message = "refused" };
	if (!c || !c->switches.no)
		return; /* no memory for the words */
	e->sqlstate = c->switches.no_state;
	e->message = c->switches.no;
	e->hint = c->switches.no_hint;
}
