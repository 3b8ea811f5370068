/* conf/foreign.c - see foreign.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/foreign.h"

#include <string.h>

#define SYSLOG "the log goes to standard error, which systemd hands to the journal, or to logfile"
#define PEEKED "a server is looked at before it is used, and nodes are checked all the time: " \
	       "health_check_interval"
#define WINDOWS "it names a service of Windows"
#define BUFFERS "buffers are of 16 kB, and there only while they hold bytes"

/* PgBouncer 1.25 without what keys.def has. A name that keys.def gains is found
 * there first, so a forgotten one in here does no harm. */
static const struct foreign rows[] = {
	{"auth_ldap_options", "pgweir does not speak LDAP; auth_type = passthrough lets servers "
			      "decide that do"},
	{"conffile", "the file is the one of the command line"},
	{"dns_zone_check_period", "names are looked up again after dns_max_ttl"},
	{"job_name", WINDOWS},
	{"log_pooler_errors", "the line of each client's end has the SQLSTATE that it was told: "
			      "log_disconnections"},
	{"max_packet_size", "messages of any size pass through in bounded memory"},
	{"pkt_buf", BUFFERS},
	{"pool_idle_timeout", "a pool without clients and servers is forgotten after ten seconds"},
	{"sbuf_loopcnt", "each connection has a bounded share of each turn of the loop"},
	{"server_check_delay", PEEKED},
	{"server_check_query", PEEKED},
	{"server_fast_close", "a server of a session is closed when the session ends, however "
			      "long that takes"},
	{"service_name", WINDOWS},
	{"suspend_timeout", "there is no SUSPEND: a new process takes over by -R, and the old one "
			    "ends with shutdown_timeout"},
	{"syslog", SYSLOG},
	{"syslog_facility", SYSLOG},
	{"syslog_ident", SYSLOG},
	{"tcp_socket_buffer", "the kernel sizes the buffers of sockets: net.ipv4.tcp_rmem, tcp_wmem"},
	{"track_extra_parameters", "every setting of a session goes with it from server to server"},
};

#define ROW_N (sizeof(rows) / sizeof(rows[0]))
_Static_assert(ROW_N <= FOREIGN_MAX, "a bit for each");

const struct foreign *foreign_row(size_t i)
{
	return i < ROW_N ? &rows[i] : NULL;
}

int foreign_find(const char *name)
{
	size_t i;

	for (i = 0; i < ROW_N; i++)
		if (strcmp(rows[i].name, name) == 0)
			return (int)i;
	return -1;
}
