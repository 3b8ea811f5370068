/* health/names.h - what a host name stands for: sets of addresses, how answers
 * change them, the hosts file, and when to look again.
 *
 * Owner:   struct ip_set and the rest are the caller's.
 * Threads: any. Pure: no clock, no sockets, no memory of its own.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_NAMES_H
#define PGWEIR_HEALTH_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/addr.h"

/* libevent gives 32 of each family at most. */
#define IP_SET_MAX 64u
#define IP_TEXT 48u                  /* room for ip_print */

enum ip_family { IP_4 = 0, IP_6, IP_FAMILIES };

struct ip {
	uint8_t family;                /* enum ip_family */
	uint8_t b[16];                 /* network order; zero behind an IPv4 one */
};

/* Sorted (IPv4 first) and without duplicates, so that a server that turns its
 * answers round changes nothing. */
struct ip_set {
	struct ip ip[IP_SET_MAX];
	unsigned n;
};

/* bytes: 4 or 16 of them. A full set stays as it is. */
void ip_set_add(struct ip_set *s, enum ip_family family, const void *bytes);
bool ip_set_same(const struct ip_set *a, const struct ip_set *b);
/* "10.0.0.1", "2001:db8::1". Returns out. */
const char *ip_print(const struct ip *ip, char *out, size_t cap);
/* Fills the socket address of a with ip and a->port. */
void ip_sock(const struct ip *ip, struct addr *a);

/* ---- answers ---- */

enum answer_kind {
	ANSWER_NONE = 0,               /* not here yet */
	ANSWER_OK,                     /* some addresses */
	ANSWER_EMPTY,                  /* no such name, or none of this family */
	ANSWER_FAIL                    /* no answer that says anything */
};

struct answer {
	enum answer_kind kind;
	const char *why;               /* a constant; not for ANSWER_OK */
	struct ip_set set;             /* of one family */
};

/* Takes what the answers (one of each family) say so far over into known. A
 * family with addresses replaces what was known of it. One without empties it
 * only beside another that has some: a name that is gone altogether, or a
 * server in trouble, takes nothing away. True when known changed. */
bool names_merge(struct ip_set *known, const struct answer a[IP_FAMILIES]);
/* Did one of them bring addresses? */
bool names_good(const struct answer a[IP_FAMILIES]);
/* Why none did. */
const char *names_why(const struct answer a[IP_FAMILIES]);

/* ---- when ---- */

struct name_times {
	int64_t max_ttl_us, nxdomain_ttl_us;
};

/* Where the lookups of a name stand. */
struct name_pace {
	unsigned fails;                /* in a row, 0 after a good one */
	unsigned hurry;                /* 0: none; else which of the quick looks comes next */
};

/* The pause after a lookup. known: there are addresses to go on with. Give or
 * take a tenth, by random. Hurried (an address was in trouble) the next looks come
 * after 1, 2, 4, 8 s, as what stands in its place may not be in DNS yet. Moves
 * the hurry on. */
int64_t names_pause_us(const struct name_times *t, bool known, struct name_pace *p,
		       uint64_t random);
/* How long somebody who wants a lookup now has to wait: they begin a second
 * apart. */
int64_t names_hurry_us(int64_t now_us, int64_t begun_us);

/* ---- the hosts file ---- */

/* Adds the addresses that text, in the format of hosts(5), has for name. False:
 * none. Addresses with a zone (fe80::1%eth0) are passed over. */
bool names_in_hosts(const char *text, size_t len, const char *name, struct ip_set *out);

#endif
