/* tests/unit/test_gate.c - health/gate: what libpq may see.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health/gate.h"

#define OK "R\0\0\0\x08\0\0\0\0"
#define CLEAR "R\0\0\0\x08\0\0\0\x03"
#define MD5 "R\0\0\0\x0c\0\0\0\x05salt"
#define SASL "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"
#define ERROR "E\0\0\0\x0cSFATAL\0\0"
#define REST "S\0\0\0\x08" "a\0b\0Z\0\0\0\5I"

static void expect(const char *p, size_t n, bool asked, enum gate want, size_t want_need)
{
	size_t need = 99;

	assert_int_equal(gate_look((const uint8_t *)p, n, asked, &need), want);
	if (want == GATE_MORE)
		assert_int_equal(need, want_need);
}

#define EXPECT(lit, want) expect(lit, sizeof(lit) - 1, false, want, 0)

static void whole(void **state)
{
	(void)state;
	EXPECT("", GATE_PASS);
	EXPECT(OK, GATE_PASS);
	EXPECT(OK REST, GATE_PASS);
	EXPECT(OK CLEAR, GATE_PASS); /* no request any more: libpq refuses it */
	EXPECT(MD5, GATE_PASS);
	EXPECT(MD5 OK REST, GATE_PASS);
	EXPECT(SASL, GATE_PASS);
	EXPECT(ERROR, GATE_PASS);
	EXPECT(CLEAR, GATE_CLEAR);
	EXPECT(MD5 CLEAR, GATE_CLEAR);
	EXPECT(SASL MD5 CLEAR OK, GATE_CLEAR);
	EXPECT("R\0\0\0\x0c\0\0\0\3more", GATE_CLEAR);
}

static void nonsense(void **state)
{
	char much[GATE_MAX];
	size_t i;

	(void)state;
	EXPECT("N", GATE_BAD);
	EXPECT("S\0\0\0\x08" "a\0b\0", GATE_BAD);
	EXPECT(MD5 "N", GATE_BAD);
	EXPECT("R\0\0\0\7\0\0\0", GATE_BAD);
	EXPECT("R\0\0\0\0", GATE_BAD);
	EXPECT("R\377\377\377\377", GATE_BAD);
	EXPECT("R\0\0\7\xd1", GATE_BAD);
	EXPECT("E\0\0\x20\1", GATE_BAD);
	EXPECT("E\0\0\0\7", GATE_BAD);
	/* more than one recv of libpq may take: its rest would begin anywhere */
	for (i = 0; i + 16 <= sizeof(much); i += 16)
		memcpy(much + i, "R\0\0\0\x0f\0\0\0\x0csixteen", 16);
	expect(much, sizeof(much), false, GATE_BAD, 0);
	expect(much, sizeof(much) - 16, false, GATE_PASS, 0);
	expect(much, sizeof(much) - 1, false, GATE_BAD, 0);
}

static void cut(void **state)
{
	static const char all[] = SASL MD5 CLEAR;
	static const size_t at[] = { 0, 24, 37, 46 };
	size_t n, i;

	(void)state;
	assert_int_equal(sizeof(all) - 1, at[3]);
	for (n = 1; n < at[3]; n++) {
		for (i = 0; at[i + 1] <= n; i++)
			;
		if (n == at[i])
			expect(all, n, false, GATE_PASS, 0);
		else
			expect(all, n, false, GATE_MORE, n < at[i] + 5 ? at[i] + 5 : at[i + 1]);
	}
}

static void answers(void **state)
{
	(void)state;
	expect("S", 1, true, GATE_PASS, 0);
	expect("N", 1, true, GATE_PASS, 0);
	expect("N" CLEAR, 10, true, GATE_BAD, 0);
	expect("NR", 2, true, GATE_BAD, 0);
	expect("\x16\x03\x03", 3, true, GATE_PASS, 0);
	expect(ERROR, sizeof(ERROR) - 1, true, GATE_PASS, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(cut),
		cmocka_unit_test(answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
