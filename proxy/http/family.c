/* proxy/http/family.c - see family.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/family.h"

#include <string.h>

void family_begin(struct out *o, bool openmetrics, const char *name, enum family_kind kind,
		  const char *unit, const char *help)
{
	static const char *const word[] = { "gauge", "counter", "histogram" };
	const char *total = kind == FAMILY_COUNTER && !openmetrics ? "_total" : "";

	out_fmt(o, "# HELP pgweir_%s%s %s\n", name, total, help);
	out_fmt(o, "# TYPE pgweir_%s%s %s\n", name, total, word[kind]);
	if (unit && openmetrics)
		out_fmt(o, "# UNIT pgweir_%s %s\n", name, unit);
}

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);

	return n > k && strcmp(s + n - k, with) == 0;
}

const char *family_unit(const char *name)
{
	return ends(name, "_seconds") ? "seconds" : ends(name, "_bytes") ? "bytes" : NULL;
}
