/* health/http.c - see http.h
 *
 * libevent's client calls back from the middle of its own work on the connection,
 * where it must not be freed: what came is kept, and told from an event of our own.
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/http.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <openssl/ssl.h>

#define HEADERS_MAX 16384
#define BODY_MAX 65536
#define LOOK_MAX 2048   /* of the body, for the text */

struct http {
	http_done_fn *done;
	void *arg;
	SSL_CTX *tls;
	struct evhttp_connection *conn;
	struct event timer;      /* its time, and then the end */
	bool ended;
	int status;
	const char *why;
	char text[200];
};

/* ---- the answer ---- */

/* Behind "error" and its colon, where its string begins; NULL: there is none. */
static const char *error_in(const char *body, size_t len)
{
	static const char key[] = "\"error\"";
	const char *end = body + len, *p = memmem(body, len, key, sizeof(key) - 1);

	if (!p)
		return NULL;
	for (p += sizeof(key) - 1; p < end && strchr(" \t\r\n:", *p) && *p; p++)
		;
	return p < end && *p == '"' ? p + 1 : NULL;
}

void http_text(const char *body, size_t len, char *out, size_t cap)
{
	const char *p = error_in(body, len), *end = body + len;
	bool quoted = p != NULL;
	size_t n = 0;

	for (p = quoted ? p : body; p < end && n + 1 < cap; p++) {
		if (quoted && *p == '"')
			break;
		if (quoted && *p == '\\' && p + 1 < end)
			p++;
		out[n++] = (char)(*p >= ' ' && *p <= '~' ? *p : ' ');
	}
	while (n && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

static void keep_body(struct http *h, struct evbuffer *in)
{
	char body[LOOK_MAX];
	ev_ssize_t n = evbuffer_copyout(in, body, sizeof(body));

	http_text(body, n > 0 ? (size_t)n : 0, h->text, sizeof(h->text));
}

/* ---- the end ---- */

static void end_soon(struct http *h, int status, const char *why)
{
	if (h->ended)
		return;
	h->ended = true;
	h->status = status;
	h->why = why;
	event_active(&h->timer, EV_TIMEOUT, 0);
}

static void on_answer(struct evhttp_request *req, void *arg)
{
	struct http *h = arg;
	int status = req ? evhttp_request_get_response_code(req) : 0;

	if (status)
		keep_body(h, evhttp_request_get_input_buffer(req));
	end_soon(h, status, status ? "answer" : "no_answer");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	struct http_said said;

	(void)fd;
	(void)what;
	if (!h->ended) {
		h->ended = true;
		h->why = "timeout";
	}
	event_del(&h->timer);
	said = (struct http_said){h->status, h->why, h->text};
	h->done(h->arg, &said);
}

/* ---- the question ---- */

static int address_of(const struct addr *a, char *host, size_t cap)
{
	if (a->sock.sa.sa_family == AF_UNIX) {
		(void)snprintf(host, cap, "127.0.0.1");
		return 0;
	}
	return getnameinfo(&a->sock.sa, a->sock_len, host, (socklen_t)cap, NULL, 0,
			   NI_NUMERICHOST);
}

/* NULL too when out of memory; evhttp makes a plain one itself. */
static struct bufferevent *tls_stream(struct http *h, struct event_base *base)
{
	struct bufferevent *bev;
	SSL *ssl;

	h->tls = SSL_CTX_new(TLS_client_method());
	ssl = h->tls ? SSL_new(h->tls) : NULL;
	if (!ssl)
		return NULL;
	SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_CONNECTING,
					     BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (bev)
		bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	else
		SSL_free(ssl);
	return bev;
}

static int connect_to(struct http *h, struct event_base *base, const struct http_ask *ask,
		      const char *host)
{
	struct bufferevent *bev = NULL;

	if (ask->tls) {
		bev = tls_stream(h, base);
		if (!bev)
			return -1;
	}
	h->conn = evhttp_connection_base_bufferevent_new(base, NULL, bev, host,
							 (uint16_t)ask->port);
	if (!h->conn) {
		if (bev)
			bufferevent_free(bev);
		return -1;
	}
	evhttp_connection_set_max_headers_size(h->conn, HEADERS_MAX);
	evhttp_connection_set_max_body_size(h->conn, BODY_MAX);
	return 0;
}

static int send_request(struct http *h, const struct http_ask *ask, const char *host)
{
	struct evhttp_request *req = evhttp_request_new(on_answer, h);
	bool colons = strchr(host, ':') != NULL;
	struct evkeyvalq *headers;
	char name[NI_MAXHOST + 16];

	if (!req)
		return -1;
	headers = evhttp_request_get_output_headers(req);
	(void)snprintf(name, sizeof(name), colons ? "[%.*s]:%d" : "%.*s:%d",
		       (int)strcspn(host, "%"), host, ask->port);
	if (evhttp_add_header(headers, "Host", name) != 0 ||
	    evhttp_add_header(headers, "Connection", "close") != 0 ||
	    evhttp_add_header(headers, "User-Agent", "pgweir-health") != 0) {
		evhttp_request_free(req);
		return -1;
	}
	/* it is evhttp's from here on, also when this fails */
	return evhttp_make_request(h->conn, req, EVHTTP_REQ_GET, ask->path);
}

struct http *http_get(struct event_base *base, const struct http_ask *ask, http_done_fn *done,
		      void *arg)
{
	struct timeval tv = {.tv_sec = ask->timeout_us / 1000000,
			     .tv_usec = ask->timeout_us % 1000000};
	struct http *h = calloc(1, sizeof(*h));
	char host[NI_MAXHOST];

	if (!h)
		return NULL;
	h->done = done;
	h->arg = arg;
	if (event_assign(&h->timer, base, -1, 0, on_timer, h) != 0 ||
	    event_add(&h->timer, &tv) != 0 || address_of(ask->addr, host, sizeof(host)) != 0 ||
	    connect_to(h, base, ask, host) != 0 || send_request(h, ask, host) != 0) {
		http_free(h);
		return NULL;
	}
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	h->ended = true;
	if (event_initialized(&h->timer))
		event_del(&h->timer);
	if (h->conn)
		evhttp_connection_free(h->conn);
	SSL_CTX_free(h->tls);
	free(h);
}
