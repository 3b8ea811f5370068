/* conf/check.h - what must hold between settings.
 *
 * Owner:   nobody; reads a settled draft.
 * Threads: the loader's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_CHECK_H
#define PGWEIR_CONF_CHECK_H

#include "conf/draft.h"
#include "conf/err.h"

/* 0, or -1 with a sentence that starts with the place of the setting. Looks up
 * the names of listen_addr, unless the draft says not to. */
MUST_CHECK int check_all(const struct draft *d, struct err *e);

#endif
