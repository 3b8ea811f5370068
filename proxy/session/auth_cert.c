/* proxy/session/auth_cert.c - see auth_cert.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/auth_cert.h"

#include <openssl/x509.h>

#include "wire/certname.h"

struct candidate {
	const char *user;
	const struct auth_cert *k;
};

static bool may_be(void *arg, const char *name)
{
	const struct candidate *x = arg;

	return ident_allows(x->k->ident, x->k->map, name, x->user);
}

/* Does the certificate name the user? Its common name, or its other names where it has
 * none; the whole subject where the rule asks for that. One whose common name is damaged is
 * good for nothing. */
static bool fits(const struct client *c, X509 *cert, const struct auth_cert *k)
{
	struct candidate x = { c->user, k };
	char name[CERTNAME_MAX];
	enum certname cn = certname_cn(cert, name, sizeof(name));

	if (cn == CERTNAME_BAD || k->want == HBA_CERT_CA)
		return cn != CERTNAME_BAD;
	if (k->name == HBA_NAME_DN)
		return !certname_dn(cert, name, sizeof(name)) && may_be(&x, name);
	return cn == CERTNAME_OK ? may_be(&x, name) : certname_each_alt(cert, may_be, &x);
}

enum startup auth_cert(struct client *c, const struct auth_cert *k, struct startup_no *no)
{
	X509 *cert;
	bool yes;

	if (k->want == HBA_CERT_NO)
		return STARTUP_MORE;
	cert = c->s.tls ? tls_peer_cert(c->s.tls) : NULL;
	if (!cert)
		return refusal(no, "28000", "no client certificate",
			       "It must be signed by an authority in client_tls_ca_file.",
			       "connection requires a valid client certificate");
	yes = fits(c, cert, k);
	X509_free(cert);
	if (yes)
		return STARTUP_MORE;
	return refusal(no, "28000", "certificate of another user", NULL,
		       "certificate authentication failed for user \"%.60s\"", c->user);
}
