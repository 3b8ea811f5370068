/* health/http.h - one GET of a node's HTTP interface.
 *
 * Owner:   health/probe. Threads: the control loop's.
 *
 * Asynchronous (libevent's client on a numeric address), over within timeout_us,
 * with an answer of bounded size. TLS is not verified: the answer decides only
 * whether the node gets new work. Redirects are not followed.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_HTTP_H
#define PGWEIR_HEALTH_HTTP_H

#include <event2/event.h>

#include "conf/addr.h"

struct http_ask {
	const struct addr *addr; /* of the host; a socket directory: this machine */
	int port;
	bool tls;
	const char *path;
	int64_t timeout_us;
};

struct http_said {
	int status;              /* 0: no answer */
	const char *why;         /* answer, no_answer or timeout */
	const char *text;        /* of an answer: its JSON's "error", or how it begins; printable */
};

/* Called once, from the loop and not from inside libevent's client; http_free() may
 * be called in it. */
typedef void http_done_fn(void *arg, const struct http_said *said);

struct http;

/* NULL: out of memory, or no such address; done will not be called. */
struct http *http_get(struct event_base *base, const struct http_ask *ask, http_done_fn *done,
		      void *arg);
/* At any time, whether it is done or not. NULL is fine. */
void http_free(struct http *h);

/* Takes out[cap] from a body: the string that is "error" in a JSON object, or its
 * beginning. Bytes that are not printable become a blank. */
void http_text(const char *body, size_t len, char *out, size_t cap);

#endif
