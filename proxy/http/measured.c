/* proxy/http/measured.c - see measured.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/measured.h"

#include <stdlib.h>
#include <string.h>

static void shorten(struct measured_one *to, const struct meter_sum *s)
{
	unsigned h, i;

	memcpy(to->name, s->name, sizeof(to->name));
	to->stats = s->stats;
	memcpy(to->errors, s->errors, sizeof(to->errors));
	for (h = 0; h < METER_HIST_N; h++) {
		to->hist[h].n = s->hist[h].n;
		to->hist[h].sum_us = s->hist[h].sum_us;
		for (i = 0; i < MEASURED_BUCKETS; i++)
			to->hist[h].upto[i] =
				hist_upto(&s->hist[h], UINT64_C(1) << (MEASURED_FROM_BITS + i));
	}
}

/* Meters come and go between two readings, and may change their places. */
static bool is_there(const struct measured *m, const char *name)
{
	size_t i;

	for (i = 0; i < m->n; i++)
		if (strcmp(m->one[i].name, name) == 0)
			return true;
	return false;
}

int measured_read(struct measured *m, struct meters *ms, enum meter_kind kind, uint64_t now_us)
{
	struct meter_sum *s = malloc(sizeof(*s));
	unsigned i;

	m->n = 0;
	m->one = calloc(METERS_MAX + 2, sizeof(*m->one));
	if (!s || !m->one) {
		free(s);
		measured_free(m);
		return -1;
	}
	for (i = 0; i <= METERS_MAX && meters_read(ms, kind, i, now_us, s, NULL); i++)
		if (!is_there(m, s->name))
			shorten(&m->one[m->n++], s);
	if (kind == METER_DB) {
		meters_read_lobby(ms, s);
		if (!is_there(m, s->name))
			shorten(&m->one[m->n++], s);
	}
	free(s);
	return 0;
}

void measured_free(struct measured *m)
{
	free(m->one);
	m->one = NULL;
	m->n = 0;
}
