/* proxy/session/settings.c - see settings.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/settings.h"

#include <stdlib.h>

#include "wire/wire.h"

#define SETTINGS_SHORT 4096u

int settings_sync(struct client *c, struct server *s, bool *sent)
{
	uint8_t b[SETTINGS_SHORT];
	uint8_t *big = NULL;
	struct wire_put w = wire_put_to(b, sizeof(b));
	int n = params_diff(&c->params, &s->params, &w), rc = -1;

	*sent = false;
	if (n < 0) {
		big = malloc(4 * PARAMS_BYTES_MAX + 16 * PARAMS_MAX * 8);
		if (!big)
			return -1;
		w = wire_put_to(big, 4 * PARAMS_BYTES_MAX + 16 * PARAMS_MAX * 8);
		n = params_diff(&c->params, &s->params, &w);
	}
	if (n == 0)
		rc = 0;
	*sent = n > 0;
	while (n-- > 0)
		if (owed_sent(&s->owed, 'Q', 0, true, 0, NULL))
			goto out;
	if (*sent && stream_send(&s->s, w.p, w.len) != IO_FAIL) {
		s->unnamed_serial = 0;
		rc = params_copy(&s->params, &c->params);
	}
out:
	free(big);
	return rc;
}
