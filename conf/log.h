/* conf/log.h - one key=value line per event, on one file descriptor.
 *
 * Owner:   each thread has a struct log of its own (its rate counters are not
 *          shared); all of them write to the same fd, one write(2) per line.
 * Threads: the owner's. The level may be changed by another thread.
 *
 * A line: 2026-11-22T12:00:00.123Z level=info who=c12@3 event=closed why=... age_us=...
 * Never query text, never secrets. Values that may hold blanks, quotes or
 * control characters must be passed through log_quote().
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_LOG_H
#define PGWEIR_CONF_LOG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

enum log_level {
	LOG_LEVEL_ERROR = 0,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_N
};

#define LOG_RATE_SLOTS 64
#define LOG_RATE_PER_SECOND 50

/* How often one event was written in the current second; what came over
 * LOG_RATE_PER_SECOND is counted and reported as `left_out=N` on the next
 * line of that event that is written. The event's string literal is the key. */
struct log_rate {
	const char *event;
	int64_t second;
	unsigned written;
	unsigned left_out;
};

struct log {
	int fd;
	_Atomic int *level;                    /* shared by all threads' logs */
	int64_t (*wall_us)(void *arg);         /* wall clock, us since 1970 */
	void *arg;
	struct log_rate rate[LOG_RATE_SLOTS];
};

struct log_ctx;

/* Writes who speaks, "who=c12@3 db=app user=u peer=...", terminated, cut to cap. */
typedef void log_who_fn(const struct log_ctx *ctx, char *out, size_t cap);
#define LOG_WHO_MAX 112

/* Who speaks; part of a client or server, which the words are made of when there is a
 * line to write. */
struct log_ctx {
	struct log *log;
	log_who_fn *who;                       /* NULL: nobody in particular */
};

/* The words, "" for nobody. Returns out. */
const char *log_who(const struct log_ctx *ctx, char out[LOG_WHO_MAX]);

static inline int log_on(const struct log *log, enum log_level level)
{
	return (int)level <= atomic_load_explicit(log->level, memory_order_relaxed);
}

/* Writes one line. event: a literal like "client_closed". fmt: "key=%s ..."
 * or NULL for none. Lines are cut at 2 KiB. Never blocks on a full pipe for
 * long: a line that cannot be written at once is dropped and counted. */
void log_line(const struct log_ctx *ctx, enum log_level level, const char *event,
	      const char *fmt, ...) PRINTF_LIKE(4, 5);

/* The level is tested before the arguments are made. */
#define LOG(ctx, level, event, ...)                                            \
	do {                                                                   \
		if (log_on((ctx)->log, (level)))                               \
			log_line((ctx), (level), (event), __VA_ARGS__);        \
	} while (0)

/* Copies s into out (cap bytes, always terminated) fit for a value: as it is
 * when plain, else in double quotes with \" \\ and \xHH. Returns out. */
const char *log_quote(char *out, size_t cap, const char *s);

/* A reason in words as one token: blanks become _. Returns out. */
const char *log_token(char *out, size_t cap, const char *words);

const char *log_level_name(enum log_level level);

#endif
