/* conf/show.c - conf_each of conf.h: the rows of SHOW CONFIG.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "conf/bouncer.h"
#include "conf/key.h"

static int by_name(const void *a, const void *b)
{
	const struct key *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* The default that held while this configuration was read. */
static const char *default_of(const struct conf *c, const struct key *k)
{
	const char *def = c->from_pgbouncer ? bouncer_default(k->name) : NULL;

	return def ? def : k->def;
}

void conf_each(const struct conf *c, conf_row_fn *fn, void *arg)
{
	const struct key **sorted = calloc(key_count(), sizeof(*sorted));
	char text[KEY_TEXT_MAX];
	const struct key *k;
	const char *value;
	size_t i, n = 0;

	/* Without memory the order of the table must do. */
	for (i = 0; (k = key_row(i)); i++)
		if (sorted && k->scope == KEY_GLOBAL)
			sorted[n++] = k;
	if (sorted)
		qsort(sorted, n, sizeof(*sorted), by_name);
	for (i = 0; sorted ? i < n : i < key_count(); i++) {
		k = sorted ? sorted[i] : key_row(i);
		if (k->scope != KEY_GLOBAL)
			continue;
		value = key_print(k, &c->g, text, sizeof(text));
		if (key_is_secret(k) && *value)
			value = "********";
		fn(arg, k->name, value, default_of(c, k), k->is_reloadable);
	}
	free(sorted);
}
