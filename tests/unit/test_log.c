/* tests/unit/test_log.c - lines, their rate, and values in quotes.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/err.h"
#include "conf/log.h"

struct world {
	struct log log;
	struct log_ctx ctx;
	_Atomic int level;
	int64_t now;
	int out;                       /* the end to read from */
	char text[65536];              /* what was read last */
};

static int64_t world_now(void *arg)
{
	return ((struct world *)arg)->now;
}

static void say_who(const struct log_ctx *ctx, char *out, size_t cap)
{
	(void)ctx;
	(void)snprintf(out, cap, "who=c12@3 db=app");
}

static void open_world(struct world *w)
{
	int fd[2];

	memset(w, 0, sizeof(*w));
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
	w->out = fd[0];
	w->level = LOG_LEVEL_INFO;
	w->now = 1763812800123456;     /* 2025-11-22 12:00:00.123456 UTC */
	w->log = (struct log){.fd = fd[1], .level = &w->level, .wall_us = world_now, .arg = w};
	w->ctx.log = &w->log;
}

static void close_world(struct world *w)
{
	close(w->out);
	close(w->log.fd);
}

static const char *take(struct world *w)
{
	ssize_t n, len = 0;

	while ((n = read(w->out, w->text + len, sizeof(w->text) - 1 - (size_t)len)) > 0)
		len += n;
	w->text[len] = '\0';
	return w->text;
}

static int lines(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void test_line(void **state)
{
	static struct world w;

	(void)state;
	open_world(&w);
	LOG(&w.ctx, LOG_LEVEL_INFO, "started", "port=%d name=%s", 5, "x");
	assert_string_equal(take(&w), "2025-11-22T12:00:00.123Z level=info event=started port=5 "
				      "name=x\n");
	w.ctx.who = say_who;
	LOG(&w.ctx, LOG_LEVEL_ERROR, "broken", NULL);
	assert_string_equal(take(&w), "2025-11-22T12:00:00.123Z level=error who=c12@3 db=app "
				      "event=broken\n");
	LOG(&w.ctx, LOG_LEVEL_DEBUG, "quiet", "a=%d", 1);
	assert_string_equal(take(&w), "");
	w.level = LOG_LEVEL_DEBUG;
	w.now = -1;
	LOG(&w.ctx, LOG_LEVEL_DEBUG, "loud", "a=%d", 1);
	assert_string_equal(take(&w), "1970-01-01T00:00:00.000Z level=debug who=c12@3 db=app "
				      "event=loud a=1\n");
	close_world(&w);
}

static void test_arguments_are_lazy(void **state)
{
	static struct world w;
	int made = 0;

	(void)state;
	open_world(&w);
	LOG(&w.ctx, LOG_LEVEL_DEBUG, "quiet", "a=%d", ++made);
	assert_int_equal(made, 0);
	close_world(&w);
}

static void test_cut_and_clean(void **state)
{
	static struct world w;
	static char big[5000];

	(void)state;
	open_world(&w);
	memset(big, 'x', sizeof(big) - 1);
	LOG(&w.ctx, LOG_LEVEL_INFO, "big", "v=%s", big);
	take(&w);
	assert_true(strlen(w.text) <= 2048);
	assert_true(strlen(w.text) > 2000);
	assert_int_equal(lines(w.text), 1);
	assert_int_equal(w.text[strlen(w.text) - 1], '\n');
	LOG(&w.ctx, LOG_LEVEL_INFO, "forged", "v=%s", "a\n2025 level=error\x1b[2J\x7f");
	assert_non_null(strstr(take(&w), "v=a?2025 level=error?[2J?\n"));
	close_world(&w);
}

static void test_rate(void **state)
{
	static struct world w;
	static const char often[] = "often";
	int i;

	(void)state;
	open_world(&w);
	for (i = 0; i < LOG_RATE_PER_SECOND + 7; i++)
		LOG(&w.ctx, LOG_LEVEL_INFO, often, "i=%d", i);
	assert_int_equal(lines(take(&w)), LOG_RATE_PER_SECOND);
	assert_null(strstr(w.text, "left_out"));
	LOG(&w.ctx, LOG_LEVEL_INFO, "other", NULL);
	assert_int_equal(lines(take(&w)), 1);
	w.now += 1000000;
	LOG(&w.ctx, LOG_LEVEL_INFO, often, "i=%d", i);
	assert_non_null(strstr(take(&w), "event=often left_out=7 i=57\n"));
	LOG(&w.ctx, LOG_LEVEL_INFO, often, NULL);
	assert_null(strstr(take(&w), "left_out"));
	close_world(&w);
}

/* More events than slots: nothing is lost, and a debt is remembered. */
static void test_many_events(void **state)
{
	static struct world w;
	static const char often[] = "often";
	static char names[1000][8];
	int i;

	(void)state;
	open_world(&w);
	for (i = 0; i < LOG_RATE_PER_SECOND + 3; i++)
		LOG(&w.ctx, LOG_LEVEL_INFO, often, NULL);
	take(&w);
	for (i = 0; i < 1000; i++) {
		snprintf(names[i], sizeof(names[i]), "e%d", i);
		log_line(&w.ctx, LOG_LEVEL_INFO, names[i], NULL);
		if (i % 100 == 99) {
			assert_int_equal(lines(take(&w)), 100);
			w.now += 1000000;
		}
	}
	LOG(&w.ctx, LOG_LEVEL_INFO, often, NULL);
	assert_non_null(strstr(take(&w), "left_out=3"));
	close_world(&w);
}

/* A full pipe: nobody waits, and what was dropped is counted. */
static void test_full_pipe(void **state)
{
	static struct world w;
	static char big[1800];
	static const char event[] = "big";
	int i, written;

	(void)state;
	open_world(&w);
	memset(big, 'x', sizeof(big) - 1);
	for (i = 0; i < 100; i++) {
		w.now += 1000000;
		LOG(&w.ctx, LOG_LEVEL_INFO, event, "v=%s", big);
	}
	written = lines(take(&w));
	assert_true(written > 0 && written < 100);
	w.now += 1000000;
	LOG(&w.ctx, LOG_LEVEL_INFO, event, "v=1");
	snprintf(big, sizeof(big), "left_out=%d v=1\n", 100 - written);
	assert_non_null(strstr(take(&w), big));
	close_world(&w);
}

static void quoted(const char *in, const char *want)
{
	char out[64];

	assert_ptr_equal(log_quote(out, sizeof(out), in), out);
	assert_string_equal(out, want);
}

static void test_quote(void **state)
{
	char out[16];
	size_t cap;

	(void)state;
	quoted("plain-1.2:3/x", "plain-1.2:3/x");
	quoted("", "\"\"");
	quoted(NULL, "\"\"");
	quoted("a b", "\"a b\"");
	quoted("a=b", "\"a=b\"");
	quoted("a\"b\\c", "\"a\\\"b\\\\c\"");
	quoted("a\nb\x1b\x7f", "\"a\\x0ab\\x1b\\x7f\"");
	quoted("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	quoted("\xff\xc3", "\"\\xff\\xc3\"");
	quoted("\xc2\x9b", "\"\\xc2\\x9b\"");
	quoted("\xed\xa0\x80", "\"\\xed\\xa0\\x80\"");
	quoted("\xe2\x82", "\"\\xe2\\x82\"");
	quoted("\xc0\xaf", "\"\\xc0\\xaf\"");
	/* Cut, it still ends as a value. */
	for (cap = 0; cap < sizeof(out); cap++) {
		memset(out, '#', sizeof(out));
		log_quote(out, cap, "a b\n\"c d e f g h i");
		if (cap >= 3)
			assert_true(strlen(out) < cap && out[strlen(out) - 1] == '"' &&
				    strlen(out) >= 2);
		assert_int_equal(out[cap], '#');
	}
	log_quote(out, 4, "plain");
	assert_string_equal(out, "pla");
}

static void test_err(void **state)
{
	char big[2000];
	struct err e;

	(void)state;
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(err_set(&e, "a %d", 1), -1);
	assert_string_equal(e.text, "a 1");
	assert_int_equal(err_set(&e, "%s", big), -1);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_int_equal(err_set(NULL, "x"), -1);
	assert_string_equal(log_level_name(LOG_LEVEL_WARN), "warn");
	assert_string_equal(log_level_name(LOG_LEVEL_N), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_arguments_are_lazy),
		cmocka_unit_test(test_cut_and_clean),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_many_events),
		cmocka_unit_test(test_full_pipe),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_err),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
