/* conf/advise.h - what is allowed and probably wrong: warnings for --check.
 *
 * Owner:   nobody; reads a checked draft and adds to its warnings.
 * Threads: the loader's. Blocks on the disk (modes of files).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_ADVISE_H
#define PGWEIR_CONF_ADVISE_H

#include "conf/draft.h"

void advise(struct draft *d);

#endif
