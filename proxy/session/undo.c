/* proxy/session/undo.c - see undo.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/undo.h"

#include <stdlib.h>
#include <string.h>

int undo_note(struct client *c)
{
	if (!c->undo)
		c->undo = calloc(1, sizeof(*c->undo));
	if (!c->undo)
		return -1;
	if (c->undo->noted)
		return 0;
	if (params_copy(&c->undo->before, &c->params))
		return -1;
	c->undo->noted = true;
	return 0;
}

void undo_forget(struct client *c)
{
	if (!c->undo || !c->undo->noted)
		return;
	c->undo->noted = false;
	params_clear(&c->undo->before);
}

/* What c has of a reported setting, by these settings of its own. */
static const char *value_of(const struct params *own, const struct server *s, const char *name)
{
	const char *v = params_get(own, name);

	return v ? v : params_get(&s->base, name);
}

int undo_lost(struct client *c, const struct server *s)
{
	struct undo *u = c->undo;
	uint32_t i;
	int rc = 0;

	if (!u || !u->noted)
		return 0;
	for (i = 0; i < s->base.n; i++) {
		const char *name = s->base.v[i].name;
		const char *now = value_of(&c->params, s, name), *then = value_of(&u->before, s, name);

		if (strcmp(now, then) != 0)
			rc |= params_set(&u->told, name, then);
	}
	undo_unseen(c);
	return rc ? -1 : 0;
}

void undo_unseen(struct client *c)
{
	struct undo *u = c->undo;

	if (!u || !u->noted)
		return;
	params_clear(&c->params);
	c->params = u->before;
	u->before = (struct params){ 0 };
	u->noted = false;
}

void undo_put(struct client *c, struct wire_put *w)
{
	uint32_t i;

	for (i = 0; c->undo && i < c->undo->told.n; i++) {
		wire_begin(w, 'S');
		wire_put_str(w, c->undo->told.v[i].name);
		wire_put_str(w, c->undo->told.v[i].value);
		wire_end(w);
	}
	if (c->undo)
		params_clear(&c->undo->told);
}

void undo_free(struct client *c)
{
	if (!c->undo)
		return;
	params_clear(&c->undo->before);
	params_clear(&c->undo->told);
	free(c->undo);
	c->undo = NULL;
}
