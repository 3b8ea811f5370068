/* proxy/http/ask.h - what a request's headers ask for.
 *
 * Threads: any. Pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_ASK_H
#define PGWEIR_HTTP_ASK_H

#include <stdbool.h>

/* Does this Accept header (NULL: none) prefer OpenMetrics 1.0.0 to Prometheus' text? */
bool ask_openmetrics(const char *accept);

/* May somebody call us by this Host header? Without one (NULL), by an address, and as
 * localhost: yes. By another name only when it is the machine's (with or without its
 * domain), stands in http_addr, or in http_hosts (* is any). Each may be NULL. A web page
 * can have its own name stand for our address, and read what its visitors' browsers
 * fetch from there: so names are not for everybody to choose. */
bool ask_host_fits(const char *host, const char *machine, const char *http_addr,
		   const char *http_hosts);

#endif
