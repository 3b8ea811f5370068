/* proxy/session/origin.c - see origin.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/origin.h"

#include <stdio.h>
#include <string.h>

/* As PostgreSQL keeps of it. */
#define NAME_MAX_LEN 63

bool origin_addr(const struct client *c, char *out, size_t cap)
{
	if (c->local || c->inner)
		return false;
	(void)addr_print(&c->from.a.sa, c->from.len, out, cap);
	return true;
}

int origin_name(struct client *c, const char *fallback)
{
	const char *name = params_get(&c->params, "application_name");
	char from[ORIGIN_TEXT], text[NAME_MAX_LEN + ORIGIN_TEXT];
	size_t n, room;

	if (!name || !*name)
		name = fallback && *fallback ? fallback : "app";
	if (c->local && c->peer_pid)
		(void)snprintf(from, sizeof(from), "unix(%u)", c->peer_pid);
	else if (c->local || !origin_addr(c, from, sizeof(from)))
		(void)snprintf(from, sizeof(from), "%s", c->local ? "unix" : "?");
	/* of a long one the beginning, so that the host is whole */
	n = strlen(name);
	room = strlen(" - ") + strlen(from);
	room = room < NAME_MAX_LEN ? NAME_MAX_LEN - room : 0;
	if (n > room)
		for (n = room; n && ((uint8_t)name[n] & 0xc0) == 0x80;)
			n--; /* not in the middle of a character */
	memcpy(text, name, n);
	(void)snprintf(text + n, sizeof(text) - n, " - %s", from);
	return params_set(&c->params, "application_name", text);
}
