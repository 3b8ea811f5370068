/* conf/nets.c - see nets.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/nets.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static size_t width(int family)
{
	return family == AF_INET ? 4 : 16;
}

static void mask_of(int family, unsigned bits, uint8_t *mask)
{
	size_t i;

	memset(mask, 0, 16);
	for (i = 0; i < width(family) && bits > 0; i++) {
		unsigned here = bits > 8 ? 8 : bits;

		mask[i] = (uint8_t)(0xff << (8 - here));
		bits -= here;
	}
}

/* 0, or the family of what looks like an address and is one. */
static int address(const char *text, uint8_t *out)
{
	memset(out, 0, 16);
	if (inet_pton(AF_INET, text, out) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, out) == 1 ? AF_INET6 : 0;
}

bool net_is_address(const char *text)
{
	uint8_t bytes[16];

	return address(text, bytes) != 0;
}

/* Is this meant to be an address? A name has a letter that is no hexadecimal digit,
 * or no digit and no colon at all. */
static bool is_address_like(const char *text)
{
	return strchr(text, ':') || (isdigit((unsigned char)*text) &&
				     text[strspn(text, "0123456789.xXabcdefABCDEF")] == '\0');
}

static int parse_addr(const char *text, struct net *out, struct err *e)
{
	out->family = address(text, out->addr);
	if (out->family == 0 && is_address_like(text))
		return err_set(e, "\"%.80s\" is not an address: write all four numbers of IPv4, "
				  "without leading zeros, or IPv6 without a zone", text);
	if (out->family == 0)
		return err_set(e, "\"%.80s\" is not an address; host names are not supported here, "
				  "since looking them up would hold up every login: write the "
				  "address, a network like 10.0.0.0/8, all, samehost or samenet",
			       text);
	if (out->family == AF_INET6 && memcmp(out->addr, mapped, sizeof(mapped)) == 0)
		return err_set(e, "\"%.80s\" is an IPv4 address in IPv6's form: write it as IPv4, "
				  "which matches such clients too", text);
	return 0;
}

static int parse_length(const char *text, const char *whole, struct net *out, struct err *e)
{
	size_t digits = strspn(text, "0123456789");
	unsigned bits = 0, i;

	for (i = 0; i < digits && bits <= 128; i++)
		bits = bits * 10 + (unsigned)(text[i] - '0');
	if (digits == 0 || text[digits] || bits > width(out->family) * 8)
		return err_set(e, "\"%.80s\": the length of the network must be a number from 0 to "
				  "%zu", whole, width(out->family) * 8);
	mask_of(out->family, bits, out->mask);
	return 0;
}

int net_parse(const char *text, const char *mask, struct net *out, struct err *e)
{
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN];

	memset(out, 0, sizeof(*out));
	if (slash) {
		size_t n = (size_t)(slash - text);

		if (n >= sizeof(host))
			return err_set(e, "\"%.80s\" is not an address", text);
		memcpy(host, text, n);
		host[n] = '\0';
		return parse_addr(host, out, e) < 0 ? -1 : parse_length(slash + 1, text, out, e);
	}
	if (parse_addr(text, out, e) < 0)
		return -1;
	if (!mask || address(mask, out->mask) != out->family)
		return err_set(e, "\"%.80s\" is not a mask for the address \"%.80s\"",
			       mask ? mask : "", text);
	return 0;
}

bool net_of(const struct sockaddr *sa, struct net *out)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	memset(out, 0, sizeof(*out));
	/* Copies: the caller's storage need not be aligned for these. */
	if (sa->sa_family == AF_INET) {
		memcpy(&in4, sa, sizeof(in4));
		memcpy(out->addr, &in4.sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(out->addr, &in6.sin6_addr, 16);
	} else {
		return false;
	}
	out->family = sa->sa_family;
	if (out->family == AF_INET6 && memcmp(out->addr, mapped, sizeof(mapped)) == 0) {
		out->family = AF_INET;
		memmove(out->addr, out->addr + 12, 4);
		memset(out->addr + 4, 0, 12);
	}
	mask_of(out->family, 128, out->mask);
	return true;
}

bool net_has(const struct net *net, const struct net *client)
{
	size_t i;

	if (net->family != client->family)
		return false;
	for (i = 0; i < width(net->family); i++)
		if ((net->addr[i] ^ client->addr[i]) & net->mask[i])
			return false;
	return true;
}

bool net_is(const struct net *net, const struct net *client)
{
	return net->family == client->family &&
	       memcmp(net->addr, client->addr, width(net->family)) == 0;
}

/* As PostgreSQL: a mask that is none (of a tunnel, say) stands for the address
 * alone, and not for everything. */
static bool own(const struct ifaddrs *a, struct net *out)
{
	static const uint8_t nothing[16];
	struct net mask;

	if (!a->ifa_addr || !net_of(a->ifa_addr, out))
		return false;
	if (a->ifa_netmask && net_of(a->ifa_netmask, &mask) && mask.family == out->family &&
	    memcmp(mask.addr, nothing, width(out->family)) != 0)
		memcpy(out->mask, mask.addr, sizeof(out->mask));
	return true;
}

int nets_own(struct net **out, size_t *n, struct err *e)
{
	struct ifaddrs *list = NULL;
	const struct ifaddrs *a;

	*n = 0;
	*out = calloc(NETS_OWN_MAX, sizeof(**out));
	if (!*out)
		return err_set(e, "out of memory");
	if (getifaddrs(&list) < 0) {
		free(*out);
		*out = NULL;
		return err_set(e, "cannot read the addresses of this machine's interfaces: %s",
			       strerror(errno));
	}
	for (a = list; a && *n < NETS_OWN_MAX; a = a->ifa_next)
		*n += own(a, &(*out)[*n]);
	freeifaddrs(list);
	if (!a)
		return 0;
	free(*out);
	*out = NULL;
	return err_set(e, "this machine has more than %d interface addresses", NETS_OWN_MAX);
}

static const char *print(int family, const uint8_t *bytes, char *out, size_t cap)
{
	return inet_ntop(family, bytes, out, (socklen_t)cap) ? out : "?";
}

const char *net_print_addr(const struct net *net, char *out, size_t cap)
{
	return print(net->family, net->addr, out, cap);
}

const char *net_print_mask(const struct net *net, char *out, size_t cap)
{
	return print(net->family, net->mask, out, cap);
}
