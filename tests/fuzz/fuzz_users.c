/* tests/fuzz/fuzz_users.c - auth_file.
 *
 * What was read, written out again in the format's plainest form, must be read as the
 * same. What was refused must say where, in words of ours alone: bytes of the file may
 * be a secret.
 *
 * SPDX-License-Identifier: ISC
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/text.h"
#include "conf/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLAIM(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "broken: %s\n", #what);                                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct seen {
	struct text_buf again;         /* all users, written out */
	size_t n;
};

static void put_quoted(struct text_buf *out, const char *s)
{
	CLAIM(text_add(out, "\"", 1) == 0);
	for (; *s; s++)
		CLAIM(text_add(out, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1) == 0);
	CLAIM(text_add(out, "\"", 1) == 0);
}

static int take(void *arg, const char *name, const char *secret, enum secret_kind kind,
		struct err *e)
{
	struct seen *seen = arg;

	(void)e;
	CLAIM(*name);
	CLAIM((kind == SECRET_NONE) == (*secret == '\0'));
	CLAIM((kind == SECRET_SCRAM) == (strncmp(secret, "SCRAM-SHA-256$", 14) == 0));
	CLAIM(kind != SECRET_MD5 || (strlen(secret) == 35 && strncmp(secret, "md5", 3) == 0));
	CLAIM(!strchr(name, '\n') && !strchr(secret, '\n'));
	put_quoted(&seen->again, name);
	CLAIM(text_add(&seen->again, " ", 1) == 0);
	put_quoted(&seen->again, secret);
	CLAIM(text_add(&seen->again, "\n", 1) == 0);
	seen->n++;
	return 0;
}

/* path:line: and then letters, blanks and the format's own marks. */
static void check_error(const struct err *e)
{
	const char *s = e->text;

	CLAIM(strncmp(s, "f:", 2) == 0 && isdigit((unsigned char)s[2]));
	CLAIM(strlen(s) < 160);
	for (; *s; s++)
		CLAIM(isalnum((unsigned char)*s) || strchr(" :,\"$-;", *s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen first = {.n = 0}, second = {.n = 0};
	struct err e = {.text = ""};

	if (users_read("f", (const char *)data, size, take, &first, &e) < 0) {
		check_error(&e);
	} else if (first.n > 0) {
		CLAIM(users_read("f", first.again.data, first.again.len, take, &second, &e) == 0);
		CLAIM(second.n == first.n && second.again.len == first.again.len);
		CLAIM(memcmp(second.again.data, first.again.data, first.again.len) == 0);
	}
	text_free(&first.again);
	text_free(&second.again);
	return 0;
}
