/* proxy/session/fence.c - see fence.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/fence.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "session/nodes.h"

/* default_transaction_read_only changes by nobody's statement: somebody fences the node
 * off. It is the node's and not the session's, or it would follow the client to the next
 * one. (Other settings of a configuration file are the same everywhere.) */
bool fence_is(const struct server *s, const struct client *c, const char *name, const char *value,
	      bool ours)
{
	const char *base = params_get(&s->base, name), *wish;

	if (strcasecmp(name, "default_transaction_read_only") != 0 ||
	    (base && strcmp(base, value) == 0))
		return false;
	if (c && !ours)
		return !c->residue.leaves;
	/* what we say sets it to what the client wishes, or back to what it was */
	wish = c ? params_get(&c->params, name) : NULL;
	return !wish || strcmp(wish, value) != 0;
}

void fence_got(struct server *s, const char *name, const char *value)
{
	params_unset(&s->params, name);
	s->turned = strcmp(value, "on") == 0;
	if (params_set(&s->base, name, value))
		s->close_needed = true;
	nodes_seen(s->h, s->target, SEEN_WANTED);
}

/* The block is over, and what was set in it for itself alone is taken back. */
void fence_settle(struct server *s, struct client *c)
{
	static const char name[] = "default_transaction_read_only";
	const char *value = params_get(&s->params, name);
	char now[8];

	s->fence_due = false;
	if (!value || c->residue.leaves)
		return;
	(void)snprintf(now, sizeof(now), "%s", value);
	params_unset(&c->params, name);
	fence_got(s, name, now);
}
