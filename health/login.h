/* health/login.h - what a probe's login says, and what its failure means.
 *
 * Owner:   health/probe. Threads: any; both functions are pure but for libpq's
 *          table of options and calloc.
 *
 * libpq 15 gives no code for a failed connection. What there is: the SQLSTATE
 * that PQERRORS_VERBOSE puts into the message (when it is set right after
 * PQconnectStart), the words strerror has for an errno, and whether the server
 * had begun to ask for an authentication.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_LOGIN_H
#define PGWEIR_HEALTH_LOGIN_H

#include "conf/addr.h"
#include "health/target.h"

#define LOGIN_DBNAME "postgres" /* when none is given */

enum verdict {
	V_GOOD = 0, /* logged in and told us what it is */
	V_ALIVE,    /* it answered, but not that; its role stays as it was */
	V_BAD,      /* in doubt */
	V_SILENT,   /* no answer in time */
	V_DRAIN,    /* it says that it is leaving */
	V_HARD,     /* proof that it takes no logins */
	V_LOCAL     /* our own trouble: says nothing about the target */
};

struct finding {
	enum verdict verdict;
	enum target_role role; /* V_GOOD only */
	bool read_only;
	uint64_t lag_us;
	const char *why;
	char sqlstate[6];
	char text[256];
};

/* Where and when a login failed. */
struct login_fail {
	const char *text; /* PQerrorMessage, with PQERRORS_VERBOSE */
	bool at_once;     /* inside PQconnectStart, where faulty parameters show too */
	bool connecting;  /* before the connection stood */
	bool answered;    /* the server had asked for an authentication */
};

/* TLS in libpq's words; NULL or empty: not given. */
struct login_ssl {
	const char *mode;        /* sslmode */
	const char *host;        /* whose certificate it must be; not given: the address's */
	const char *rootcert, *cert, *key, *crl, *min, *max;
	const char *binding;     /* channel_binding; a constant */
	bool sni;
};

/* The connection string for a, calloc'ed; the caller wipes *cap bytes and
 * frees. Complete: neither the environment (but see probe_clean_env) nor
 * ~/.pgpass has a say. NULL or empty user, password and dbname: pgweir, none,
 * postgres. ssl NULL: in clear. NULL when out of memory or when a has no numeric form. */
char *login_info(const struct addr *a, const char *user, const char *password, const char *dbname,
		 const struct login_ssl *ssl, size_t *cap);

/* Fills f from a failure of the login. */
void login_judge(const struct login_fail *fail, struct finding *f);

/* Sets verdict and why from f->sqlstate and f->text, those of an ErrorResponse. */
void login_judge_sqlstate(struct finding *f);

/* Keeps the first line of text in f, for the log. */
void login_keep_text(struct finding *f, const char *text);

#endif
