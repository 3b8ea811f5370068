/* proxy/wire/wire.h - framing of the PostgreSQL protocol 3.0: headers across
 * reads, typed get and put, and the messages we make ourselves.
 *
 * Pure: bytes in, bytes out. Threads: any.
 * Source: PostgreSQL manual 55.7 (Message Formats), 55.8 (Error Fields).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_WIRE_H
#define PGWEIR_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

#define WIRE_HEADER 5u                 /* type byte and length */
#define WIRE_LEN_MAX 0x3fffffffu       /* PostgreSQL's own MaxAllocSize - 1 */
#define WIRE_STARTUP_MAX 10000u        /* MAX_STARTUP_PACKET_LENGTH */

#define WIRE_PROTO_3 196608u
#define WIRE_NAME_MAX 63u       /* bytes of a name that servers look at */
#define WIRE_CANCEL_CODE 80877102u
#define WIRE_SSL_CODE 80877103u
#define WIRE_GSS_CODE 80877104u

enum wire_status { WIRE_MORE = 0, WIRE_OK, WIRE_BAD };

/* Looks at the header at p. WIRE_MORE: fewer than five bytes. WIRE_BAD: a
 * length below four or above WIRE_LEN_MAX. WIRE_OK: *type, and *len is the
 * length of the whole message, header included. */
static inline enum wire_status wire_header(const uint8_t *p, size_t n, uint8_t *type, uint32_t *len)
{
	uint32_t l;

	if (n < WIRE_HEADER)
		return WIRE_MORE;
	l = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	if (l < 4 || l > WIRE_LEN_MAX)
		return WIRE_BAD;
	*type = p[0];
	*len = l + 1;
	return WIRE_OK;
}

/* The packet without a type byte that opens a connection. *len is the whole. */
static inline enum wire_status wire_startup_header(const uint8_t *p, size_t n, uint32_t *len)
{
	uint32_t l;

	if (n < 4)
		return WIRE_MORE;
	l = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	if (l < 8 || l > WIRE_STARTUP_MAX)
		return WIRE_BAD;
	*len = l;
	return WIRE_OK;
}

/* ---- reading ---- */

/* A cursor over one message's body. After a read past the end `bad` is set and
 * every further get gives 0 or "". */
struct wire_get {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct wire_get wire_body(const uint8_t *msg, uint32_t len)
{
	return (struct wire_get){ msg + WIRE_HEADER, msg + len, false };
}
uint8_t wire_get_u8(struct wire_get *g);
uint16_t wire_get_u16(struct wire_get *g);
uint32_t wire_get_u32(struct wire_get *g);
/* A zero-terminated string; *len (may be NULL) without the zero. */
const char *wire_get_str(struct wire_get *g, size_t *len);
static inline size_t wire_left(const struct wire_get *g)
{
	return (size_t)(g->end - g->p);
}

/* ---- writing ---- */

/* Appends messages to a caller's array. When it does not fit, `bad` is set and
 * nothing more is written: test it once at the end. */
struct wire_put {
	uint8_t *p;
	size_t len, cap, start;
	bool bad;
};

static inline struct wire_put wire_put_to(void *p, size_t cap)
{
	return (struct wire_put){ p, 0, cap, 0, false };
}
void wire_begin(struct wire_put *w, char type);      /* 0: no type byte (startup) */
void wire_end(struct wire_put *w);
void wire_put_u8(struct wire_put *w, uint8_t v);
void wire_put_u16(struct wire_put *w, uint16_t v);
void wire_put_u32(struct wire_put *w, uint32_t v);
void wire_put_bytes(struct wire_put *w, const void *p, size_t n);
void wire_put_str(struct wire_put *w, const char *s);
/* Writes v big endian at p, for patching a message in place. */
void wire_set_u32(uint8_t *p, uint32_t v);

/* A whole message whose body is one string ('Q', 'C'...), or empty. */
void wire_put_msg_str(struct wire_put *w, char type, const char *s);
void wire_put_msg(struct wire_put *w, char type);
void wire_put_close(struct wire_put *w, const char *statement);
void wire_put_ready(struct wire_put *w, char status);

/* What an ErrorResponse or NoticeResponse of our own says. detail, hint and routine
 * may be NULL. severity: "ERROR", "FATAL", "NOTICE", "WARNING". */
struct wire_error {
	const char *severity;
	const char *sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
	const char *routine;
};
/* type 'E' or 'N'. Over-long texts are cut so that the message fits. */
void wire_put_error(struct wire_put *w, char type, const struct wire_error *e);

/* The fields we read of a server's ErrorResponse; every one is optional and
 * then "". Borrowed from the message. V is the severity that is never
 * translated (absent on CockroachDB before 20.x and PostgreSQL before 9.6:
 * then S). */
struct wire_fields {
	const char *severity;
	const char *sqlstate;
	const char *message;
	const char *context;
	const char *routine;
};
void wire_get_fields(struct wire_get g, struct wire_fields *out);

#endif
