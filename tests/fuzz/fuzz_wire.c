/* tests/fuzz/fuzz_wire.c - any bytes as a stream of messages, cut anywhere: the
 * same messages whatever the cut; every reader stays inside the body; what we
 * write reads back as what was meant.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire/params.h"
#include "proxy/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* The header of the n bytes at p, seen through a copy of exactly that size, so
 * that a sanitizer notices one byte too far. */
static enum wire_status header_of(const uint8_t *p, size_t n, uint8_t *type, uint32_t *len)
{
	uint8_t copy[WIRE_HEADER];
	uint8_t *exact;
	enum wire_status s;

	must(n <= sizeof(copy));
	exact = malloc(n ? n : 1);
	must(exact != NULL);
	memcpy(exact, p, n);
	s = wire_header(exact, n, type, len);
	free(exact);
	return s;
}

static void headers_do_not_depend_on_the_cut(const uint8_t *p, size_t n)
{
	uint8_t type = 0, type2 = 0;
	uint32_t len = 0, len2 = 0;
	enum wire_status whole = wire_header(p, n, &type, &len);

	for (size_t k = 0; k < WIRE_HEADER && k <= n; k++)
		must(header_of(p, k, &type2, &len2) == WIRE_MORE);
	if (n < WIRE_HEADER) {
		must(whole == WIRE_MORE);
		return;
	}
	must(header_of(p, WIRE_HEADER, &type2, &len2) == whole);
	must(whole != WIRE_MORE);
	if (whole == WIRE_OK)
		must(type == type2 && len == len2 && len >= WIRE_HEADER && len <= WIRE_LEN_MAX + 1);
}

static void reads_stay_inside(struct wire_get g)
{
	const uint8_t *begin = g.p, *end = g.end;
	struct wire_fields f;
	size_t len;

	wire_get_fields(g, &f);
	must(f.severity && f.sqlstate && f.message);
	must(strlen(f.severity) + strlen(f.sqlstate) + strlen(f.message) <= (size_t)(end - begin) * 3);
	for (unsigned i = 0; !g.bad && wire_left(&g) > 0 && i < 10000; i++) {
		const char *s;

		switch (*g.p % 4) {
		case 0:
			wire_get_u8(&g);
			break;
		case 1:
			wire_get_u16(&g);
			break;
		case 2:
			wire_get_u32(&g);
			break;
		default:
			s = wire_get_str(&g, &len);
			must(strlen(s) == len);
			must(g.bad || (const uint8_t *)s >= begin);
			break;
		}
		must(g.p >= begin && g.p <= end && g.end == end);
	}
	if (g.bad) {
		must(wire_get_u8(&g) == 0 && wire_get_u16(&g) == 0 && wire_get_u32(&g) == 0);
		must(*wire_get_str(&g, NULL) == 0);
	}
}

/* One byte less than it takes must be refused, and nothing written past cap. */
static void writes_read_back(const uint8_t *data, size_t size)
{
	uint8_t out[600];
	char text[200];
	size_t n = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
	struct wire_put w;
	struct wire_get g;
	uint8_t type = 0;
	uint32_t len = 0;

	memcpy(text, data, n);
	text[n] = 0;
	w = wire_put_to(out, sizeof(out));
	wire_begin(&w, 'x');
	wire_put_u8(&w, 7);
	wire_put_u16(&w, 0xfffe);
	wire_put_str(&w, text);
	wire_put_u32(&w, 0xdeadbeef);
	wire_end(&w);
	must(!w.bad && wire_header(out, w.len, &type, &len) == WIRE_OK && type == 'x' && len == w.len);
	g = wire_body(out, len);
	must(wire_get_u8(&g) == 7 && wire_get_u16(&g) == 0xfffe);
	must(strcmp(wire_get_str(&g, NULL), text) == 0);
	must(wire_get_u32(&g) == 0xdeadbeef && wire_left(&g) == 0 && !g.bad);

	for (size_t cap = 0; cap < w.len; cap++) {
		uint8_t *tight = malloc(cap ? cap : 1);
		struct wire_put t;

		must(tight != NULL);
		t = wire_put_to(tight, cap);
		wire_put_msg_str(&t, 'Q', text);
		must(t.len <= cap && (t.bad || t.len == strlen(text) + 6));
		free(tight);
	}

	struct wire_error e = { "ERROR", "08P01", text, text, NULL, NULL };
	struct wire_fields f;

	w = wire_put_to(out, sizeof(out));
	wire_put_error(&w, 'E', &e);
	must(!w.bad && wire_header(out, w.len, &type, &len) == WIRE_OK && len == w.len);
	wire_get_fields(wire_body(out, len), &f);
	must(strcmp(f.severity, "ERROR") == 0 && strcmp(f.sqlstate, "08P01") == 0);
}

/* The startup packet's header and its options parameter. */
static void startup(const uint8_t *data, size_t size)
{
	uint32_t len = 0, len2 = 0;
	enum wire_status s = wire_startup_header(data, size, &len);

	must(size >= 4 ? s != WIRE_MORE : s == WIRE_MORE);
	if (s == WIRE_OK) {
		must(len >= 8 && len <= WIRE_STARTUP_MAX);
		must(wire_startup_header(data, 4, &len2) == WIRE_OK && len2 == len);
	}

	char *options = malloc(size + 1);
	struct params p = { 0 };
	const char *bad = NULL;

	must(options != NULL);
	memcpy(options, data, size);
	options[size] = 0;
	if (params_options(&p, options, &bad) != 0)
		must(bad != NULL);
	params_clear(&p);
	free(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (unsigned i = 0; i < 1000; i++) {
		uint8_t type;
		uint32_t len;

		headers_do_not_depend_on_the_cut(data + at, size - at);
		if (wire_header(data + at, size - at, &type, &len) != WIRE_OK || len > size - at)
			break;
		/* the body in an allocation of its own */
		uint8_t *copy = malloc(len);

		must(copy != NULL);
		memcpy(copy, data + at, len);
		reads_stay_inside(wire_body(copy, len));
		free(copy);
		at += len;
	}
	writes_read_back(data, size);
	startup(data, size);
	return 0;
}
