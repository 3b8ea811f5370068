/* conf/uri.h - a libpq URI or keyword/value string as a whole configuration.
 *
 * Owner:   nobody; writes into a draft.
 * Threads: the loader's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_URI_H
#define PGWEIR_CONF_URI_H

#include "conf/draft.h"
#include "conf/err.h"

/* Fills an empty draft: the fallback "*", an entry of the string's own
 * database, no client authentication. What pgweir cannot do as libpq would is
 * refused by name. Sentences never show the password. */
MUST_CHECK int uri_read(struct draft *d, const char *uri, struct err *e);

#endif
