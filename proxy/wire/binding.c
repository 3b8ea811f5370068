/* proxy/wire/binding.c - tls-server-end-point.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/binding.h"
#include "proxy/wire/b64.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#define GS2_PLUS_LEN (sizeof(SCRAM_GS2_PLUS) - 1)

_Static_assert(SCRAM_BINDING_MAX >= EVP_MAX_MD_SIZE, "a hash fits");
_Static_assert(2 + B64_LEN(GS2_PLUS_LEN + SCRAM_BINDING_MAX) < SCRAM_C_MAX, "c= fits");

int scram_cert_hash(X509 *cert, struct scram_binding *out)
{
	const EVP_MD *md;
	unsigned len = 0;
	int nid = NID_undef;

	memset(out, 0, sizeof(*out));
	/* also for RSA-PSS, whose hash is in its parameters */
	if (X509_get_signature_info(cert, &nid, NULL, NULL, NULL) != 1)
		return -1;
	md = nid == NID_md5 || nid == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(nid);
	if (md == NULL || X509_digest(cert, md, out->hash, &len) != 1)
		return -1;
	out->len = len;
	return 0;
}

void scram_channel_offer(struct scram_channel *ch, const char *mech)
{
	if (strcmp(mech, SCRAM_MECH) == 0)
		ch->offered = true;
	else if (strcmp(mech, SCRAM_MECH_PLUS) == 0)
		ch->plus_offered = true;
}

/* NULL: go on. */
static const char *why_not(const struct scram_channel *ch)
{
	if (ch->plus_offered && !ch->tls)
		return "the server offers SCRAM-SHA-256-PLUS on a connection without TLS";
	if (ch->want == SCRAM_REQUIRE && !ch->tls)
		return "channel binding is required, and the connection has no TLS";
	if (ch->want == SCRAM_REQUIRE && !ch->plus_offered)
		return "channel binding is required, and the server does not offer it";
	if (ch->want != SCRAM_DISABLE && ch->plus_offered && ch->binding.len == 0)
		return "the signature of the server's certificate has no hash to bind to";
	if (!ch->offered && (!ch->plus_offered || ch->want == SCRAM_DISABLE))
		return "the server offers no SASL mechanism that is known here";
	return NULL;
}

int scram_choose(const struct scram_channel *ch, struct scram_choice *out, const char **why)
{
	const char *no = why_not(ch);

	if (no != NULL) {
		*why = no;
		return -1;
	}
	if (ch->want == SCRAM_DISABLE || !ch->tls)
		*out = (struct scram_choice){SCRAM_MECH, 'n'};
	else if (ch->plus_offered)
		*out = (struct scram_choice){SCRAM_MECH_PLUS, 'p'};
	else
		*out = (struct scram_choice){SCRAM_MECH, 'y'};
	return 0;
}

int scram_print_c(char flag, const struct scram_binding *binding, char out[SCRAM_C_MAX])
{
	uint8_t raw[GS2_PLUS_LEN + SCRAM_BINDING_MAX];
	size_t len;
	int n;

	if (flag == 'p') {
		if (binding->len == 0 || binding->len > SCRAM_BINDING_MAX)
			return -1;
		memcpy(raw, SCRAM_GS2_PLUS, GS2_PLUS_LEN);
		memcpy(raw + GS2_PLUS_LEN, binding->hash, binding->len);
		len = GS2_PLUS_LEN + binding->len;
	} else {
		memcpy(raw, flag == 'y' ? "y,," : "n,,", 3);
		len = 3;
	}
	memcpy(out, "c=", 2);
	n = b64_encode(raw, len, out + 2, SCRAM_C_MAX - 2);
	return n < 0 ? -1 : n + 2;
}
