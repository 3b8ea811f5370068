/* conf/hba.h - pg_hba.conf: which client is asked for what.
 *
 * Owner:   struct conf (read in hba_parse.c, with everything else at start and on
 *          SIGHUP).
 * Threads: any; never changes after it was read.
 *
 * As PostgreSQL 16 reads it (see also rulefile.h), and the first rule that matches
 * decides; none is a refusal. Otherwise than in PostgreSQL:
 *
 * - refused, with a sentence: host names, +role, samerole, samegroup (they need
 *   lookups at each login); the methods gss, sspi, pam, ldap, radius, bsd, oauth, and
 *   ident except on local, where it is peer; options other than map, clientcert and
 *   clientname; addresses that mean something else than they look like (nets.h);
 *   regular expressions that regexp.h does not know; passthrough on hostnossl, since a
 *   password is asked for on TLS and local sockets only;
 * - the method passthrough is pgweir's own (auth.h);
 * - hostgssenc never matches, and hostnogssenc is host: there is no GSS here;
 * - samehost and samenet mean the addresses that the machine's interfaces had when the
 *   file was read; a client of ::ffff:10.0.0.1 is one of 10.0.0.1.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_HBA_H
#define PGWEIR_CONF_HBA_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "conf/auth.h"
#include "conf/err.h"
#include "conf/nets.h"
#include "conf/regexp.h"

/* A longer name of a user or database matches no rule at all. */
#define HBA_NAME_MAX REGEXP_NAME_MAX

enum hba_conn {
	HBA_LOCAL = 0,
	HBA_HOST,
	HBA_HOSTSSL,
	HBA_HOSTNOSSL,
	HBA_HOSTGSSENC,
	HBA_HOSTNOGSSENC
};

enum hba_address { HBA_ALL = 0, HBA_SAMEHOST, HBA_SAMENET, HBA_NET };
enum hba_cert { HBA_CERT_NO = 0, HBA_CERT_CA, HBA_CERT_FULL };
enum hba_cert_name { HBA_NAME_CN = 0, HBA_NAME_DN };

/* An entry of the lists of databases and users. */
enum hba_word { HBA_WORD_NAME = 0, HBA_WORD_ALL, HBA_WORD_SAMEUSER, HBA_WORD_REPLICATION,
		HBA_WORD_REGEXP };

struct hba_name {
	enum hba_word word;
	char *text;                    /* as written, without quotes */
	struct regexp *re;             /* HBA_WORD_REGEXP */
};

struct hba_names {
	struct hba_name *at;
	size_t n;
};

struct hba_rule {
	const char *file;              /* where it stands; borrowed from the whole */
	int line;
	enum hba_conn conn;
	struct hba_names dbs, users;
	enum hba_address address;
	struct net net;                /* HBA_NET */
	enum auth_type method;
	enum hba_cert clientcert;      /* is a certificate demanded, and must it name the
					* user (FULL, with map)? FULL for AUTH_CERT */
	enum hba_cert_name clientname; /* what of it names the user */
	char *map;                     /* of pg_ident.conf; NULL: names must be equal */
};

struct hba {
	struct hba_rule *rules;
	size_t n, cap;
	struct net *own;               /* of this machine, when a rule asks for them */
	size_t own_n;
	char **files;
	size_t file_n;
};

/* A client that has said who it wants to be. */
struct hba_who {
	const struct sockaddr *addr;   /* its own; NULL is fine for is_local */
	bool is_local;                 /* came by a unix socket */
	bool is_tls;
	bool is_physical;              /* replication=true; replication=database is a client
					* of that database like others */
	const char *db, *user;
};

/* Reads and checks the file and all that it includes; at least one rule. *out is for
 * hba_free; or -1 with a sentence that starts with "file:line:". Blocks on the disk. */
MUST_CHECK int hba_read(const char *path, struct hba **out, struct err *e);

/* The same from memory, other files refused; own: what the machine's addresses are
 * taken to be (tests, fuzzing). */
MUST_CHECK int hba_read_mem(const char *name, const char *text, size_t len, const struct net *own,
			    size_t own_n, struct hba **out, struct err *e);
void hba_free(struct hba *h);          /* NULL is fine */

/* The first rule that matches, NULL for none: the client is refused. Compares with the
 * rules one after the other, at most RULEFILE_WORDS_MAX names; allocates nothing and
 * waits for nothing. A client without an address, or with a name that is too long:
 * NULL, and not the next rule, since the one before may say reject. */
const struct hba_rule *hba_find(const struct hba *h, const struct hba_who *who);

/* The first rule with this method, NULL: there is none. */
const struct hba_rule *hba_with_method(const struct hba *h, enum auth_type method);

/* The words of the file: "hostssl", "scram-sha-256", "samenet". */
const char *hba_conn_word(enum hba_conn conn);
const char *hba_method_word(enum auth_type method);
const char *hba_address_word(enum hba_address address);

#endif
