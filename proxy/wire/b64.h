/* proxy/wire/b64.h - base64 as SCRAM uses it (RFC 4648 section 4), strictly.
 *
 * Pure. Threads: any. One text per byte string: no blanks, the padding must be
 * there, the bits behind the last byte must be zero.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_B64_H
#define PGWEIR_WIRE_B64_H

#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

/* Characters for len bytes, the terminator not included. */
#define B64_LEN(len) (((len) + 2) / 3 * 4)

/* Writes B64_LEN(len) characters and a terminator. Their number, or -1 when
 * cap is too small. */
MUST_CHECK int b64_encode(const uint8_t *in, size_t len, char *out, size_t cap);
/* The number of bytes written, or -1: not base64, or more than cap. */
MUST_CHECK int b64_decode(const char *in, size_t len, uint8_t *out, size_t cap);

#endif
