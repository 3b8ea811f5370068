/* conf/nets.h - networks: an address and a mask, and whether a client is in it.
 *
 * Owner:   the caller.
 * Threads: any. Nothing here looks a name up.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_NETS_H
#define PGWEIR_CONF_NETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "conf/err.h"

/* IPv4 has the first four bytes of both, the rest is zero. */
struct net {
	int family;                    /* AF_INET or AF_INET6 */
	uint8_t addr[16];
	uint8_t mask[16];
};

/* Interface addresses, at most. */
#define NETS_OWN_MAX 1024

/* An address without a length? */
bool net_is_address(const char *text);

/* "10.0.0.0/8", or an address and its mask ("10.0.0.0", "255.0.0.0").
 * mask NULL: text must have a length. Bits behind the mask mean nothing, as in PostgreSQL.
 *
 * Only whole addresses: what getaddrinfo() would read otherwise than it looks (10/8 is
 * 0.0.0.10/8 to PostgreSQL, 010.0.0.1 is 8.0.0.1), addresses with a zone (fe80::1%eth0)
 * and IPv4 written as IPv6 (::ffff:10.0.0.1) are refused. The sentence has no place in
 * front. */
MUST_CHECK int net_parse(const char *text, const char *mask, struct net *out, struct err *e);

/* The address of a client as a network of one: false when it is neither IPv4 nor IPv6.
 * One that came in as ::ffff:10.0.0.1 is 10.0.0.1. */
bool net_of(const struct sockaddr *sa, struct net *out);

/* Is the address (of net_of) in the network? Families must be equal. */
bool net_has(const struct net *net, const struct net *client);

/* Is it the network's own address, whatever the mask? */
bool net_is(const struct net *net, const struct net *client);

/* The addresses of this machine's interfaces, up or not, with the masks of their
 * networks. *out is malloc'ed. More than NETS_OWN_MAX are refused. */
MUST_CHECK int nets_own(struct net **out, size_t *n, struct err *e);

/* "10.0.0.0" and "255.0.0.0": at least INET6_ADDRSTRLEN bytes. Both return out. */
const char *net_print_addr(const struct net *net, char *out, size_t cap);
const char *net_print_mask(const struct net *net, char *out, size_t cap);

#endif
