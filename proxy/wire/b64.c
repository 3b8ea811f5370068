/* proxy/wire/b64.c - strict base64.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/b64.h"

#include <limits.h>

static const char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int b64_encode(const uint8_t *in, size_t len, char *out, size_t cap)
{
	uint32_t v;
	size_t i, at = 0;

	if (len > INT_MAX / 2 || cap <= B64_LEN(len))
		return -1;
	for (i = 0; i < len; i += 3) {
		v = (uint32_t)in[i] << 16;
		if (len - i > 1)
			v |= (uint32_t)in[i + 1] << 8;
		if (len - i > 2)
			v |= in[i + 2];
		out[at++] = alphabet[v >> 18];
		out[at++] = alphabet[v >> 12 & 63];
		out[at++] = len - i > 1 ? alphabet[v >> 6 & 63] : '=';
		out[at++] = len - i > 2 ? alphabet[v & 63] : '=';
	}
	out[at] = 0;
	return (int)at;
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int b64_decode(const char *in, size_t len, uint8_t *out, size_t cap)
{
	size_t digits = len, i, at = 0;
	uint32_t v = 0;
	unsigned bits = 0;
	int d;

	if (len % 4 != 0 || len > INT_MAX)
		return -1;
	while (digits > 0 && len - digits < 2 && in[digits - 1] == '=')
		digits--;
	for (i = 0; i < digits; i++) {
		d = digit(in[i]);
		if (d < 0)
			return -1;
		v = v << 6 | (uint32_t)d;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (at == cap)
			return -1;
		out[at++] = (uint8_t)(v >> bits & 0xff);
		v &= (1U << bits) - 1;
	}
	return v == 0 ? (int)at : -1; /* what is left over must be zero bits */
}
