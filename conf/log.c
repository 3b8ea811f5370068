/* conf/log.c - see log.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Below PIPE_BUF, so that lines of several threads never mix in a pipe. */
#define LINE_MAX_BYTES 2048

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;                    /* never more than sizeof(text) - 1 */
};

const char *log_token(char *out, size_t cap, const char *words)
{
	size_t i;

	for (i = 0; words[i] && i + 1 < cap; i++)
		out[i] = words[i] == ' ' ? '_' : words[i];
	out[i] = 0;
	return out;
}

const char *log_level_name(enum log_level level)
{
	static const char *const names[LOG_LEVEL_N] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARN] = "warn",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};

	return (unsigned)level < LOG_LEVEL_N ? names[level] : "unknown";
}

static void line_addv(struct line *l, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
static void line_addv(struct line *l, const char *fmt, va_list ap)
{
	size_t room = sizeof(l->text) - l->len;
	int n = vsnprintf(l->text + l->len, room, fmt, ap);

	if (n > 0)
		l->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void line_add(struct line *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void line_add(struct line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_addv(l, fmt, ap);
	va_end(ap);
}

static void line_add_time(struct line *l, int64_t us)
{
	time_t t = (time_t)(us / 1000000);
	int ms = (int)(us % 1000000 / 1000);
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		memset(&tm, 0, sizeof(tm));
	line_add(l, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
}

/* The event's slot: its own, a free one, or the one that has been quiet for
 * longest. NULL when all are in use within this second: then no limit is
 * better than no line. */
static struct log_rate *rate_slot(struct log *log, const char *event, int64_t second)
{
	size_t start = ((uintptr_t)event >> 3) % LOG_RATE_SLOTS;
	struct log_rate *quiet = NULL;
	size_t i;

	for (i = 0; i < LOG_RATE_SLOTS; i++) {
		struct log_rate *r = &log->rate[(start + i) % LOG_RATE_SLOTS];

		if (r->event == event)
			return r;
		if (!r->event) {
			quiet = r;
			break;
		}
		/* A slot that still owes a count is not given away. */
		if (r->second != second && r->left_out == 0 &&
		    (!quiet || r->second < quiet->second))
			quiet = r;
	}
	if (quiet)
		*quiet = (struct log_rate){.event = event, .second = second};
	return quiet;
}

/* One line is one line: whatever slipped past log_quote() must not forge a
 * second one or talk to the terminal. */
static void line_finish(struct line *l)
{
	size_t i;

	for (i = 0; i < l->len; i++) {
		unsigned char c = (unsigned char)l->text[i];

		if (c < 0x20 || c == 0x7f)
			l->text[i] = '?';
	}
	/* Here sizeof(text) - 1 bytes at most are in use: the last gives way. */
	if (l->len > sizeof(l->text) - 2)
		l->len = sizeof(l->text) - 2;
	l->text[l->len++] = '\n';
}

/* The fd is shared with whoever gave us stderr, so it cannot be made
 * non-blocking; asking first is the next best. Two threads may both be told
 * yes for the last free slot of a pipe: then one waits, once. */
static bool line_write(int fd, const struct line *l)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	ssize_t n;

	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT))
		return false;
	do
		n = write(fd, l->text, l->len);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

const char *log_who(const struct log_ctx *ctx, char out[LOG_WHO_MAX])
{
	out[0] = 0;
	if (ctx->who)
		ctx->who(ctx, out, LOG_WHO_MAX);
	return out;
}

void log_line(const struct log_ctx *ctx, enum log_level level, const char *event,
	      const char *fmt, ...)
{
	struct log *log = ctx->log;
	int64_t wall = log->wall_us(log->arg);
	int64_t now = wall > 0 ? wall : 0;
	struct log_rate *rate = rate_slot(log, event, now / 1000000);
	struct line l = {.len = 0};
	char who[LOG_WHO_MAX];
	va_list ap;

	if (rate) {
		if (rate->second != now / 1000000) {
			rate->second = now / 1000000;
			rate->written = 0;
		}
		if (rate->written >= LOG_RATE_PER_SECOND) {
			rate->left_out++;
			return;
		}
	}
	line_add_time(&l, now);
	line_add(&l, " level=%s%s%s event=%s", log_level_name(level), ctx->who ? " " : "",
		 log_who(ctx, who), event);
	/* Before the event's own words, which may be cut. */
	if (rate && rate->left_out > 0)
		line_add(&l, " left_out=%u", rate->left_out);
	if (fmt) {
		line_add(&l, " ");
		va_start(ap, fmt);
		line_addv(&l, fmt, ap);
		va_end(ap);
	}
	line_finish(&l);
	if (!rate) {
		(void)line_write(log->fd, &l);
	} else if (line_write(log->fd, &l)) {
		rate->written++;
		rate->left_out = 0;
	} else {
		rate->left_out++;
	}
}

/* Length of the well-formed UTF-8 character at s, or 0. C1 controls count as
 * malformed: terminals obey them. */
static size_t utf8_len(const unsigned char *s)
{
	size_t n, i;

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	/* The terminator is no continuation byte, so this stops before it. */
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) ||
	    (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* One character as it stands in quotes; returns how many bytes of s it took. */
static size_t quote_one(const unsigned char *s, char out[8], size_t *out_len)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = *s >= 0x80 ? utf8_len(s) : 1;

	if (n == 0 || *s < 0x20 || *s == 0x7f) {
		out[0] = '\\';
		out[1] = 'x';
		out[2] = hex[*s >> 4];
		out[3] = hex[*s & 15];
		*out_len = 4;
		return 1;
	}
	*out_len = 0;
	if (*s == '"' || *s == '\\')
		out[(*out_len)++] = '\\';
	memcpy(out + *out_len, s, n);
	*out_len += n;
	return n;
}

static bool is_plain(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s >= 0x7f || strchr("\"\\=", *s))
			return false;
	return true;
}

const char *log_quote(char *out, size_t cap, const char *s)
{
	const unsigned char *p = (const unsigned char *)(s ? s : "");
	char piece[8];
	size_t n, len = 0;

	if (cap == 0)
		return out;
	if (is_plain((const char *)p)) {
		snprintf(out, cap, "%s", (const char *)p);
		return out;
	}
	if (cap < 3) {
		out[0] = '\0';
		return out;
	}
	out[len++] = '"';
	while (*p) {
		p += quote_one(p, piece, &n);
		/* Room for the closing quote: a cut value still ends as one. */
		if (len + n + 2 > cap)
			break;
		memcpy(out + len, piece, n);
		len += n;
	}
	out[len++] = '"';
	out[len] = '\0';
	return out;
}
