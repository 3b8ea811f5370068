/* conf/secret.c - see secret.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/secret.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#include "conf/text.h"

#define CREDENTIAL "credential:"
#define CREDENTIALS_DIRECTORY "CREDENTIALS_DIRECTORY"
#define SOCKET_DIR "/var/run/postgresql" /* libpq's default, as Debian builds it */

static void line_clear(struct secret_line *l)
{
	if (l->text)
		explicit_bzero(l->text, 2 * (l->len + 1));
	free(l->text);
	l->text = NULL;
}

void secret_clear(struct secret *s)
{
	size_t i;

	text_wipe(&s->password);
	for (i = 0; i < s->line_n; i++)
		line_clear(&s->lines[i]);
	free(s->lines);
	*s = (struct secret){0};
}

/* --- a passfile ------------------------------------------------------------------ */

/* Writes the fields of the line into its second half. Returns how many there are; *most
 * is the length of the longest from the fifth on. */
static size_t split(struct secret_line *l, size_t *most)
{
	const char *p = l->text, *end = p + l->len;
	char *plain = l->text + l->len + 1, *o = plain, *start = plain;
	size_t n = 1;

	*most = 0;
	for (;; p++) {
		if (p == end || *p == ':') {
			*o = '\0';
			if (n >= 5 && (size_t)(o - start) > *most)
				*most = (size_t)(o - start);
			if (p == end)
				return n;
			n++;
			o = start = plain + (p - l->text) + 1;
			continue;
		}
		if (*p == '\\' && p + 1 < end)
			p++;
		*o++ = *p;
	}
}

/* Takes a line without its end; what fits nothing is left out. NULL is success. */
static const char *add_line(struct secret *out, size_t *cap, const char *at, size_t len)
{
	struct secret_line l = {.len = len}, *lines;
	const char *wrong = "out of memory";
	size_t most, n;

	if (len == 0 || *at == '#')
		return NULL;
	l.text = calloc(2, len + 1);
	if (!l.text)
		return wrong;
	memcpy(l.text, at, len);
	n = split(&l, &most);
	if (n < 5 || most > SECRET_MAX) {
		line_clear(&l);
		return n < 5 ? NULL : "the password is too long";
	}
	lines = text_grow(out->lines, cap, out->line_n, sizeof(*lines));
	if (!lines) {
		line_clear(&l);
		return wrong;
	}
	out->lines = lines;
	lines[out->line_n++] = l;
	return NULL;
}

int secret_parse(const char *path, const char *text, size_t len, struct secret *out, struct err *e)
{
	const char *at = text, *end = text + len, *eol, *cut, *wrong = NULL;
	size_t cap = 0, n = 0;

	*out = (struct secret){0};
	for (; at < end && !wrong; at = eol < end ? eol + 1 : end) {
		n++;
		eol = memchr(at, '\n', (size_t)(end - at));
		if (!eol)
			eol = end;
		for (cut = eol; cut > at && cut[-1] == '\r';)
			cut--;
		if (memchr(at, '\0', (size_t)(eol - at)))
			wrong = "a NUL byte is not allowed";
		else
			wrong = add_line(out, &cap, at, (size_t)(cut - at));
	}
	if (!wrong)
		return 0;
	secret_clear(out);
	return err_set(e, "\"%s\", line %zu: %s", path, n, wrong);
}

/* Takes a field off that fits: what follows it, or NULL. Sign by sign, as libpq has it:
 * a : ends the field only where the name ends too. */
static const char *fits(const char *p, const char *name)
{
	if (!p || (p[0] == '*' && p[1] == ':'))
		return p ? p + 2 : NULL;
	for (; *p; p++, name++) {
		if (*p == ':' && !*name)
			return p + 1;
		if (*p == '\\')
			p++;
		if (!*name || *p != *name)
			return NULL;
	}
	return NULL;
}

const char *secret_match(const struct secret *s, const char *host, int port, const char *dbname,
			 const char *user)
{
	const char *at, *password;
	char port_text[16];
	size_t i;

	if (!dbname || !*dbname || !user || !*user)
		return NULL;
	if (!host || !*host || strcmp(host, SOCKET_DIR) == 0)
		host = "localhost";
	(void)snprintf(port_text, sizeof(port_text), "%d", port);
	for (i = 0; i < s->line_n; i++) {
		at = fits(s->lines[i].text, host);
		at = fits(at, port_text);
		at = fits(at, dbname);
		at = fits(at, user);
		if (!at)
			continue;
		password = at + s->lines[i].len + 1;
		return *password ? password : NULL;
	}
	return NULL;
}

/* --- the sources ------------------------------------------------------------------ */

/* A name that is none may be the password itself, in the wrong setting: it is not
 * repeated then. */
static bool is_env_name(const char *s)
{
	size_t n = 0;

	while (isascii(s[n]) && (isalnum((unsigned char)s[n]) || s[n] == '_'))
		n++;
	return n > 0 && !s[n] && !isdigit((unsigned char)s[0]);
}

static int set_password(struct secret *out, const char *text, struct err *e)
{
	if (!*text)
		return err_set(e, "is empty");
	if (strlen(text) > SECRET_MAX)
		return err_set(e, "is longer than %u bytes", SECRET_MAX);
	out->password = strdup(text);
	return out->password ? 0 : err_set(e, "out of memory");
}

static int from_env(const struct secret_source *from, struct secret *out, struct err *e)
{
	const char *value;
	struct err why;

	if (!is_env_name(from->env))
		return err_set(e, "%spassword_env is not the name of an environment variable "
			       "(letters, digits and _)", from->prefix);
	value = getenv(from->env);
	if (!value)
		return err_set(e, "%spassword_env: the environment variable %.64s is not set",
			       from->prefix, from->env);
	if (set_password(out, value, &why) < 0)
		return err_set(e, "%spassword_env: the environment variable %.64s %s",
			       from->prefix, from->env, why.text);
	return 0;
}

/* *path is the file to read, to be freed: the one written, or that of a credential. */
static int resolve(const char *written, char **path, bool *is_credential, struct err *e)
{
	size_t n = strlen(CREDENTIAL);
	const char *dir, *name = written + n;

	*is_credential = strncmp(written, CREDENTIAL, n) == 0;
	if (!*is_credential) {
		*path = strdup(written);
		return *path ? 0 : err_set(e, "out of memory");
	}
	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, "\"%.64s\" is not credential:NAME, where NAME is what "
			       "LoadCredential= in the unit calls it", written);
	dir = getenv(CREDENTIALS_DIRECTORY);
	if (!dir || !*dir)
		return err_set(e, "credential:%.64s: %s is not set: the unit has no "
			       "LoadCredential=%.64s:PATH, or this is not run by systemd", name,
			       CREDENTIALS_DIRECTORY, name);
	if (asprintf(path, "%s/%s", dir, name) < 0)
		*path = NULL;
	return *path ? 0 : err_set(e, "out of memory");
}

/* Takes the newline at the end off. */
static int take_whole(const char *path, struct text_buf *text, struct secret *out, struct err *e)
{
	struct err why;

	if (text->len > 0 && text->data[text->len - 1] == '\n') {
		text->data[--text->len] = '\0';
		if (text->len > 0 && text->data[text->len - 1] == '\r')
			text->data[--text->len] = '\0';
	}
	if (text->len > 0 && memchr(text->data, '\0', text->len))
		return err_set(e, "\"%s\" holds a NUL byte", path);
	if (set_password(out, text->len > 0 ? text->data : "", &why) < 0)
		return err_set(e, "\"%s\" %s", path, why.text);
	return 0;
}

static int from_path(const struct secret_source *from, const char *written, struct secret *out,
		     struct err *e)
{
	bool is_passfile = written == from->passfile, is_credential;
	struct text_rule rule = {.max = is_passfile ? SECRET_PASSFILE_MAX : SECRET_MAX + 2};
	struct text_buf text = {0};
	char *path = NULL;
	int ret = resolve(written, &path, &is_credential, e);

	/* Who may read a credential is the manager's business: it shows there as an ACL,
	 * whose mask looks like rights of the group. */
	rule.is_private = is_passfile && !is_credential;
	rule.is_optional = is_passfile && from->is_implied;
	if (ret == 0)
		ret = text_slurp_as(path, &rule, &text, e);
	if (ret == 0 && is_passfile)
		ret = secret_parse(path, text.data ? text.data : "", text.len, out, e);
	else if (ret == 0)
		ret = take_whole(path, &text, out, e);
	text_free(&text);
	free(path);
	return ret;
}

/* The second that is given, NULL: there is one at most. */
static const char *one_too_many(const struct secret_source *from, const char **first)
{
	const char *const value[4] = {from->password, from->env, from->file, from->passfile};
	static const char *const name[4] = {"password", "password_env", "password_file",
					    "passfile"};
	int i;

	*first = NULL;
	for (i = 0; i < 4; i++) {
		if (!value[i])
			continue;
		if (*first)
			return name[i];
		*first = name[i];
	}
	return NULL;
}

int secret_load(const struct secret_source *from, struct secret *out, struct err *e)
{
	const char *first, *second = one_too_many(from, &first);
	struct err why;
	int ret = 0;

	*out = (struct secret){0};
	if (second)
		return err_set(e, "%s%s and %s%s are both given: a password comes from one place",
			       from->prefix, first, from->prefix, second);
	if (from->env)
		return from_env(from, out, e);
	if (from->password && set_password(out, from->password, &why) < 0)
		ret = err_set(e, "%spassword %s", from->prefix, why.text);
	else if (from->file && from_path(from, from->file, out, &why) < 0)
		ret = err_set(e, "%spassword_file: %s", from->prefix, why.text);
	else if (from->passfile && from_path(from, from->passfile, out, &why) < 0)
		ret = err_set(e, "%spassfile: %s", from->prefix, why.text);
	return ret;
}
