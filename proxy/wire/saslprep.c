/* proxy/wire/saslprep.c - SASLprep with GNU libidn's tables, in PostgreSQL's order.
 *
 * PostgreSQL (pg_saslprep) looks for what is prohibited, unassigned or of both
 * directions in the mapped text, before it is normalized; RFC 3454 and libidn
 * look behind that. The two differ on some passwords (U+0340, an Arabic ligature
 * at either end), so the steps of libidn's profile are taken with normalization
 * moved to the end.
 *
 * libidn normalizes as Unicode 3.2 did. Since then five characters were corrected,
 * which are mapped here. So was the composition across combining marks
 * (Corrigendum 5), which is left: a password with, say, U+1100 U+0300 U+1161 in it
 * gets a key that PostgreSQL does not know.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/saslprep.h"

#include <stdlib.h>
#include <string.h>

#include <stringprep.h>

#define STEPS_MAX 32
/* NFKC makes at most 18 characters of one, U+FDFA, which has three bytes. */
#define CHARS_PER_BYTE 6

/* Corrigendum 4. */
static const Stringprep_table_element corrected[] = {
	{0x2f868, 0x2f868, {0x36fc}}, {0x2f874, 0x2f874, {0x5f53}}, {0x2f91f, 0x2f91f, {0x243ab}},
	{0x2f95f, 0x2f95f, {0x7aee}}, {0x2f9bf, 0x2f9bf, {0x45d7}}, {0, 0, {0}},
};

/* libidn's profile with normalization at the end. -1: it is not as expected. */
static int arrange(Stringprep_profile steps[STEPS_MAX])
{
	const Stringprep_profile *p;
	size_t n = 0;

	for (p = stringprep_saslprep; p->operation != 0; p++) {
		if (p->operation == STRINGPREP_NFKC)
			continue;
		if (n + 4 > STEPS_MAX)
			return -1;
		steps[n++] = *p;
	}
	steps[n++] = (Stringprep_profile){STRINGPREP_MAP_TABLE, 0, corrected,
					  sizeof(corrected) / sizeof(corrected[0]) - 1};
	steps[n++] = (Stringprep_profile){STRINGPREP_NFKC, 0, NULL, 0};
	steps[n] = (Stringprep_profile){0, 0, NULL, 0};
	return 0;
}

/* chars: room for cap of them. *out as saslprep(). */
static int prepare(uint32_t *chars, size_t len, size_t cap, char **out)
{
	Stringprep_profile steps[STEPS_MAX];
	size_t n;

	if (arrange(steps) != 0)
		return -1;
	switch (stringprep_4i(chars, &len, cap, STRINGPREP_NO_UNASSIGNED, steps)) {
	case STRINGPREP_OK:
		break;
	case STRINGPREP_CONTAINS_UNASSIGNED:
	case STRINGPREP_CONTAINS_PROHIBITED:
	case STRINGPREP_BIDI_BOTH_L_AND_RAL:
	case STRINGPREP_BIDI_LEADTRAIL_NOT_RAL:
	case STRINGPREP_BIDI_CONTAINS_PROHIBITED:
		return 0;
	default:
		return -1;
	}
	if (len == 0) /* nothing but soft hyphens and the like */
		return 0;
	*out = stringprep_ucs4_to_utf8(chars, (ssize_t)len, NULL, &n);
	return *out != NULL ? 0 : -1;
}

int saslprep(const char *password, char **out)
{
	size_t len = strlen(password), n = 0, cap, i;
	uint32_t *decoded, *chars;
	uint8_t high = 0;
	int rc = -1;

	*out = NULL;
	for (i = 0; i < len; i++)
		high |= (uint8_t)password[i];
	if (high < 0x80)
		return 0;
	if (len > SASLPREP_MAX)
		return -1;
	decoded = stringprep_utf8_to_ucs4(password, (ssize_t)len, &n);
	if (decoded == NULL) /* not UTF-8 */
		return 0;
	cap = len * CHARS_PER_BYTE + 1;
	chars = malloc(cap * sizeof(*chars));
	if (chars != NULL) {
		memcpy(chars, decoded, n * sizeof(*chars));
		rc = prepare(chars, n, cap, out);
		explicit_bzero(chars, cap * sizeof(*chars));
		free(chars);
	}
	explicit_bzero(decoded, n * sizeof(*decoded));
	free(decoded);
	return rc;
}

void saslprep_free(char *prepared)
{
	if (prepared == NULL)
		return;
	explicit_bzero(prepared, strlen(prepared));
	free(prepared);
}
