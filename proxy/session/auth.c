/* proxy/session/auth.c - see auth.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/auth.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/hba.h"
#include "conf/ident.h"
#include "session/admit.h"
#include "session/auth_cert.h"
#include "session/cancel.h"
#include "session/pass.h"
#include "session/raw.h"
#include "session/same.h"
#include "session/shard.h"
#include "session/slow.h"
#include "session/step.h"
#include "wire/wire.h"

/* Of a password in clear, with its header and its end. */
#define PASSWORD_MAX (SECRET_MAX + 16)

void auth_end(struct client *c)
{
	struct login *l = c->login;

	pass_end(c);
	if (!l)
		return;
	c->login = NULL;
	list_del(&l->wait.link);
	scram_server_wipe(&l->scram);
	if (l->found)
		explicit_bzero(l->found, strlen(l->found));
	free(l->found);
	snapshot_drop(l->snap);
	explicit_bzero(l, sizeof(*l));
	free(l);
}

/* It has shown who it is. What auth_query has found serves for servers, too. */
static enum startup let_in(struct client *c, struct startup_no *no)
{
	const struct login *l = c->login;
	struct scram_keys keys = { .secret = l->scram.secret };
	bool have = l->scram.have_client_key && l->kind == SECRET_SCRAM;
	enum startup r;

	if (l->tried)
		slow_ok(c, l->source);
	memcpy(keys.client_key, l->scram.client_key, sizeof(keys.client_key));
	r = admit(c, no);
	if (r == STARTUP_IN && c->shard && strcmp(c->shard->server_user, c->user) == 0) {
		if (l->found)
			shard_found(c->shard, l->kind, l->found);
		if (have)
			shard_keep_keys(c->shard, &keys);
	}
	auth_end(c);
	explicit_bzero(&keys, sizeof(keys));
	return r;
}

static enum startup wrong(struct client *c, struct startup_no *no, const char *why)
{
	if (c->login->tried && !c->login->told)
		slow_failed(c, c->login->source);
	c->login->tried = false;
	return refusal(no, "28P01", why, NULL, "password authentication failed for user \"%.60s\"",
		       c->user);
}

/* ---- the user at the other end of a unix socket ---- */

static enum startup not_peer(struct client *c, struct startup_no *no, const char *why)
{
	return refusal(no, "28000", why, NULL, "Peer authentication failed for user \"%.60s\"",
		       c->user);
}

static void on_uid(struct worker *w, struct letter *l)
{
	struct uid_letter *u = (struct uid_letter *)(void *)l;
	struct hall *h = hall_of(w);
	struct client *c = cancel_client(h, (uint32_t)(u->about >> 32), (uint32_t)u->about);
	struct startup_no no = { 0 };
	enum startup r;

	if (c && c->state == CL_AUTH && c->login) {
		const struct login *x = c->login;

		if (!u->known)
			r = not_peer(c, &no, u->error ? "the user's name cannot be looked up" :
							"the user has no name");
		else if (!ident_allows(x->snap->conf->ident, x->rule ? x->rule->map : NULL,
				       u->name, c->user))
			r = not_peer(c, &no, "another user of the machine");
		else
			r = let_in(c, &no);
		if (r == STARTUP_IN)
			stream_secret(&c->s, false);
		h->up->auth_done(c, r, &no);
	}
	free(u);
}

static struct uid_letter *uid_question(struct client *c)
{
	struct uid_letter *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->l.deliver = on_uid;
	u->to = &c->h->w;
	u->about = (uint64_t)c->key_pid << 32 | c->key_secret;
	u->uid = c->peer_uid;
	return u;
}

static enum startup ask_peer(struct client *c, struct startup_no *no)
{
	struct uid_letter *u;

	if (!c->local || c->peer_uid == KERNEL_NO_UID)
		return not_peer(c, no, "not on a unix socket");
	u = uid_question(c);
	if (u && c->h->sh->uid_name && c->h->sh->uid_name(c->h->sh, u)) {
		client_step(c, CE_LOOK);
		return STARTUP_MORE;
	}
	free(u);
	return refusal(no, "53200", "too many lookups of users", NULL,
		       "the user at the other end cannot be looked up now");
}

/* ---- what there is to compare with ---- */

/* One of the kinds that auth_query has found: the same one for the same name. */
static enum secret_kind mock_found(const struct client *c, struct scram_secret *out)
{
	struct shared *sh = c->h->sh;
	unsigned seen = atomic_load_explicit(&sh->asked_kinds, memory_order_relaxed);
	uint32_t iterations = atomic_load_explicit(&sh->asked_iterations, memory_order_relaxed);
	uint32_t usual = (uint32_t)c->h->snap->conf->g.scram_iterations;
	enum secret_kind kinds[3] = { SECRET_SCRAM };
	unsigned n = 0, pick;

	scram_secret_mock(c->user, sh->mock_key, iterations ? iterations : usual, out);
	memcpy(&pick, out->server_key, sizeof(pick));
	if (seen & 1u << SECRET_SCRAM)
		kinds[n++] = SECRET_SCRAM;
	if (seen & 1u << SECRET_MD5)
		kinds[n++] = SECRET_MD5;
	if (seen & 1u << SECRET_PLAIN)
		kinds[n++] = SECRET_PLAIN;
	if (n)
		kinds[0] = kinds[pick % n];
	if (kinds[0] == SECRET_PLAIN)
		out->iterations = usual;
	return kinds[0];
}

/* A user that is not there looks like one of those that are. */
static enum secret_kind mock(const struct client *c, struct scram_secret *out)
{
	if (c->login->asked)
		return mock_found(c, out);
	return snapshot_mock(c->login->snap, c->user, c->h->sh->mock_key, out);
}

static void take_secret(struct client *c, enum secret_kind kind, const char *secret)
{
	struct login *l = c->login;

	l->kind = kind;
	l->secret = secret;
	l->doomed = l->kind == SECRET_NONE || !secret;
	if (l->doomed)
		l->kind = mock(c, &l->scram.secret);
	/* MD5 cannot serve SCRAM */
	l->doomed |= l->method == AUTH_SCRAM && l->kind == SECRET_MD5;
}

/* Is a server to be asked? Not for who is in auth_file, if only to keep it out; not for who
 * asks, whose login would wait for itself; and not for the console, which is no server's. */
static bool is_asked(struct client *c)
{
	struct login *l = c->login;
	const struct conf_user *u = conf_find_user(l->snap->conf, c->user);

	return !(u && u->in_file) && !admit_is_console(c->db) &&
	       asker_how(l->snap, c->db, &l->how) && strcmp(l->how.user, c->user) != 0;
}

/* ... kept by the login, for as long as it takes. */
static void take_found(struct client *c, enum secret_kind kind, const char *secret)
{
	struct login *l = c->login;

	if (l->found)
		explicit_bzero(l->found, strlen(l->found));
	free(l->found);
	l->found = secret ? strdup(secret) : NULL;
	take_secret(c, l->found ? kind : SECRET_NONE, l->found);
}

static bool is_same(const struct login *l, enum secret_kind kind, const char *secret)
{
	if (!l->found || !secret)
		return !l->found && !secret;
	return l->kind == kind && strcmp(l->found, secret) == 0;
}

/* ---- what SCRAM is checked against ---- */

static void doom(struct client *c)
{
	c->login->doomed = true;
	(void)mock(c, &c->login->scram.secret);
}

static bool scram_of_file(struct client *c)
{
	struct login *l = c->login;
	const struct conf_user *u = conf_find_user(l->snap->conf, c->user);
	bool heavy = snapshot_secret_is_heavy(l->snap, u, c->user, l->kind);
	const struct scram_secret *k;

	if (heavy && !heavy_begin(&c->h->w))
		return false;
	k = snapshot_secret(l->snap, u, c->user, l->kind, c->h->sh->mock_key);
	if (heavy)
		heavy_end(&c->h->w);
	if (k)
		l->scram.secret = *k;
	else
		doom(c);
	return true;
}

/* Of a password, and for nobody as if of one; about a millisecond, kept with what it was
 * made of. */
static bool scram_of_password(struct client *c)
{
	struct login *l = c->login;
	struct known_user *k = asker_known(c->h, &l->how, c->user);
	struct scram_secret salt;
	int bad;

	if (k && !is_same(l, k->kind ? k->kind : l->kind, k->secret))
		k = NULL;
	if (k && k->have_scram) {
		l->scram.secret = k->scram;
		return true;
	}
	if (!heavy_begin(&c->h->w))
		return false;
	scram_secret_mock(c->user, c->h->sh->mock_key,
			  (uint32_t)c->h->snap->conf->g.scram_iterations, &salt);
	bad = scram_secret_make(l->doomed ? c->user : l->secret, salt.salt, salt.salt_len,
				salt.iterations, &l->scram.secret);
	heavy_end(&c->h->w);
	if (bad)
		doom(c);
	else if (k)
		k->scram = l->scram.secret;
	if (k)
		k->have_scram = !bad;
	return true;
}

static bool scram_of_found(struct client *c)
{
	struct login *l = c->login;

	if (l->kind == SECRET_PLAIN && !scram_of_password(c))
		return false;
	if (l->doomed || (l->kind == SECRET_SCRAM && scram_secret_parse(l->secret, &l->scram.secret)))
		doom(c);
	return true;
}

/* false: not in this turn, the work is heavy. Who is doomed has it like the others. */
static bool find_scram(struct client *c)
{
	return c->login->asked ? scram_of_found(c) : scram_of_file(c);
}

/* ---- questions ---- */

static void ask(struct client *c, uint32_t code, const void *p, size_t n)
{
	uint8_t b[SCRAM_MSG_MAX + 32];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_begin(&w, 'R');
	wire_put_u32(&w, code);
	wire_put_bytes(&w, p, n);
	wire_end(&w);
	if (!w.bad)
		say(c, b, w.len);
}

/* Is there TLS, and a certificate that SCRAM can be bound to? */
static bool can_bind(const struct client *c, struct scram_binding *out)
{
	X509 *cert = c->s.tls ? tls_own_cert(c->s.tls) : NULL;

	return cert && !scram_cert_hash(cert, out);
}

static void ask_scram(struct client *c)
{
	static const char both[] = SCRAM_MECH_PLUS "\0" SCRAM_MECH "\0";
	struct scram_binding binding;
	const char *list = can_bind(c, &binding) ? both : both + sizeof(SCRAM_MECH_PLUS);

	c->login->method = AUTH_SCRAM;
	ask(c, 10, list, (size_t)(both + sizeof(both) - list));
}

static enum startup ask_password(struct client *c, struct startup_no *no)
{
	struct login *l = c->login;

	l->questioned = true;
	client_step(c, CE_ASK);
	if (l->method == AUTH_SCRAM || (l->method == AUTH_MD5 && l->kind == SECRET_SCRAM)) {
		ask_scram(c);
	} else if (l->method == AUTH_PLAIN) {
		ask(c, 3, "", 0);
	} else {
		if (worker_secret(&c->h->w, l->salt, sizeof(l->salt)))
			return wrong(c, no, "the system has no randomness");
		ask(c, 5, l->salt, sizeof(l->salt));
	}
	return STARTUP_MORE;
}

/* ---- where the secret is ---- */

static enum startup cannot_ask(struct client *c, struct startup_no *no, const char *sqlstate)
{
	return refusal(no, sqlstate, "auth_query failed",
		       "The log of pgweir says why (auth_query_failed).",
		       "authentication of user \"%.60s\" is not possible now", c->user);
}

static void on_answer(struct ask_wait *w, const char *failed, enum secret_kind kind,
		      const char *secret)
{
	struct login *l = LIST_ITEM(w, struct login, wait);
	struct client *c = l->c;
	const struct server_up *up = c->h->up;
	struct startup_no no = { 0 };
	enum startup r;

	if (c->state != CL_AUTH)
		return; /* it has been told that this took too long */
	if (failed) {
		r = cannot_ask(c, &no, failed);
	} else if (!l->questioned) {
		take_found(c, kind, secret);
		r = ask_password(c, &no);
	} else if (l->tried && is_same(l, kind, secret)) {
		r = wrong(c, &no, "password mismatch");
	} else {
		take_found(c, kind, secret);
		client_step(c, CE_ASK);
		r = STARTUP_MORE; /* its password is there still, and is looked at again */
	}
	up->auth_done(c, r, &no);
}

/* anew: what was kept may be old. */
static enum startup ask_server(struct client *c, struct startup_no *no, bool anew)
{
	struct login *l = c->login;
	struct known_user *k = NULL;

	l->asked = true;
	l->kept = false;
	l->wait.answered = on_answer;
	switch (asker_ask(c->h, &l->how, c->user, anew, &l->wait, &k)) {
	case ASKED_KNOWN:
		l->kept = true;
		take_found(c, k->kind, k->secret);
		return ask_password(c, no);
	case ASKED_WAIT:
		client_step(c, CE_LOOK);
		return STARTUP_MORE;
	case ASKED_NOBODY:
		take_found(c, SECRET_NONE, NULL);
		return ask_password(c, no);
	case ASKED_NO:
	default:
		return cannot_ask(c, no, "57P03");
	}
}

static enum startup ask_secret(struct client *c, struct startup_no *no)
{
	const struct conf_user *u = conf_find_user(c->login->snap->conf, c->user);

	if (is_asked(c))
		return ask_server(c, no, false);
	take_secret(c, u ? u->secret_kind : SECRET_NONE, u ? u->secret : NULL);
	return ask_password(c, no);
}

/* What it was compared with may be old: then a server is asked once more, and the same
 * message is looked at again. A failure until then: there may be many guesses before the
 * answer comes; if it is none, the success forgives it. */
static enum startup mismatch(struct client *c, struct startup_no *no)
{
	if (!c->login->kept)
		return wrong(c, no, "password mismatch");
	slow_failed(c, c->login->source);
	c->login->told = true;
	return ask_server(c, no, true);
}

/* What is kept may be old, and a server is being asked already: the answer is waited for,
 * and nothing is compared before, so that a password that is new is nobody's failure. */
static bool is_behind(struct client *c)
{
	struct login *l = c->login;

	if (!l->kept || l->method == AUTH_SCRAM ||
	    !asker_join(c->h, &l->how, c->user, &l->wait))
		return false;
	l->kept = false;
	client_step(c, CE_LOOK);
	return true;
}

static enum startup ask_passthrough(struct client *c, struct startup_no *no)
{
	if (pass_may(c, no) == STARTUP_REFUSED)
		return STARTUP_REFUSED;
	client_step(c, CE_ASK);
	ask(c, 3, "", 0);
	return STARTUP_MORE;
}

/* ---- which ---- */

static enum startup no_rule(struct client *c, struct startup_no *no, bool rejected,
			    const struct sockaddr *sa)
{
	char host[INET6_ADDRSTRLEN] = "[local]";

	if (!c->local && sa->sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
				host, sizeof(host));
	else if (!c->local && sa->sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
				host, sizeof(host));
	return refusal(no, "28000", rejected ? "rejected by auth_hba_file" : "no rule in auth_hba_file",
		       NULL, "auth_hba_file %s host \"%s\", user \"%.40s\", database \"%.40s\", %s",
		       rejected ? "rejects" : "has no entry for", host, c->user, c->db,
		       c->s.tls ? "SSL encryption" : "no encryption");
}

/* The method, and the rule if there are rules. */
static enum startup choose(struct client *c, struct startup_no *no)
{
	struct login *l = c->login;
	char db[WIRE_NAME_MAX + 1];
	struct hba_who who = { &c->from.a.sa, c->local, c->s.tls != NULL,
			       c->replication == REPLICATION_PHYSICAL, c->db, c->user };

	l->method = (enum auth_type)l->snap->conf->g.auth_type;
	if (l->snap->conf->loopback_trust || admit_is_owner(c))
		l->method = AUTH_TRUST;
	c->auth_method = (uint8_t)(admit_is_owner(c) ? AUTH_PEER : l->method);
	if (l->method != AUTH_HBA)
		return STARTUP_MORE;
	/* a name that is not ours goes to servers, which look at so much of it */
	if (conf_find_db(l->snap->conf, c->db) == l->snap->conf->fallback) {
		(void)snprintf(db, sizeof(db), "%s", c->db);
		who.db = db;
	}
	l->rule = hba_find(l->snap->conf->hba, &who);
	if (!l->rule || l->rule->method == AUTH_REJECT)
		return no_rule(c, no, l->rule != NULL, who.addr);
	l->method = l->rule->method;
	c->auth_method = (uint8_t)l->method;
	return STARTUP_MORE;
}

/* The methods that ask for a secret. */
static bool asks(enum auth_type method)
{
	return method == AUTH_PLAIN || method == AUTH_MD5 || method == AUTH_SCRAM ||
	       method == AUTH_PASSTHROUGH;
}

/* false: *no says why not. */
static bool may_ask(struct client *c, struct startup_no *no)
{
	c->login->source = slow_source(c);
	return slow_look(c, c->login->source, false, no) == STARTUP_MORE;
}

static enum startup check_cert(struct client *c, struct startup_no *no)
{
	const struct login *l = c->login;
	const struct auth_cert want = {
		.want = l->rule ? l->rule->clientcert :
			l->method == AUTH_CERT ? HBA_CERT_FULL : HBA_CERT_NO,
		.name = l->rule ? l->rule->clientname : HBA_NAME_CN,
		.map = l->rule ? l->rule->map : NULL,
		.ident = l->snap->conf->ident,
	};

	return auth_cert(c, &want, no);
}

enum startup auth_begin(struct client *c, struct startup_no *no)
{
	struct login *l = calloc(1, sizeof(*l));

	if (!l)
		return refusal(no, "53200", "out of memory", NULL, "out of memory");
	c->login = l;
	l->c = c;
	list_init(&l->wait.link);
	l->snap = snapshot_hold(c->h->snap);
	if (choose(c, no) == STARTUP_REFUSED || check_cert(c, no) == STARTUP_REFUSED)
		return STARTUP_REFUSED;
	if (asks(l->method) && !may_ask(c, no))
		return STARTUP_REFUSED;
	switch (l->method) {
	case AUTH_TRUST:
	case AUTH_ANY:
	case AUTH_CERT:
		return let_in(c, no);
	case AUTH_PEER:
		return ask_peer(c, no);
	case AUTH_PLAIN:
	case AUTH_MD5:
	case AUTH_SCRAM:
		return ask_secret(c, no);
	case AUTH_PASSTHROUGH:
		return ask_passthrough(c, no);
	case AUTH_HBA:
	case AUTH_REJECT:
	default:
		return refusal(no, "28000", "no such method", NULL,
			       "the authentication method is not there");
	}
}

/* ---- answers ---- */

/* NULL: it is not a string and nothing else, or empty. */
static const char *take_password(struct wire_get g)
{
	size_t len = 0;
	const char *pw = wire_get_str(&g, &len);

	return g.bad || wire_left(&g) || !len || len > SECRET_MAX ? NULL : pw;
}

static bool password_fits(struct client *c, const char *pw)
{
	static const char nobody[] = "md5ffffffffffffffffffffffffffffffff";
	const struct login *l = c->login;
	struct scram_secret k;
	bool yes;

	switch (l->kind) {
	case SECRET_MD5:
		return same_by_md5(c->user, l->doomed ? nobody : l->secret, pw) && !l->doomed;
	case SECRET_SCRAM:
		if (l->doomed || scram_secret_parse(l->secret, &k))
			(void)mock(c, &k);
		yes = same_by_scram(pw, &k) && !l->doomed;
		scram_secret_wipe(&k);
		return yes;
	case SECRET_PLAIN:
		return same_plain(l->doomed ? nobody : l->secret, pw) && !l->doomed;
	case SECRET_NONE:
	default:
		return false;
	}
}

static enum startup check_plain(struct client *c, struct wire_get g, struct startup_no *no)
{
	bool heavy = c->login->kind == SECRET_SCRAM, fits;
	const char *pw = take_password(g);

	if (!pw)
		return wrong(c, no, "no password in the message");
	if (heavy && !heavy_begin(&c->h->w))
		return STARTUP_LATER;
	fits = password_fits(c, pw);
	if (heavy)
		heavy_end(&c->h->w);
	return fits ? let_in(c, no) : mismatch(c, no);
}

/* What a server has said of its password. */
static enum startup judged(struct client *c, enum startup r, struct startup_no *no)
{
	if (r == STARTUP_IN)
		return let_in(c, no);
	if (r == STARTUP_REFUSED && no->sqlstate && strcmp(no->sqlstate, "28P01") == 0)
		return wrong(c, no, no->why);
	return r;
}

static void passed(struct client *c, enum startup r, struct startup_no *no)
{
	c->h->up->auth_done(c, judged(c, r, no), no);
}

/* Its source may have failed since it was let through. */
static bool must_wait(struct client *c, struct startup_no *no)
{
	const struct login *l = c->login;

	return !l->only && slow_look(c, l->source, false, no) == STARTUP_REFUSED;
}

static const struct trial_calls trial_calls = { passed, must_wait };

static enum startup check_passthrough(struct client *c, struct wire_get g, struct startup_no *no)
{
	const char *pw = take_password(g);

	return pw ? judged(c, pass_try(c, pw, &trial_calls, no), no) :
		    wrong(c, no, "no password in the message");
}

static enum startup check_md5(struct client *c, struct wire_get g, struct startup_no *no)
{
	static const char nobody[] = "md5ffffffffffffffffffffffffffffffff";
	const struct login *l = c->login;
	const char *said = take_password(g);
	char want[36];
	bool no_md5;

	if (!said || strlen(said) != sizeof(want) - 1)
		return wrong(c, no, "no MD5 answer in the message");
	no_md5 = l->doomed || l->kind == SECRET_SCRAM; /* it may be so since the question */
	if (md5_response(c->user, no_md5 ? nobody : l->secret, l->salt, want))
		return wrong(c, no, "MD5 is not available on this machine");
	if (!same(said, want, sizeof(want) - 1) || no_md5)
		return mismatch(c, no);
	return let_in(c, no);
}

static enum startup scram_first(struct client *c, struct wire_get g, struct startup_no *no)
{
	struct login *l = c->login;
	const char *mech = wire_get_str(&g, NULL), *why = "malformed SCRAM message";
	uint32_t len = wire_get_u32(&g);
	char nonce[40], out[SCRAM_MSG_MAX];
	uint8_t raw[18];
	unsigned i;
	int n;

	if (g.bad || len != wire_left(&g) || worker_secret(&c->h->w, raw, sizeof(raw)))
		return wrong(c, no, "malformed SASLInitialResponse");
	if (!find_scram(c))
		return STARTUP_LATER;
	l->scram_begun = true;
	l->scram.doomed = l->doomed;
	l->scram.plus_offered = can_bind(c, &l->scram.binding);
	for (i = 0; i < sizeof(raw); i++)
		(void)snprintf(nonce + 2 * i, 3, "%02x", raw[i]);
	n = scram_server_first(&l->scram, mech, (const char *)g.p, len, nonce, out, sizeof(out),
			       &why);
	if (n < 0)
		return wrong(c, no, why);
	ask(c, 11, out, (size_t)n);
	return STARTUP_MORE;
}

static enum startup scram_final(struct client *c, struct wire_get g, struct startup_no *no)
{
	char out[SCRAM_MSG_MAX];
	const char *why = "password mismatch";
	int n = scram_server_final(&c->login->scram, (const char *)g.p, wire_left(&g), out,
				   sizeof(out), &why);

	/* The salt has been told, so this login cannot go by a newer secret. The next can. */
	if (n < 0 && c->login->kept)
		asker_forget(c->h, &c->login->how, c->user);
	if (n < 0)
		return wrong(c, no, c->login->doomed ? "no such user or no usable secret" : why);
	ask(c, 12, out, (size_t)n);
	return let_in(c, no);
}

static enum startup check(struct client *c, struct wire_get g, struct startup_no *no)
{
	switch (c->login->method) {
	case AUTH_PLAIN:
		return check_plain(c, g, no);
	case AUTH_PASSTHROUGH:
		return check_passthrough(c, g, no);
	case AUTH_MD5:
		return check_md5(c, g, no);
	case AUTH_SCRAM:
		return c->login->scram_begun ? scram_final(c, g, no) : scram_first(c, g, no);
	case AUTH_TRUST:
	case AUTH_ANY:
	case AUTH_CERT:
	case AUTH_PEER:
	case AUTH_HBA:
	case AUTH_REJECT:
	default:
		return wrong(c, no, "nothing was asked");
	}
}

/* Is the answer that has come one that will be compared with a secret? */
static bool compares(const struct login *l)
{
	return l->method != AUTH_SCRAM || l->scram_begun;
}

/* Each attempt to guess a secret begins here. */
static enum startup attempt(struct client *c, struct wire_get g, struct startup_no *no)
{
	struct login *l = c->login;

	if (compares(l) && !l->tried) {
		if (is_behind(c))
			return STARTUP_MORE;
		if (slow_look(c, l->source, true, no) == STARTUP_REFUSED)
			return STARTUP_REFUSED;
		l->tried = true;
		l->only = slow_waits(c, l->source);
	}
	return check(c, g, no);
}

enum startup auth_message(struct client *c, struct startup_no *no)
{
	uint8_t type = 0, *p = stream_data(&c->s);
	uint32_t len = 0, max = c->login->method == AUTH_SCRAM ? SCRAM_MSG_MAX + 64 : PASSWORD_MAX;
	enum startup r;

	switch (wire_header(p, stream_have(&c->s), &type, &len)) {
	case WIRE_MORE:
		return STARTUP_MORE;
	case WIRE_BAD:
		return refusal(no, "08P01", "malformed message", NULL, "invalid message length");
	case WIRE_OK:
	default:
		break;
	}
	if (type != 'p')
		return refusal(no, "08P01", "no password message", NULL,
			       "expected password response, got message type %d", type);
	if (len > max)
		return refusal(no, "08P01", "password message too long", NULL, "invalid message length");
	if (stream_have(&c->s) < len)
		return STARTUP_MORE;
	r = attempt(c, wire_body(p, len), no);
	if (r == STARTUP_LATER || (c->state == CL_AUTH && c->login->asked)) /* it is looked at again */
		return r;
	explicit_bzero(p + 5, len - 5);
	stream_consume(&c->s, len);
	return r;
}
