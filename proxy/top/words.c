/* proxy/top/words.c - see words.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/words.h"

#include <stdio.h>
#include <string.h>

static const char *put(char out[WORDS_MAX], double v, const char *unit)
{
	/* what rounds up to 10 has no decimal */
	(void)snprintf(out, WORDS_MAX, v < 9.95 ? "%.1f%s" : "%.0f%s", v, unit);
	return out;
}

const char *words_count(char out[WORDS_MAX], uint64_t v)
{
	if (v == UINT64_MAX)
		(void)snprintf(out, WORDS_MAX, "-");
	else if (v < 1000)
		(void)snprintf(out, WORDS_MAX, "%u", (unsigned)v);
	else if (v < 1000000)
		(void)snprintf(out, WORDS_MAX, "%u,%03u", (unsigned)(v / 1000), (unsigned)(v % 1000));
	else if (v < 1000000000)
		(void)snprintf(out, WORDS_MAX, "%.2fM", (double)v / 1e6);
	else
		(void)snprintf(out, WORDS_MAX, "%.2fG", (double)v / 1e9);
	return out;
}

const char *words_rate(char out[WORDS_MAX], double v)
{
	if (v < 0)
		(void)snprintf(out, WORDS_MAX, "-");
	else if (v > 0 && v < 9.95)
		return put(out, v, "");
	else
		return words_count(out, (uint64_t)(v + 0.5));
	return out;
}

const char *words_bytes(char out[WORDS_MAX], double v)
{
	static const char *const unit[] = { " B", " kB", " MB", " GB", " TB" };
	unsigned i = 0;

	if (v < 0) {
		(void)snprintf(out, WORDS_MAX, "-");
		return out;
	}
	for (; v >= 999.5 && i < 4; i++)
		v /= 1000;
	if (!i) {
		(void)snprintf(out, WORDS_MAX, "%.0f B", v);
		return out;
	}
	return put(out, v, unit[i]);
}

const char *words_us(char out[WORDS_MAX], double us)
{
	if (us < 0)
		(void)snprintf(out, WORDS_MAX, "-");
	else if (us < 999.5)
		(void)snprintf(out, WORDS_MAX, us > 0 ? "%.0f us" : "0", us);
	else if (us < 999500)
		return put(out, us / 1e3, " ms");
	else if (us < 120e6)
		return put(out, us / 1e6, " s");
	else
		(void)snprintf(out, WORDS_MAX, "%.0f min", us / 60e6);
	return out;
}
