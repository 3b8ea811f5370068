/* conf/hosts.h - what is said of each host besides its address: lists beside the
 * list of hosts, with one entry for all or one for each.
 *
 * Threads: any; pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_HOSTS_H
#define PGWEIR_CONF_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"

/* What else is said of one host of a database. */
struct conf_host {
	char *name;                    /* how people call it, when its address was given apart;
					* NULL: as it is written in the list */
	unsigned weight;               /* 1..100 */
	char *zone;                    /* NULL: none was told */
	bool near;                     /* its zone is that of this process, or none was told */
	bool https;
	int http_port;                 /* 0: health_check_http is not set */
	char *http_path;               /* with its slash; NULL with http_port 0 */
};
#define CONF_HOSTS_MAX 64u

/* The lists as they are written, NULL: not given. */
struct host_lists {
	const char *names, *weight, *zones, *http; /* names: one for each, maybe
							     * empty */
	const char *zone;              /* this process's own */
};

/* For n hosts. *out is calloc'ed (hosts_free). -1: e says which list is wrong. */
MUST_CHECK int hosts_make(const struct host_lists *l, size_t n, struct conf_host **out,
			  struct err *e);
void hosts_free(struct conf_host *h, size_t n);

#endif
