/* conf/hba.c - see hba.h: the rules' life, and finding the one that holds. Reading is
 * in hba_parse.c.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/hba.h"

#include <stdlib.h>
#include <string.h>

static void names_free(struct hba_names *names)
{
	size_t i;

	for (i = 0; i < names->n; i++) {
		free(names->at[i].text);
		regexp_free(names->at[i].re);
	}
	free(names->at);
}

void hba_free(struct hba *h)
{
	size_t i;

	if (!h)
		return;
	for (i = 0; i < h->n; i++) {
		names_free(&h->rules[i].dbs);
		names_free(&h->rules[i].users);
		free(h->rules[i].map);
	}
	for (i = 0; i < h->file_n; i++)
		free(h->files[i]);
	free(h->files);
	free(h->own);
	free(h->rules);
	free(h);
}

/* --- words ------------------------------------------------------------------- */

const char *hba_conn_word(enum hba_conn conn)
{
	switch (conn) {
	case HBA_LOCAL:
		return "local";
	case HBA_HOST:
		return "host";
	case HBA_HOSTSSL:
		return "hostssl";
	case HBA_HOSTNOSSL:
		return "hostnossl";
	case HBA_HOSTGSSENC:
		return "hostgssenc";
	case HBA_HOSTNOGSSENC:
		return "hostnogssenc";
	default:
		return "?";
	}
}

const char *hba_method_word(enum auth_type method)
{
	switch (method) {
	case AUTH_TRUST:
		return "trust";
	case AUTH_REJECT:
		return "reject";
	case AUTH_SCRAM:
		return "scram-sha-256";
	case AUTH_MD5:
		return "md5";
	case AUTH_PLAIN:
		return "password";
	case AUTH_CERT:
		return "cert";
	case AUTH_PEER:
		return "peer";
	case AUTH_PASSTHROUGH:
		return "passthrough";
	case AUTH_ANY:
	case AUTH_HBA:
	default:
		return "?";
	}
}

const char *hba_address_word(enum hba_address address)
{
	switch (address) {
	case HBA_ALL:
		return "all";
	case HBA_SAMEHOST:
		return "samehost";
	case HBA_SAMENET:
		return "samenet";
	case HBA_NET:
	default:
		return "";
	}
}

const struct hba_rule *hba_with_method(const struct hba *h, enum auth_type method)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		if (h->rules[i].method == method)
			return &h->rules[i];
	return NULL;
}

/* --- finding ----------------------------------------------------------------- */

static bool match_name(const struct hba_name *n, const char *name)
{
	if (n->word == HBA_WORD_NAME)
		return strcmp(n->text, name) == 0;
	return n->word == HBA_WORD_REGEXP && regexp_try(n->re, name, NULL);
}

static bool match_db(const struct hba_name *n, const struct hba_who *who)
{
	/* No database: nothing else than its own keyword is meant for it. */
	if (who->is_physical)
		return n->word == HBA_WORD_REPLICATION;
	if (n->word == HBA_WORD_ALL)
		return true;
	if (n->word == HBA_WORD_SAMEUSER)
		return strcmp(who->db, who->user) == 0;
	return match_name(n, who->db);
}

static bool match_dbs(const struct hba_names *dbs, const struct hba_who *who)
{
	size_t i;

	for (i = 0; i < dbs->n; i++)
		if (match_db(&dbs->at[i], who))
			return true;
	return false;
}

static bool match_users(const struct hba_names *users, const struct hba_who *who)
{
	size_t i;

	for (i = 0; i < users->n; i++)
		if (users->at[i].word == HBA_WORD_ALL || match_name(&users->at[i], who->user))
			return true;
	return false;
}

static bool match_conn(enum hba_conn conn, const struct hba_who *who)
{
	switch (conn) {
	case HBA_LOCAL:
		return who->is_local;
	case HBA_HOST:
	case HBA_HOSTNOGSSENC:
		return !who->is_local;
	case HBA_HOSTSSL:
		return !who->is_local && who->is_tls;
	case HBA_HOSTNOSSL:
		return !who->is_local && !who->is_tls;
	case HBA_HOSTGSSENC:
	default:
		return false;
	}
}

static bool match_own(const struct hba *h, bool is_net, const struct net *client)
{
	size_t i;

	for (i = 0; i < h->own_n; i++)
		if (is_net ? net_has(&h->own[i], client) : net_is(&h->own[i], client))
			return true;
	return false;
}

static bool match_address(const struct hba *h, const struct hba_rule *r, const struct net *client)
{
	switch (r->address) {
	case HBA_ALL:
		return true;
	case HBA_SAMEHOST:
		return match_own(h, false, client);
	case HBA_SAMENET:
		return match_own(h, true, client);
	case HBA_NET:
	default:
		return net_has(&r->net, client);
	}
}

const struct hba_rule *hba_find(const struct hba *h, const struct hba_who *who)
{
	struct net client = {0};
	size_t i;

	if (!who->is_local && (!who->addr || !net_of(who->addr, &client)))
		return NULL;
	if (strnlen(who->db, HBA_NAME_MAX + 1) > HBA_NAME_MAX ||
	    strnlen(who->user, HBA_NAME_MAX + 1) > HBA_NAME_MAX)
		return NULL;
	for (i = 0; i < h->n; i++) {
		const struct hba_rule *r = &h->rules[i];

		if (match_conn(r->conn, who) &&
		    (who->is_local || match_address(h, r, &client)) &&
		    match_dbs(&r->dbs, who) && match_users(&r->users, who))
			return r;
	}
	return NULL;
}
