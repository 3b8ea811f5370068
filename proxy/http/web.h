/* proxy/http/web.h - HTTP for people and their monitoring: a server with a thread and a
 * loop of its own, so that nobody there can hold up a client of the pool.
 *
 * Owner:   struct daemon. Threads: the control loop's, but for web_tell_running.
 *
 *   /            the status page          /metrics  OpenMetrics, or Prometheus' text
 *   /health      JSON, 503: unhealthy     /status   JSON, what the page shows
 *   /ready       JSON, 503: not ready
 *
 * GET and HEAD, without passwords; docs/http.md. Bounded: WEB_CONNS connections (the one
 * that has been silent for longest goes for the next), WEB_HEADERS bytes of a request,
 * http_timeout for a request and its answer.
 *
 * An address that cannot be listened on is no reason not to start, and is tried again each
 * second: the pgweir that is being replaced may still have it.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_WEB_H
#define PGWEIR_HTTP_WEB_H

#include "conf/log.h"
#include "http/healthy.h"
#include "session/session.h"

#define WEB_CONNS 64u
#define WEB_HEADERS 8192u
/* Descriptors that it may need. */
#define WEB_FILES (WEB_CONNS + 80u)

struct web;

/* Makes *w (NULL at first) what snap says: starts it, stops it, tells it, or starts it anew
 * when http_addr is another. Takes over the reference. Says in log why it cannot; blocks
 * for names in http_addr. */
void web_use(struct web **w, struct shared *sh, struct snapshot *snap, const struct log_ctx *log);
/* At the start, in two parts: web_prepare does what blocks, and takes over the reference;
 * web_start the rest of it, when the halls run (NULL is fine). */
void web_prepare(struct web **w, struct shared *sh, struct snapshot *snap,
		 const struct log_ctx *log);
void web_start(struct web **w, const struct log_ctx *log);
/* Any thread; NULL is fine. */
void web_tell_running(struct web *w, enum running r);
/* Before the halls go; NULL is fine. */
void web_stop(struct web *w);

#endif
