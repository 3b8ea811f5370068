/* tests/unit/test_http.c - health/http against a web server on the same loop:
 * answers of every shape, none, and an end at any moment.
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
#include <dirent.h>
#include <time.h>

#include "health/http.h"
#include "web.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MS 1000

static const char leaving[] =
	"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
	"Content-Length: 77\r\n\r\n"
	"{\n  \"error\": \"node is shutting down\",\n  \"code\": 14,\n  \"details\": [\n  ]\n}     ";

struct world {
	struct event_base *base;
	struct event *give_up;
	struct web web;
	struct addr addr;
	struct http_ask ask;
	struct http *http;
	bool too_late, free_at_end;
	unsigned told;
	int status;
	char why[32], text[256];
	int fds_before;
};

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void on_give_up(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;

	(void)fd;
	(void)what;
	w->too_late = true;
}

static void on_done(void *arg, const struct http_said *said)
{
	struct world *w = arg;

	w->told++;
	w->status = said->status;
	snprintf(w->why, sizeof(w->why), "%s", said->why);
	snprintf(w->text, sizeof(w->text), "%s", said->text);
	if (w->free_at_end) {
		http_free(w->http);
		w->http = NULL;
	}
}

static void world_open(struct world *w, const char *answer)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&w->addr.sock.any;

	memset(w, 0, sizeof(*w));
	w->fds_before = count_fds();
	w->base = event_base_new();
	w->give_up = event_new(w->base, -1, 0, on_give_up, w);
	web_open(&w->web, w->base);
	web_say(&w->web, answer);
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in->sin_port = htons(5432); /* not the one that is asked */
	w->addr.sock_len = sizeof(*in);
	w->ask = (struct http_ask){.addr = &w->addr, .port = w->web.port, .path = "/health?ready=1",
				   .timeout_us = 5000 * MS};
	w->free_at_end = true;
}

static void world_close(struct world *w)
{
	http_free(w->http);
	web_close(&w->web);
	event_free(w->give_up);
	event_base_loop(w->base, EVLOOP_NONBLOCK); /* libevent frees later */
	event_base_free(w->base);
	assert_int_equal(count_fds(), w->fds_before);
}

#define UNTIL(w, cond)                                                                             \
	do {                                                                                       \
		struct timeval tv_ = {.tv_sec = 10};                                               \
		event_add((w)->give_up, &tv_);                                                     \
		while (!(cond) && !(w)->too_late)                                                  \
			event_base_loop((w)->base, EVLOOP_ONCE);                                   \
		assert_true(cond);                                                                 \
	} while (0)

static void ask(struct world *w)
{
	w->http = http_get(w->base, &w->ask, on_done, w);
	assert_non_null(w->http);
}

static void one_answer(const char *answer, size_t step, int status, const char *text)
{
	struct world w;
	char host[64];

	world_open(&w, answer);
	snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%d\r\n", w.web.port);
	w.web.step = step;
	ask(&w);
	UNTIL(&w, w.told);
	assert_int_equal(w.told, 1);
	assert_int_equal(w.status, status);
	assert_string_equal(w.text, text);
	assert_string_equal(w.why, status ? "answer" : "no_answer");
	assert_int_equal(strncmp(w.web.request, "GET /health?ready=1 HTTP/1.1\r\n", 30), 0);
	assert_non_null(strstr(w.web.request, host));
	assert_non_null(strstr(w.web.request, "\r\nConnection: close\r\n"));
	world_close(&w);
}

static void test_answers(void **state)
{
	size_t step;

	(void)state;
	for (step = 0; step < 4; step++) {
		one_answer(leaving, step, 503, "node is shutting down");
		one_answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n", step, 200, "{}");
		one_answer("HTTP/1.1 204 No Content\r\n\r\n", step, 204, "");
		one_answer("HTTP/1.0 200 OK\r\n\r\nto the end", step, 200, "to the end");
		one_answer("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n"
			   "c\r\n{\"error\": \"c\r\n8\r\nhunked\"}\r\n0\r\n\r\n", step, 503, "chunked");
		one_answer("HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n"
			   "Content-Length: 0\r\n\r\n", step, 301, "");
		one_answer("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot\x1bhere\x07", step, 404,
			   "not here");
	}
}

static void test_no_answers(void **state)
{
	static const char *const garbage[] = {
		"", "\r\n\r\n", "N", "HTTP", "HTTP/1.1\r\n\r\n", "E\1\2\3FATAL no\r\n\r\n",
		"HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 503", "HTTP/1.1 503 No\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 503 No\r\nContent-Length: 50\r\n\r\n{\"error\"",
		"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	};
	struct world w;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(garbage); i++)
		one_answer(garbage[i], i % 2, 0, "");
	/* refused */
	world_open(&w, "");
	web_deaf(&w.web);
	ask(&w);
	UNTIL(&w, w.told);
	assert_int_equal(w.status, 0);
	assert_string_equal(w.why, "no_answer");
	world_close(&w);
}

/* More than anybody would say. */
static void test_bounds(void **state)
{
	static char big[300000];
	struct world w;
	size_t n;

	(void)state;
	n = (size_t)snprintf(big, sizeof(big), "HTTP/1.1 503 No\r\nX: ");
	memset(big + n, 'a', sizeof(big) - n - 1);
	world_open(&w, big);
	ask(&w);
	UNTIL(&w, w.told);
	assert_int_equal(w.status, 0);
	world_close(&w);
	n = (size_t)snprintf(big, sizeof(big), "HTTP/1.1 503 No\r\n\r\n");
	memset(big + n, 'a', sizeof(big) - n - 1);
	world_open(&w, big);
	ask(&w);
	UNTIL(&w, w.told);
	assert_int_equal(w.status, 0);
	world_close(&w);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void test_timeout(void **state)
{
	static const char *const parts[] = {NULL, "HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n{"};
	struct world w;
	int64_t began;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(parts); i++) {
		world_open(&w, parts[i]);
		w.ask.timeout_us = 60 * MS;
		w.web.stay = true;
		began = now_us();
		ask(&w);
		UNTIL(&w, w.told);
		assert_true(now_us() - began >= 40 * MS);
		assert_int_equal(w.status, 0);
		assert_string_equal(w.why, "timeout");
		world_close(&w);
	}
	/* one that has been told is not told again */
	world_open(&w, leaving);
	w.free_at_end = false;
	w.ask.timeout_us = 50 * MS;
	ask(&w);
	UNTIL(&w, w.told);
	{
		struct timeval tv = {.tv_usec = 80 * MS};

		event_base_loopexit(w.base, &tv);
		event_base_dispatch(w.base);
	}
	assert_int_equal(w.told, 1);
	world_close(&w);
}

/* world_close() frees it in the middle and counts descriptors; LeakSanitizer counts
 * the rest. */
static void test_freed_at_any_byte(void **state)
{
	struct world w;
	size_t cut, tls;

	(void)state;
	for (tls = 0; tls < 2; tls++) {
		world_open(&w, leaving);
		w.ask.tls = tls;
		ask(&w);
		world_close(&w);
		assert_int_equal(w.told, 0);
		world_open(&w, leaving);
		w.ask.tls = tls;
		ask(&w);
		event_base_loop(w.base, EVLOOP_ONCE);
		world_close(&w);
		world_open(&w, leaving);
		w.ask.tls = tls;
		web_deaf(&w.web);
		ask(&w);
		world_close(&w);
		world_open(&w, NULL);
		w.ask.tls = tls;
		ask(&w);
		UNTIL(&w, w.web.accepted && (tls || w.web.asked));
		world_close(&w);
	}
	for (cut = 0; cut < sizeof(leaving); cut += 3) {
		world_open(&w, leaving);
		w.web.answer_len = cut;
		w.web.step = 1;
		w.web.stay = true;
		ask(&w);
		UNTIL(&w, w.web.asked && w.web.conn[0].out_at == cut);
		event_base_loop(w.base, EVLOOP_NONBLOCK);
		world_close(&w);
	}
}

/* A server that does not speak TLS, asked in TLS. */
static void test_tls_and_plain(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, NULL);
	w.ask.tls = true;
	w.ask.timeout_us = 50 * MS;
	ask(&w);
	UNTIL(&w, w.told);
	assert_int_equal(w.status, 0);
	world_close(&w);
	world_open(&w, NULL);
	w.ask.tls = true;
	web_deaf(&w.web);
	ask(&w);
	UNTIL(&w, w.told);
	assert_int_equal(w.status, 0);
	world_close(&w);
}

/* A socket directory is a host of this machine. */
static void test_local(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, leaving);
	memset(&w.addr.sock, 0, sizeof(w.addr.sock));
	w.addr.sock.un.sun_family = AF_UNIX;
	ask(&w);
	UNTIL(&w, w.told);
	assert_int_equal(w.status, 503);
	world_close(&w);
	world_open(&w, leaving);
	w.addr.sock.sa.sa_family = AF_UNSPEC;
	assert_null(http_get(w.base, &w.ask, on_done, &w));
	world_close(&w);
}

static void test_text(void **state)
{
	static const struct {
		const char *body, *text;
	} rows[] = {
		{"", ""},
		{"plain", "plain"},
		{"{\"error\":\"a b\"}", "a b"},
		{"{\"error\" : \t\n\"a\"}", "a"},
		{"{\"error\":\"say \\\"x\\\" \\\\ \"}", "say \"x\" \\"},
		{"{\"error\":\"open", "open"},
		{"{\"error\":\"", ""},
		{"{\"error\":", "{\"error\":"},
		{"{\"error\":12}", "{\"error\":12}"},
		{"{\"error\"", "{\"error\""},
		{"{\"error\":\"\\", "\\"},
		{"a\r\nb\tc\x7f\xff ", "a  b c"},
	};
	char out[64], small[5];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		size_t len = strlen(rows[i].body);
		char *body = malloc(len ? len : 1); /* its end is watched */

		memcpy(body, rows[i].body, len);
		http_text(body, len, out, sizeof(out));
		assert_string_equal(out, rows[i].text);
		http_text(body, len, small, sizeof(small));
		assert_int_equal(strncmp(small, rows[i].text, strlen(small)), 0);
		free(body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),	   cmocka_unit_test(test_no_answers),
		cmocka_unit_test(test_bounds),	   cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_freed_at_any_byte), cmocka_unit_test(test_tls_and_plain),
		cmocka_unit_test(test_local),	   cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
