/* proxy/top/order.h - in which order rows stand. Pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_ORDER_H
#define PGWEIR_TOP_ORDER_H

#include <stdbool.h>

#include "top/sample.h"

/* By waiting, then used, then name; by used; by clients; by longest wait; by name. */
enum pool_order { POOLS_WAITING = 0, POOLS_USED, POOLS_CLIENTS, POOLS_LONGEST, POOLS_NAME, POOL_ORDERS };
/* As the console tells them (as they are configured); what is not up first; slowest first; most connections first. */
enum node_order_by { NODES_TOLD = 0, NODES_STATE, NODES_LATENCY, NODES_CONNS, NODE_ORDERS };

struct order {
	enum pool_order pools;
	enum node_order_by nodes;
	bool reverse;
};

const char *order_pools_name(enum pool_order o);
const char *order_nodes_name(enum node_order_by o);
void order_sort(const struct order *o, struct top_sample *s);
/* up: 0; in doubt or leaving: 1; not used: 2 */
int order_badness(const struct top_node *n);

#endif
