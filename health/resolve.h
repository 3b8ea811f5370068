/* health/resolve.h - host names to addresses, again and again, without ever
 * blocking.
 *
 * Owner:   the daemon. Threads: the control loop's only.
 *
 * A table of the names that a configuration has. Each is looked up, A and AAAA,
 * by libevent's evdns; a name in /etc/hosts has what stands there and is not
 * asked for. Again after dns_max_ttl, after a failure dns_nxdomain_ttl (a name
 * that never had an address: a second, then 2, 4, 8), and at once when
 * resolve_now says that an address is in trouble (a second after the last time at the
 * soonest), then after 1, 2, 4, 8 s. One lookup per name at a time.
 * A lookup that fails (no such name, no answer, nonsense) takes nothing away:
 * the last addresses stay, and the log says so once per change.
 *
 * The two families are asked separately rather than by evdns_getaddrinfo, which
 * cannot tell "no AAAA record" from "no answer for AAAA": the first must take
 * addresses away, the second must not. It also would wait for the slower one.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_RESOLVE_H
#define PGWEIR_HEALTH_RESOLVE_H

#include <event2/event.h>

#include "conf/conf.h"
#include "conf/log.h"
#include "health/names.h"

struct resolve;

/* What is known of a name. */
struct name_known {
	struct ip_set set;
	const char *why;               /* a constant: why there is none; NULL: not known yet */
};

/* Some name's set of addresses has changed, or the reason why it has none.
 * Changes within a few milliseconds make one call. -1: try again soon. May call
 * any function of this header but resolve_free. */
typedef int resolve_changed_fn(void *arg);

/* Borrows base, log and arg until resolve_free. Names are looked up from
 * resolve_conf on. NULL: out of memory. */
struct resolve *resolve_new(struct event_base *base, struct log_ctx *log,
			    resolve_changed_fn *changed, void *arg);

/* Takes the names and settings of c, which need not outlive the call; what is
 * known of names that stay is kept, and all are looked up now. Reads
 * resolv_conf and /etc/hosts; names in there are known at once, and no change is
 * told of them. -1: out of memory, all is as before. */
MUST_CHECK int resolve_conf(struct resolve *r, const struct conf *c);

/* NULL: no such name was wanted. Borrowed until the loop goes round. */
const struct name_known *resolve_known(const struct resolve *r, const char *name);

/* An address of that name is in trouble: looks again, a second after the last
 * time at the soonest. Any other name is fine. */
void resolve_now(struct resolve *r, const char *name);

/* Ends lookups under way and frees. Turns the loop for that, so nothing that
 * could do harm may be left in it. NULL is fine. */
void resolve_free(struct resolve *r);

#endif
