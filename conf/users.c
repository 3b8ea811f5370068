/* conf/users.c - see users.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/users.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "conf/text.h"

#define SCRAM_PREFIX "SCRAM-SHA-256$"

/* As PostgreSQL decides it: lower case only. */
static bool is_md5(const char *s)
{
	return strlen(s) == 35 && strncmp(s, "md5", 3) == 0 &&
	       strspn(s + 3, "0123456789abcdef") == 32;
}

/* Base64 of some bytes up to the separator; moves behind it. want: length of
 * the text, 0 for any. */
static bool take_base64(const char **s, char separator, size_t want)
{
	const char *p = *s, *end = strchr(p, separator);
	size_t n, body = 0;

	if (!end)
		return false;
	n = (size_t)(end - p);
	while (body < n && (isalnum((unsigned char)p[body]) || p[body] == '+' || p[body] == '/'))
		body++;
	if (n == 0 || n % 4 != 0 || (want && n != want) || n - body > 2)
		return false;
	for (; body < n; body++)
		if (p[body] != '=')
			return false;
	*s = separator ? end + 1 : end;
	return true;
}

/* SCRAM-SHA-256$iterations:salt$stored:server, keys of 32 bytes. */
static bool is_scram(const char *s)
{
	size_t n;

	s += strlen(SCRAM_PREFIX);
	n = strspn(s, "0123456789");
	if (n < 1 || n > 9 || s[0] == '0' || s[n] != ':')
		return false;
	s += n + 1;
	return take_base64(&s, '$', 0) && take_base64(&s, ':', 44) && take_base64(&s, '\0', 44);
}

/* A text that begins like a SCRAM secret and is none would become a password
 * that nobody typed: better to say so. */
int users_kind(const char *secret, enum secret_kind *kind)
{
	if (!*secret)
		*kind = SECRET_NONE;
	else if (strncmp(secret, SCRAM_PREFIX, strlen(SCRAM_PREFIX)) == 0)
		*kind = SECRET_SCRAM;
	else
		*kind = is_md5(secret) ? SECRET_MD5 : SECRET_PLAIN;
	return *kind == SECRET_SCRAM && !is_scram(secret) ? -1 : 0;
}

/* Takes "..." off the line; NULL is success, else what is wrong. */
static const char *take_quoted(const char **at, const char *end, struct text_buf *out)
{
	const char *p = *at;

	text_clear(out);
	if (text_add(out, "", 0) < 0)
		return "out of memory";
	while (p < end && isblank((unsigned char)*p))
		p++;
	if (p == end || *p != '"')
		return "expected \"user\" \"secret\", both in double quotes";
	for (p++;; p++) {
		if (p == end)
			return "a double quote is not closed";
		if (*p == '"' && (++p == end || *p != '"'))
			break;
		if (!*p)
			return "a NUL byte is not allowed";
		if (text_add(out, p, 1) < 0)
			return "out of memory";
	}
	*at = p;
	return NULL;
}

/* One line without its end. NULL is success. is_user: there was one on it. */
static const char *take_line(const char *p, const char *end, struct text_buf *name,
			     struct text_buf *secret, enum secret_kind *kind, bool *is_user)
{
	const char *wrong;

	*is_user = false;
	while (p < end && isblank((unsigned char)*p))
		p++;
	while (end > p && (isblank((unsigned char)end[-1]) || end[-1] == '\r'))
		end--;
	if (p == end || *p == ';' || *p == '#')
		return NULL;
	wrong = take_quoted(&p, end, name);
	if (!wrong)
		wrong = take_quoted(&p, end, secret);
	if (wrong)
		return wrong;
	if (p < end)
		return "expected nothing behind \"user\" \"secret\"";
	if (name->len == 0)
		return "the user name is empty";
	if (users_kind(secret->data, kind) < 0)
		return "the secret begins with SCRAM-SHA-256$ but is not "
		       "SCRAM-SHA-256$iterations:salt$stored-key:server-key";
	*is_user = true;
	return NULL;
}

int users_read(const char *path, const char *text, size_t len, users_fn *fn, void *arg,
	       struct err *e)
{
	struct text_buf name = {0}, secret = {0};
	const char *at = text, *end = text + len, *eol, *wrong;
	enum secret_kind kind = SECRET_NONE;
	bool is_user;
	int line = 0, ret = 0;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		at += 3;
	while (ret == 0 && at < end) {
		line++;
		eol = memchr(at, '\n', (size_t)(end - at));
		if (!eol)
			eol = end;
		wrong = take_line(at, eol, &name, &secret, &kind, &is_user);
		if (wrong)
			ret = err_set(e, "%s:%d: %s", path, line, wrong);
		else if (is_user)
			ret = fn(arg, name.data, secret.data, kind, e);
		at = eol < end ? eol + 1 : end;
	}
	text_free(&name);
	text_free(&secret);
	return ret;
}
