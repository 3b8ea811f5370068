/* proxy/wire/switches.h - SET, SHOW and RESET of settings called pgweir.*: their
 * texts. What they mean is session/switches.h.
 *
 * Pure. Fails closed: what is not understood to its end is no such text.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_SWITCHES_H
#define PGWEIR_WIRE_SWITCHES_H

#include "wire/lexer.h"

enum switch_op {
	SWITCH_NOT = 0,
	SWITCH_SET,              /* SET [SESSION] name = value */
	SWITCH_SET_DEFAULT,      /* SET [SESSION] name TO DEFAULT */
	SWITCH_SET_LOCAL,        /* SET LOCAL name ... */
	SWITCH_RESET,
	SWITCH_SHOW,
	SWITCH_AMONG             /* one of these, and another statement behind it */
};

#define SWITCH_TEXT_MAX 64

struct switch_text {
	enum switch_op op;
	char name[SWITCH_TEXT_MAX];      /* folded as the server would */
	char value[SWITCH_TEXT_MAX];     /* of SWITCH_SET; a longer one is cut */
};

/* A whole text; the first statement is looked at. */
enum switch_op switches_read(const char *sql, size_t n, struct switch_text *out);
/* rest is behind SET (set), SHOW or RESET: does a name pgweir.* follow? */
bool switches_named(struct lex rest, bool set);

#endif
