/* health/gate.c - see gate.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/gate.h"

/* libpq's own bound of a request for authentication. */
#define REQUEST_MAX 2000u

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* One letter; libpq keeps what is behind an N for the login. */
static enum gate look_answer(const uint8_t *p, size_t n)
{
	return n > 1 && *p == 'N' ? GATE_BAD : GATE_PASS;
}

enum gate gate_look(const uint8_t *p, size_t n, bool asked, size_t *need)
{
	size_t at = 0, len;

	*need = 0;
	if (asked)
		return look_answer(p, n);
	while (at < n) {
		if (p[at] != 'R' && p[at] != 'E')
			return GATE_BAD;
		*need = at + 5;
		if (n < *need)
			break;
		len = get_u32(p + at + 1);
		if (len < 8 || len > (p[at] == 'R' ? REQUEST_MAX : GATE_MAX))
			return GATE_BAD;
		*need = at + 1 + len;
		if (n < *need)
			break;
		/* behind either libpq takes no more requests */
		if (p[at] == 'E' || get_u32(p + at + 5) == 0)
			return GATE_PASS;
		if (get_u32(p + at + 5) == 3)
			return GATE_CLEAR;
		at += 1 + len;
	}
	if (at == n)
		return n < GATE_MAX ? GATE_PASS : GATE_BAD; /* there may be more than libpq takes at once */
	return *need < GATE_MAX ? GATE_MORE : GATE_BAD;
}
