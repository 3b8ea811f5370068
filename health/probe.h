/* health/probe.h - asks each target, on a fresh connection of its own, whether
 * it lets us in and what it is.
 *
 * Owner:   the control loop. Threads: the control loop's.
 *
 * Asynchronous libpq (PQconnectStart/PQconnectPoll with hostaddr, so that no
 * resolver blocks), login, one query for pg_is_in_recovery() and
 * default_transaction_read_only, PQfinish; all within timeout_us. A fresh login
 * each time, because a hung postmaster is invisible to an old connection. The
 * interval is jittered by up to a tenth and a fifth of itself while the state
 * is not UP.
 *
 * With http_port the node's HTTP interface is asked before (health/http.h), in at
 * most half of the time: 503 says that it is leaving, and nothing else is asked;
 * 200, and any trouble there (which is logged once), leaves it to the login.
 *
 * With max_lag_us a standby is asked how far its replay is behind: not at all when
 * it receives and has replayed all that it received, else as long ago as the last
 * transaction that it replayed. The time of that one is as old as the pause before
 * the next one, so one answer proves nothing: two in a row do.
 * A server that answers with an ErrorResponse to the login (bad
 * password, no such database, too many clients) is alive: up, its role as it
 * was, and the error is logged once per change. Not so 57P01, 57P02 (it is
 * going: bad) and 57P03 (it takes no logins: hard); refused, unreachable and no
 * such socket are hard; timeout, reset and end of stream are bad. A fault of
 * our own (no descriptor, no memory) is no result at all.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_PROBE_H
#define PGWEIR_HEALTH_PROBE_H

#include <event2/event.h>

#include "conf/log.h"
#include "health/login.h"
#include "health/target.h"

struct probe_conf {
	int64_t interval_us, timeout_us;
	struct target_rule rule;
	/* copied; NULL or empty: pgweir, none, postgres */
	const char *user, *password, *dbname;
	struct login_ssl ssl;   /* copied */
	bool no_clear;          /* the password is not sent as it is without TLS */
	uint64_t max_lag_us;    /* 0: the lag is not asked for */
	int http_port;          /* 0: no HTTP */
	bool https;
	const char *http_path;  /* copied */
};

/* Takes out of the environment what libpq would obey and no connection
 * parameter can outvote: PGSERVICE, PGDATESTYLE, PGTZ, PGGEQO. Once, at start,
 * before there are threads. */
void probe_clean_env(void);

/* Called on the control loop after a result changed the target. */
typedef void probe_changed_fn(void *arg, struct target *t);

/* Starts probing t at once and then for ever. Borrows base, log and arg until
 * probe_stop; t must not be freed before. changed may be NULL and may call any
 * function of this header. With a probe there already: probe_reconf. Returns -1
 * when out of memory. */
MUST_CHECK int probe_start(struct target *t, struct event_base *base, const struct probe_conf *pc,
			   struct log_ctx *log, probe_changed_fn *changed, void *arg);
/* Takes new numbers; the next probe uses them. Out of memory: keeps the old. */
void probe_reconf(struct target *t, const struct probe_conf *pc);
/* Probes now unless a probe is under way. */
void probe_now(struct target *t);
/* Ends probing, the probe under way too, and frees. t->probe NULL is fine. */
void probe_stop(struct target *t);

#endif
