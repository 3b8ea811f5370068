/* proxy/http/page.c - see page.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/page.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The assembler reads the file (the Makefile knows that this one needs it). */
__asm__(".pushsection .rodata\n"
	"page_begin:\n"
	".incbin \"proxy/http/page.html\"\n"
	"page_end:\n"
	".byte 0\n"
	".balign 8\n"
	"page_len:\n"
	".quad page_end - page_begin\n"
	".popsection\n");
extern const char page_begin[] __attribute__((visibility("hidden")));
extern const uint64_t page_len __attribute__((visibility("hidden")));

const char *page_html(size_t *len)
{
	*len = (size_t)page_len;
	return page_begin;
}

/* 'sha256-...' of what stands between the tags of this name. */
static int hash_of(const char *open, const char *close, char *out, size_t cap)
{
	const char *from = strstr(page_begin, open), *to = from ? strstr(from, close) : NULL;
	unsigned char sum[EVP_MAX_MD_SIZE], text[2 * EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (!to)
		return -1;
	from += strlen(open);
	if (!EVP_Digest(from, (size_t)(to - from), sum, &n, EVP_sha256(), NULL))
		return -1;
	EVP_EncodeBlock(text, sum, (int)n);
	(void)snprintf(out, cap, "'sha256-%.60s'", (const char *)text);
	return 0;
}

int page_policy(char out[PAGE_POLICY_MAX])
{
	char script[80], style[80];

	if (hash_of("<script>", "</script>", script, sizeof(script)) ||
	    hash_of("<style>", "</style>", style, sizeof(style)))
		return -1;
	(void)snprintf(out, PAGE_POLICY_MAX,
		       "default-src 'none'; script-src %s; style-src %s; connect-src 'self'; "
		       "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		       script, style);
	return 0;
}
