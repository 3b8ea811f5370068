/* proxy/http/family.h - the head of a family of metrics.
 *
 * Threads: any. Pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_FAMILY_H
#define PGWEIR_HTTP_FAMILY_H

#include <stdbool.h>

#include "http/out.h"

enum family_kind { FAMILY_GAUGE = 0, FAMILY_COUNTER, FAMILY_HISTOGRAM };

/* HELP, TYPE and, in OpenMetrics, UNIT of pgweir_NAME, a counter's name without its _total.
 * unit: NULL, none. */
void family_begin(struct out *o, bool openmetrics, const char *name, enum family_kind kind,
		  const char *unit, const char *help);
/* What the name ends with: seconds, bytes, or NULL. */
const char *family_unit(const char *name);

#endif
