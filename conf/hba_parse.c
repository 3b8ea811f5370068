/* conf/hba_parse.c - the readers declared in hba.h: lines to rules.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/hba.h"

#include <stdlib.h>
#include <string.h>

#include "conf/rulefile.h"
#include "conf/text.h"

/* One line on its way to a rule. */
struct parser {
	const struct rule_line *l;
	size_t next;                   /* the column that is taken next */
	struct hba_rule *rule;         /* given to hba_free() in any case */
	struct err *e;                 /* without a place */
};

static int add_rule(struct hba *h, const struct rule_line *l)
{
	struct hba_rule *rules = text_grow(h->rules, &h->cap, h->n, sizeof(*rules));

	if (!rules)
		return -1;
	h->rules = rules;
	rules[h->n++] = (struct hba_rule){.file = l->file, .line = l->line};
	return 0;
}

static int take_conn(struct parser *p)
{
	const struct rule_word *w = rule_single(p->l, p->next++, "the kind of connection", p->e);
	int i;

	if (!w)
		return -1;
	for (i = HBA_LOCAL; i <= HBA_HOSTNOGSSENC; i++) {
		if (strcmp(w->text, hba_conn_word((enum hba_conn)i)) == 0) {
			p->rule->conn = (enum hba_conn)i;
			return 0;
		}
	}
	return err_set(p->e, "\"%.80s\" is no kind of connection; allowed: local, host, hostssl, "
			     "hostnossl, hostgssenc, hostnogssenc, or a line include FILE, "
			     "include_if_exists FILE, include_dir DIRECTORY", w->text);
}

/* --- names --------------------------------------------------------------------- */

static enum hba_word keyword(const struct rule_word *w, bool is_db)
{
	if (w->is_quoted)
		return HBA_WORD_NAME;
	if (strcmp(w->text, "all") == 0)
		return HBA_WORD_ALL;
	if (is_db && strcmp(w->text, "sameuser") == 0)
		return HBA_WORD_SAMEUSER;
	if (is_db && strcmp(w->text, "replication") == 0)
		return HBA_WORD_REPLICATION;
	return HBA_WORD_NAME;
}

static bool needs_roles(const struct rule_word *w, bool is_db)
{
	if (w->is_quoted)
		return false;
	if (!is_db)
		return w->text[0] == '+';
	return strcmp(w->text, "samerole") == 0 || strcmp(w->text, "samegroup") == 0;
}

static int take_name(struct hba_names *out, const struct rule_word *w, bool is_db, struct err *e)
{
	struct hba_name *n = &out->at[out->n];

	if (needs_roles(w, is_db))
		return err_set(e, "%.80s is not supported: who belongs to which role is known to the "
				  "servers only; list the users, or @file (in quotes it is a name)",
			       w->text);
	*n = (struct hba_name){.word = keyword(w, is_db), .text = strdup(w->text)};
	out->n++;
	if (!n->text)
		return err_set(e, "out of memory");
	/* In quotes too: a comma in the expression needs them. */
	if (n->word != HBA_WORD_NAME || w->text[0] != '/')
		return 0;
	n->word = HBA_WORD_REGEXP;
	return regexp_make(w->text + 1, &n->re, e);
}

static int take_names(struct parser *p, struct hba_names *out, bool is_db)
{
	const struct rule_column *c;
	size_t i;

	if (p->next >= p->l->n)
		return err_set(p->e, "the line ends where the %s should be",
			       is_db ? "databases" : "users");
	c = &p->l->columns[p->next++];
	out->at = calloc(c->n, sizeof(*out->at));
	if (!out->at)
		return err_set(p->e, "out of memory");
	for (i = 0; i < c->n; i++)
		if (take_name(out, &c->words[i], is_db, p->e) < 0)
			return -1;
	return 0;
}

/* --- the address ------------------------------------------------------------------ */

static int take_address(struct parser *p)
{
	const struct rule_word *w = rule_single(p->l, p->next++, "the address", p->e), *mask;
	int i;

	if (!w)
		return -1;
	for (i = HBA_ALL; i < HBA_NET && !w->is_quoted; i++) {
		if (strcmp(w->text, hba_address_word((enum hba_address)i)) == 0) {
			p->rule->address = (enum hba_address)i;
			return 0;
		}
	}
	p->rule->address = HBA_NET;
	if (!net_is_address(w->text))
		return net_parse(w->text, NULL, &p->rule->net, p->e);
	mask = rule_single(p->l, p->next++, "the mask (or a length behind the address, like /24)",
			   p->e);
	return mask ? net_parse(w->text, mask->text, &p->rule->net, p->e) : -1;
}

/* --- the method -------------------------------------------------------------------- */

static int refuse_method(const struct parser *p, const char *word)
{
	static const char *const known[] = {"ident", "gss", "sspi", "pam", "ldap", "radius", "bsd",
					    "oauth"};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(word, known[i]) == 0)
			return err_set(p->e, "the method %s%s is PostgreSQL's, pgweir does not have "
					     "it; allowed: trust, reject, scram-sha-256, md5, "
					     "password, cert, peer, passthrough", word,
				       i == 0 ? " on host lines" : "");
	return err_set(p->e, "\"%.80s\" is no method; allowed: trust, reject, scram-sha-256, md5, "
			     "password, cert, peer, passthrough", word);
}

static int take_method(struct parser *p)
{
	static const enum auth_type methods[] = {AUTH_TRUST, AUTH_REJECT, AUTH_SCRAM, AUTH_MD5,
						 AUTH_PLAIN, AUTH_CERT, AUTH_PEER,
						 AUTH_PASSTHROUGH};
	const struct rule_word *w = rule_single(p->l, p->next++, "the method", p->e);
	struct hba_rule *r = p->rule;
	const char *word;
	size_t i;

	if (!w)
		return -1;
	word = r->conn == HBA_LOCAL && strcmp(w->text, "ident") == 0 ? "peer" : w->text;
	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(word, hba_method_word(methods[i])) == 0)
			break;
	if (i == sizeof(methods) / sizeof(methods[0]))
		return refuse_method(p, word);
	r->method = methods[i];
	if (r->method == AUTH_PEER && r->conn != HBA_LOCAL)
		return err_set(p->e, "the method peer is for local lines only");
	if (r->method == AUTH_CERT && r->conn != HBA_HOSTSSL)
		return err_set(p->e, "the method cert is for hostssl lines only");
	if (r->method == AUTH_PASSTHROUGH && r->conn == HBA_HOSTNOSSL)
		return err_set(p->e, "the method passthrough asks for passwords on TLS and local "
				     "sockets only, so it cannot stand on a hostnossl line");
	if (r->method == AUTH_CERT)
		r->clientcert = HBA_CERT_FULL;
	return 0;
}

/* --- options ------------------------------------------------------------------------ */

static int option_map(struct parser *p, const char *value)
{
	struct hba_rule *r = p->rule;

	if (r->method != AUTH_PEER && r->method != AUTH_CERT)
		return err_set(p->e, "map= is for the methods peer and cert only");
	free(r->map);
	r->map = *value ? strdup(value) : NULL;
	return *value && !r->map ? err_set(p->e, "out of memory") : 0;
}

static int option_clientcert(struct parser *p, const char *value)
{
	struct hba_rule *r = p->rule;

	if (r->conn != HBA_HOSTSSL)
		return err_set(p->e, "clientcert= is for hostssl lines only");
	if (strcmp(value, "verify-full") == 0)
		r->clientcert = HBA_CERT_FULL;
	else if (strcmp(value, "verify-ca") != 0)
		return err_set(p->e, "clientcert=%.80s is unknown; allowed: verify-ca, verify-full",
			       value);
	else if (r->method == AUTH_CERT)
		return err_set(p->e, "clientcert=verify-ca is less than the method cert demands; "
				     "leave it out");
	else
		r->clientcert = HBA_CERT_CA;
	return 0;
}

static int option_clientname(struct parser *p, const char *value)
{
	struct hba_rule *r = p->rule;

	if (r->conn != HBA_HOSTSSL)
		return err_set(p->e, "clientname= is for hostssl lines only");
	if (strcmp(value, "CN") == 0)
		r->clientname = HBA_NAME_CN;
	else if (strcmp(value, "DN") == 0)
		r->clientname = HBA_NAME_DN;
	else
		return err_set(p->e, "clientname=%.80s is unknown; allowed: CN, DN", value);
	return 0;
}

static int take_option(struct parser *p, const struct rule_word *w)
{
	static const struct {
		const char *name;
		int (*take)(struct parser *p, const char *value);
	} options[] = {
		{"map=", option_map},
		{"clientcert=", option_clientcert},
		{"clientname=", option_clientname},
	};
	size_t i, n;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		n = strlen(options[i].name);
		if (strncmp(w->text, options[i].name, n) == 0)
			return options[i].take(p, w->text + n);
	}
	/* Not its value: options of other methods hold passwords. */
	return err_set(p->e, "\"%.*s\" is no option; allowed: map=NAME, clientcert=verify-ca, "
			     "clientcert=verify-full, clientname=CN, clientname=DN",
		       (int)strcspn(w->text, "=") > 80 ? 80 : (int)strcspn(w->text, "="), w->text);
}

static int take_options(struct parser *p)
{
	size_t i;

	for (; p->next < p->l->n; p->next++)
		for (i = 0; i < p->l->columns[p->next].n; i++)
			if (take_option(p, &p->l->columns[p->next].words[i]) < 0)
				return -1;
	return 0;
}

/* --- the whole ------------------------------------------------------------------------ */

static int take_rule(struct parser *p)
{
	if (take_conn(p) < 0 || take_names(p, &p->rule->dbs, true) < 0 ||
	    take_names(p, &p->rule->users, false) < 0)
		return -1;
	if (p->rule->conn != HBA_LOCAL && take_address(p) < 0)
		return -1;
	return take_method(p) < 0 ? -1 : take_options(p);
}

static int rules_of(struct hba *h, struct rulefile *f, const char *path, struct err *e)
{
	struct err why = {.text = ""};
	size_t i;

	for (i = 0; i < f->lines.n; i++) {
		struct parser p = {.l = &f->lines.at[i], .e = &why};

		if (add_rule(h, p.l) < 0)
			return err_set(e, "out of memory");
		p.rule = &h->rules[h->n - 1];
		if (take_rule(&p) < 0)
			return err_set(e, "%s:%d: %s", p.l->file, p.l->line, why.text);
	}
	h->files = rulefile_take_files(f, &h->file_n);
	if (h->n == 0)
		return err_set(e, "%s: there is no rule in it, so nobody could log in", path);
	return 0;
}

static bool asks_for_own(const struct hba *h)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		if (h->rules[i].conn != HBA_LOCAL && (h->rules[i].address == HBA_SAMEHOST ||
						      h->rules[i].address == HBA_SAMENET))
			return true;
	return false;
}

/* Takes the file down in any case. */
static int finish(struct rulefile *f, const char *path, struct hba **out, struct err *e)
{
	struct hba *h = calloc(1, sizeof(*h));
	int ret = h ? rules_of(h, f, path, e) : err_set(e, "out of memory");

	rulefile_free(f);
	if (ret < 0)
		hba_free(h);
	else
		*out = h;
	return ret;
}

int hba_read(const char *path, struct hba **out, struct err *e)
{
	struct rulefile f;
	struct err why;

	*out = NULL;
	if (rulefile_read(path, &f, e) < 0 || finish(&f, path, out, e) < 0)
		return -1;
	if (!asks_for_own(*out) || nets_own(&(*out)->own, &(*out)->own_n, &why) == 0)
		return 0;
	hba_free(*out);
	*out = NULL;
	return err_set(e, "%s: %s", path, why.text);
}

int hba_read_mem(const char *name, const char *text, size_t len, const struct net *own,
		 size_t own_n, struct hba **out, struct err *e)
{
	struct rulefile f;

	*out = NULL;
	if (rulefile_read_mem(name, text, len, &f, e) < 0 || finish(&f, name, out, e) < 0)
		return -1;
	(*out)->own = calloc(own_n + 1, sizeof(*own));
	if (!(*out)->own) {
		hba_free(*out);
		*out = NULL;
		return err_set(e, "out of memory");
	}
	if (own_n > 0)
		memcpy((*out)->own, own, own_n * sizeof(*own));
	(*out)->own_n = own_n;
	return 0;
}
