/* proxy/http/out.h - text that grows: plain, JSON, and what Prometheus reads.
 *
 * Owner:   the caller's, zeroed at first; out_free at the end.
 * Threads: one. Pure.
 *
 * After out of memory nothing is added any more and `bad` says so.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_OUT_H
#define PGWEIR_HTTP_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

struct out {
	char *p;
	size_t len, cap;
	bool bad;
};

void out_bytes(struct out *o, const char *p, size_t n);
void out_text(struct out *o, const char *s);
/* At most 500 bytes each. */
void out_fmt(struct out *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The contents of a string of JSON, without its quotes; what is no UTF-8 becomes
 * U+FFFD. */
void out_json(struct out *o, const char *s);
/* The contents of a label's value of Prometheus, without its quotes; the same. */
void out_label(struct out *o, const char *s);
/* Microseconds as seconds, as short as it is exact. */
void out_seconds(struct out *o, uint64_t us);
/* ... as milliseconds. */
void out_millis(struct out *o, uint64_t us);
void out_free(struct out *o);

#endif
