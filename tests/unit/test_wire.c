/* tests/unit/test_wire.c - framing cut in every place, every length, every get
 * past the end, every put that does not fit, error messages in and out.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/wire/wire.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A copy of exactly n bytes, so that a sanitizer sees the first one too far. */
static uint8_t *exact(const void *p, size_t n)
{
	uint8_t *q = malloc(n ? n : 1);

	assert_non_null(q);
	memcpy(q, p, n);
	return n ? q : (free(q), (uint8_t *)NULL);
}

/* ---- framing ---- */

struct seen {
	uint8_t type[64];
	uint32_t len[64];
	unsigned n;
	bool bad;
};

/* What a reader sees who is given data[0..n) and remembers where it was. */
static size_t walk(const uint8_t *data, size_t n, size_t at, struct seen *s)
{
	for (;;) {
		uint8_t *part = exact(data + at, n - at), type = 0;
		uint32_t len = 0;
		enum wire_status r = wire_header(part, n - at, &type, &len);

		free(part);
		if (r == WIRE_BAD)
			s->bad = true;
		if (r != WIRE_OK || len > n - at)
			return at;
		assert_true(s->n < COUNT(s->type));
		s->type[s->n] = type;
		s->len[s->n++] = len;
		at += len;
	}
}

static size_t stream_of_messages(uint8_t *out, size_t cap)
{
	struct wire_put w = wire_put_to(out, cap);

	wire_put_msg(&w, 'S');
	wire_put_msg_str(&w, 'Q', "SELECT 1");
	wire_put_msg_str(&w, 'Q', "");
	wire_begin(&w, 'd');
	wire_put_bytes(&w, "\0\0\0\4Q\0\0\0\4", 9);
	wire_end(&w);
	wire_put_ready(&w, 'T');
	wire_put_msg(&w, 'H');
	wire_put_msg(&w, 'c');
	wire_put_msg_str(&w, 'C', "INSERT 0 1");
	assert_false(w.bad);
	return w.len;
}

static void test_cut_anywhere(void **state)
{
	static const char types[] = "SQQdZHcC";
	uint8_t b[256];
	size_t n = stream_of_messages(b, sizeof(b)), i, j, at;

	(void)state;
	for (i = 0; i <= n; i++)
		for (j = i; j <= n; j++) {
			struct seen s = {.n = 0};

			at = walk(b, i, 0, &s);
			at = walk(b, j, at, &s);
			at = walk(b, n, at, &s);
			assert_int_equal(at, n);
			assert_false(s.bad);
			assert_int_equal(s.n, strlen(types));
			assert_memory_equal(s.type, types, strlen(types));
		}
}

static void test_lengths(void **state)
{
	static const struct {
		uint8_t b[5];
		enum wire_status want;
		uint32_t len;
	} cases[] = {
		{{'Q', 0, 0, 0, 0}, WIRE_BAD, 0},
		{{'Q', 0, 0, 0, 1}, WIRE_BAD, 0},
		{{'Q', 0, 0, 0, 3}, WIRE_BAD, 0},
		{{'Q', 0, 0, 0, 4}, WIRE_OK, 5},
		{{0, 0, 0, 0, 4}, WIRE_OK, 5},
		{{'Q', 0, 0, 1, 0}, WIRE_OK, 257},
		{{'Q', 1, 2, 3, 4}, WIRE_OK, 0x01020305},
		{{'Q', 0x3f, 0xff, 0xff, 0xff}, WIRE_OK, 0x40000000},
		{{'Q', 0x40, 0, 0, 0}, WIRE_BAD, 0},
		{{'Q', 0x7f, 0xff, 0xff, 0xff}, WIRE_BAD, 0},
		{{'Q', 0x80, 0, 0, 0}, WIRE_BAD, 0},
		{{'Q', 0xff, 0xff, 0xff, 0xff}, WIRE_BAD, 0},
	};
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		uint8_t type = 0;
		uint32_t len = 0;

		for (k = 0; k < 5; k++) {
			uint8_t *p = exact(cases[i].b, k);

			assert_int_equal(wire_header(p, k, &type, &len), WIRE_MORE);
			free(p);
		}
		assert_int_equal(wire_header(cases[i].b, 5, &type, &len), cases[i].want);
		if (cases[i].want == WIRE_OK) {
			assert_int_equal(type, cases[i].b[0]);
			assert_int_equal(len, cases[i].len);
		}
	}
}

static void test_startup_lengths(void **state)
{
	static const struct {
		uint32_t l;
		enum wire_status want;
	} cases[] = {
		{0, WIRE_BAD},	   {4, WIRE_BAD},	 {7, WIRE_BAD},
		{8, WIRE_OK},	   {9, WIRE_OK},	 {10000, WIRE_OK},
		{10001, WIRE_BAD}, {0x7fffffff, WIRE_BAD}, {0x80000008, WIRE_BAD},
		{0xffffffff, WIRE_BAD},
	};
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		uint8_t b[4];
		uint32_t len = 0;

		wire_set_u32(b, cases[i].l);
		for (k = 0; k < 4; k++) {
			uint8_t *p = exact(b, k);

			assert_int_equal(wire_startup_header(p, k, &len), WIRE_MORE);
			free(p);
		}
		assert_int_equal(wire_startup_header(b, 4, &len), cases[i].want);
		if (cases[i].want == WIRE_OK)
			assert_int_equal(len, cases[i].l);
	}
}

/* ---- reading ---- */

static void test_gets(void **state)
{
	static const uint8_t body[] = {0x7f, 0x80, 0x01, 0xff, 0xfe, 0xfd, 0xfc,
				       'a',  'b',  0,	 0,    'z'};
	struct wire_get g = {body, body + sizeof(body), false};
	size_t len;

	(void)state;
	assert_int_equal(wire_get_u8(&g), 0x7f);
	assert_int_equal(wire_get_u16(&g), 0x8001);
	assert_int_equal(wire_get_u32(&g), 0xfffefdfcu);
	assert_string_equal(wire_get_str(&g, &len), "ab");
	assert_int_equal(len, 2);
	assert_string_equal(wire_get_str(&g, &len), "");
	assert_int_equal(len, 0);
	assert_false(g.bad);
	assert_int_equal(wire_left(&g), 1);
	/* no terminator */
	len = 77;
	assert_string_equal(wire_get_str(&g, &len), "");
	assert_int_equal(len, 0);
	assert_true(g.bad);
	/* and nothing from then on, though a byte is left */
	assert_int_equal(wire_get_u8(&g), 0);
	assert_true(g.bad);
}

/* Each get on a body that is one byte short, and on none. */
static void test_gets_past_the_end(void **state)
{
	static const uint8_t some[4] = {1, 2, 3, 4};
	size_t n;

	(void)state;
	for (n = 0; n < 4; n++) {
		uint8_t *p = exact(some, n);
		struct wire_get g = {p, p ? p + n : p, false}, start = g;

		assert_int_equal(wire_get_u32(&g), 0);
		assert_true(g.bad);
		g = start;
		assert_int_equal(wire_get_u16(&g), n < 2 ? 0 : 0x0102);
		assert_int_equal(g.bad, n < 2);
		g = start;
		assert_int_equal(wire_get_u8(&g), n < 1 ? 0 : 1);
		assert_int_equal(g.bad, n < 1);
		g = start;
		assert_string_equal(wire_get_str(&g, NULL), "");
		assert_true(g.bad);
		assert_int_equal(wire_get_u16(&g), 0);
		assert_int_equal(wire_get_u32(&g), 0);
		free(p);
	}
}

static void test_body(void **state)
{
	uint8_t b[32];
	struct wire_put w = wire_put_to(b, sizeof(b));
	struct wire_get g;

	(void)state;
	wire_put_msg_str(&w, 'Q', "hi");
	g = wire_body(b, (uint32_t)w.len);
	assert_int_equal(wire_left(&g), 3);
	assert_string_equal(wire_get_str(&g, NULL), "hi");
	assert_int_equal(wire_left(&g), 0);
	w = wire_put_to(b, sizeof(b));
	wire_put_msg(&w, 'S');
	g = wire_body(b, (uint32_t)w.len);
	assert_int_equal(wire_left(&g), 0);
}

/* ---- writing ---- */

static void test_puts(void **state)
{
	static const uint8_t want[] = {'X', 0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 'a', 'b', 0, 'c', 'd',
				       0,   0, 0, 4};
	uint8_t b[64];
	struct wire_put w = wire_put_to(b, sizeof(b));

	(void)state;
	wire_begin(&w, 'X');
	wire_put_u8(&w, 1);
	wire_put_u16(&w, 0x0203);
	wire_put_u32(&w, 0x04050607);
	wire_put_str(&w, "ab");
	wire_put_bytes(&w, "cd", 2);
	wire_put_bytes(&w, NULL, 0);
	wire_end(&w);
	wire_begin(&w, 0); /* as a startup packet: no type byte */
	wire_end(&w);
	assert_false(w.bad);
	assert_int_equal(w.len, sizeof(want));
	assert_memory_equal(b, want, sizeof(want));
}

static void put_all(struct wire_put *w)
{
	static const struct wire_error e = {"ERROR", "XX000", "m", "d", "h", NULL};

	wire_begin(w, 'X');
	wire_put_u8(w, 1);
	wire_put_u16(w, 2);
	wire_put_u32(w, 3);
	wire_put_str(w, "four");
	wire_put_bytes(w, "five", 4);
	wire_end(w);
	wire_put_msg_str(w, 'Q', "six");
	wire_put_msg(w, 'S');
	wire_put_ready(w, 'I');
	wire_put_error(w, 'E', &e);
}

/* Whatever the room: bad when it is too small, and nothing behind it. */
static void test_puts_that_do_not_fit(void **state)
{
	uint8_t whole[256];
	struct wire_put w = wire_put_to(whole, sizeof(whole));
	size_t full, cap;

	(void)state;
	put_all(&w);
	assert_false(w.bad);
	full = w.len;
	for (cap = 0; cap <= full; cap++) {
		uint8_t *b = malloc(cap ? cap : 1);

		assert_non_null(b);
		w = wire_put_to(b, cap);
		put_all(&w);
		assert_int_equal(w.bad, cap < full);
		assert_true(w.len <= cap);
		if (cap == full)
			assert_memory_equal(b, whole, full);
		free(b);
	}
	/* once bad, also what would fit stays out */
	w = wire_put_to(whole, 3);
	wire_put_u32(&w, 1);
	wire_put_u8(&w, 1);
	assert_true(w.bad);
	assert_int_equal(w.len, 0);
}

/* ---- errors ---- */

static void test_error_whole(void **state)
{
	static const struct wire_error e = {"FATAL", "57P01", "going", "for good", "come back", NULL};
	static const char want[] = "E\0\0\0\x36SFATAL\0VFATAL\0C57P01\0Mgoing\0Dfor good\0"
				   "Hcome back\0";
	uint8_t b[256];
	struct wire_put w = wire_put_to(b, sizeof(b));
	struct wire_fields f;

	(void)state;
	wire_put_error(&w, 'E', &e);
	assert_false(w.bad);
	assert_int_equal(w.len, 0x36 + 1);
	assert_memory_equal(b, want, sizeof(want)); /* its last zero is the end */
	wire_get_fields(wire_body(b, (uint32_t)w.len), &f);
	assert_string_equal(f.severity, "FATAL");
	assert_string_equal(f.sqlstate, "57P01");
	assert_string_equal(f.message, "going");
}

/* Every set of missing fields: NULL and "" are the same. */
static void test_error_fields_missing(void **state)
{
	static const char *const text[] = {"ERROR", "42601", "message", "detail", "hint"};
	unsigned mask, i;

	(void)state;
	for (mask = 0; mask < 64; mask++) {
		const char *none = mask & 32 ? "" : NULL, *v[5];
		uint8_t b[256];
		struct wire_put w = wire_put_to(b, sizeof(b));
		struct wire_error e;
		struct wire_fields f;
		struct wire_get g;

		for (i = 0; i < 5; i++)
			v[i] = mask >> i & 1 ? text[i] : none;
		e = (struct wire_error){v[0], v[1], v[2], v[3], v[4], NULL};
		wire_put_error(&w, 'N', &e);
		assert_false(w.bad);
		assert_int_equal(b[0], 'N');
		g = wire_body(b, (uint32_t)w.len);
		for (i = 0; i < 5; i++) {
			if (!(mask >> i & 1))
				continue;
			assert_int_equal(wire_get_u8(&g), "SCMDH"[i]);
			assert_string_equal(wire_get_str(&g, NULL), text[i]);
			if (i == 0) {
				assert_int_equal(wire_get_u8(&g), 'V');
				assert_string_equal(wire_get_str(&g, NULL), text[0]);
			}
		}
		assert_int_equal(wire_get_u8(&g), 0);
		assert_int_equal(wire_left(&g), 0);
		wire_get_fields(wire_body(b, (uint32_t)w.len), &f);
		assert_string_equal(f.severity, mask & 1 ? text[0] : "");
		assert_string_equal(f.sqlstate, mask & 2 ? text[1] : "");
		assert_string_equal(f.message, mask & 4 ? text[2] : "");
	}
}

/* Texts without end: all that is said fits in what say_error() has. */
static void test_error_too_long(void **state)
{
	char huge[5000];
	struct wire_error e = {huge, huge, huge, huge, huge, huge};
	uint8_t b[2048], type = 0;
	struct wire_put w = wire_put_to(b, sizeof(b));
	struct wire_fields f;
	uint32_t len = 0;

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = 0;
	wire_put_error(&w, 'E', &e);
	assert_false(w.bad);
	assert_int_equal(wire_header(b, w.len, &type, &len), WIRE_OK);
	assert_int_equal(len, w.len);
	assert_int_equal(b[w.len - 1], 0);
	wire_get_fields(wire_body(b, len), &f);
	assert_int_equal(strlen(f.sqlstate), 5);
	assert_int_equal(strlen(f.message), 800);
}

static struct wire_fields fields(const char *body, size_t n)
{
	struct wire_fields f;
	const uint8_t *p = (const uint8_t *)body;

	wire_get_fields((struct wire_get){p, p + n, false}, &f);
	return f;
}
#define FIELDS(text) fields(text, sizeof(text) - 1)

static void test_get_fields(void **state)
{
	struct wire_fields f;

	(void)state;
	f = FIELDS("SFEHLER\0VERROR\0C40001\0Mm\0\0");
	assert_string_equal(f.severity, "ERROR");
	f = FIELDS("VERROR\0SFEHLER\0C40001\0Mm\0\0"); /* either order */
	assert_string_equal(f.severity, "ERROR");
	f = FIELDS("SERROR\0C40001\0Mm\0\0"); /* no V */
	assert_string_equal(f.severity, "ERROR");
	f = FIELDS("C40001\0Mm\0\0"); /* neither */
	assert_string_equal(f.severity, "");
	assert_string_equal(f.sqlstate, "40001");
	f = FIELDS("V\0SERROR\0C40001\0\0"); /* an empty V is a V */
	assert_string_equal(f.severity, "");
	f = FIELDS("C40001\0Mm"); /* cut inside a field */
	assert_string_equal(f.sqlstate, "40001");
	assert_string_equal(f.message, "");
	f = FIELDS("C40001\0"); /* no terminator */
	assert_string_equal(f.sqlstate, "40001");
	f = FIELDS("\0C40001\0\0"); /* it ends at the zero */
	assert_string_equal(f.sqlstate, "");
	f = FIELDS("Dx\0Ffile.c\0L12\0?\0Mfound\0\0"); /* others are passed over */
	assert_string_equal(f.message, "found");
	f = fields("", 0);
	assert_string_equal(f.severity, "");
	assert_string_equal(f.sqlstate, "");
	assert_string_equal(f.message, "");
}

/* A whole message cut in every place: never more than was there. */
static void test_get_fields_cut(void **state)
{
	static const char text[] = "SERROR\0VERROR\0C40001\0Mmessage\0\0";
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(text); n++) {
		uint8_t *p = exact(text, n);
		struct wire_fields f;

		wire_get_fields((struct wire_get){p, p ? p + n : p, false}, &f);
		assert_string_equal(f.severity, n >= 7 ? "ERROR" : "");
		assert_string_equal(f.sqlstate, n >= 21 ? "40001" : "");
		assert_string_equal(f.message, n >= 30 ? "message" : "");
		free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_startup_lengths),
		cmocka_unit_test(test_gets),
		cmocka_unit_test(test_gets_past_the_end),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_puts),
		cmocka_unit_test(test_puts_that_do_not_fit),
		cmocka_unit_test(test_error_whole),
		cmocka_unit_test(test_error_fields_missing),
		cmocka_unit_test(test_error_too_long),
		cmocka_unit_test(test_get_fields),
		cmocka_unit_test(test_get_fields_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
