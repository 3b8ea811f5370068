/* proxy/http/page.h - the status page (page.html, in the binary) and what a browser may
 * do with it.
 *
 * Threads: any. Pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_PAGE_H
#define PGWEIR_HTTP_PAGE_H

#include <stddef.h>

#include "conf/err.h"

#define PAGE_POLICY_MAX 512

/* *len bytes, there for ever. */
const char *page_html(size_t *len);
/* Its Content-Security-Policy: its own script and style by their hashes, and to ask us;
 * nothing else. -1: no memory for the hashes. */
MUST_CHECK int page_policy(char out[PAGE_POLICY_MAX]);

#endif
