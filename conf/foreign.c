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
	"application_name_add_host", "auth_dbname", "auth_hba_file", "auth_ident_file",
	"auth_ldap_options", "auth_query", "auth_user", "autodb_idle_timeout",
	"client_encoding", "client_tls13_ciphers", "client_tls_ca_file",
	"client_tls_cert_file", "client_tls_ciphers", "client_tls_dheparams",
	"client_tls_ecdhcurve", "client_tls_key_file", "client_tls_protocols",
	"client_tls_sslmode", "conffile", "connect_query", "datestyle", "disable_pqexec",
	"dns_zone_check_period",
	"ignore_startup_parameters", "job_name", "log_pooler_errors", "log_stats",
	"login_notify_message", "max_db_client_connections", "max_packet_size",
	"max_user_client_connections", "max_user_connections", "peer_id", "pkt_buf",
	"pool_idle_timeout", "query_timeout", "query_wait_notify", "reserve_pool",
	"reserve_pool_size", "reserve_pool_timeout", "sbuf_loopcnt",
	"scram_iterations", "server_check_delay", "server_check_query",
	"server_fast_close", "server_tls13_ciphers",
	"server_tls_ca_file", "server_tls_cert_file", "server_tls_ciphers",
	"server_tls_key_file", "server_tls_protocols", "server_tls_sslmode",
	"service_name", "so_reuseport", "stats_period", "suspend_timeout", "syslog",
	"syslog_facility", "syslog_ident", "tcp_defer_accept", "tcp_socket_buffer",
	"timezone", "track_extra_parameters", "transaction_timeout", "unix_socket_dir",
	"unix_socket_group", "unix_socket_mode",
};

bool foreign_is_pgbouncer(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}
