/* conf/foreign.c - see foreign.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/foreign.h"

#include <stddef.h>
#include <string.h>

/* PgBouncer 1.25 without what keys.def has. A name that keys.def gains is found
 * there first, so a forgotten one in here does no harm. */
static const char *const names[] = {
	"auth_ldap_options", "autodb_idle_timeout",
	"client_encoding", "conffile", "connect_query", "datestyle", "disable_pqexec",
	"dns_zone_check_period",
	"ignore_startup_parameters", "job_name", "log_pooler_errors", "log_stats",
	"login_notify_message", "max_packet_size", "peer_id", "pkt_buf",
	"pool_idle_timeout", "query_timeout", "query_wait_notify", "reserve_pool",
	"reserve_pool_size", "reserve_pool_timeout", "sbuf_loopcnt",
	"scram_iterations", "server_check_delay", "server_check_query",
	"server_fast_close", "service_name", "so_reuseport", "stats_period", "suspend_timeout", "syslog",
	"syslog_facility", "syslog_ident", "tcp_socket_buffer",
	"timezone", "track_extra_parameters", "transaction_timeout",
};

bool foreign_is_pgbouncer(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}
