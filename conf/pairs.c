/* conf/pairs.c - see pairs.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/pairs.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "conf/text.h"

struct pair {
	struct text_buf key;
	struct text_buf value;
};

static const char *skip_blanks(const char *p)
{
	while (isblank((unsigned char)*p))
		p++;
	return p;
}

/* Takes the key and its = off. The key of the pair before is still in p, to
 * name the place without showing what may be half a password. */
static int take_key(const char **text, struct pair *p, struct err *e)
{
	const char *s = *text, *start = s;

	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	if (s == start || *skip_blanks(s) != '=') {
		if (p->key.len == 0)
			return err_set(e, "expected key=value pairs separated by blanks");
		return err_set(e, "what follows the value of %s= is not key=value (a value with "
			       "blanks stands in '...', a quote inside is '')", p->key.data);
	}
	text_clear(&p->key);
	if (text_add(&p->key, start, (size_t)(s - start)) < 0)
		return err_set(e, "out of memory");
	*text = skip_blanks(s) + 1;
	return 0;
}

static int take_quoted(const char **text, struct pair *p, struct err *e)
{
	const char *s = *text + 1;

	for (;; s++) {
		if (!*s)
			return err_set(e, "the quote after %s= is not closed", p->key.data);
		if (*s == '\'' && *++s != '\'')
			break;
		if (text_add(&p->value, s, 1) < 0)
			return err_set(e, "out of memory");
	}
	if (*s && !isblank((unsigned char)*s))
		return err_set(e, "no blank after the quoted value of %s=", p->key.data);
	*text = s;
	return 0;
}

static int take_word(const char **text, struct pair *p, bool is_apart, struct err *e)
{
	const char *s = *text, *eq = NULL;

	for (; *s && !isblank((unsigned char)*s); s++)
		if (*s == '=' && !eq)
			eq = s;
	/* "host= port=5432" would make a host of "port=5432". */
	if (is_apart && eq)
		return err_set(e, "%s= has no value, or one that contains = and must stand in "
			       "'...'", p->key.data);
	if (text_add(&p->value, *text, (size_t)(s - *text)) < 0)
		return err_set(e, "out of memory");
	*text = s;
	return 0;
}

static int take_value(const char **text, struct pair *p, struct err *e)
{
	const char *start = *text;
	int ret;

	text_clear(&p->value);
	*text = skip_blanks(start);
	if (**text == '\'')
		ret = take_quoted(text, p, e);
	else
		ret = take_word(text, p, *text != start, e);
	if (ret < 0)
		return -1;
	if (p->value.len == 0)
		return err_set(e, "%s= has no value; leave it out to keep the default",
			       p->key.data);
	return 0;
}

int pairs_each(const char *text, pairs_fn *fn, void *arg, struct err *e)
{
	struct pair p = {0};
	int ret = 0;

	for (text = skip_blanks(text); ret == 0 && *text; text = skip_blanks(text)) {
		ret = take_key(&text, &p, e);
		if (ret == 0)
			ret = take_value(&text, &p, e);
		if (ret == 0)
			ret = fn(arg, p.key.data, p.value.data, e);
	}
	text_free(&p.key);
	text_free(&p.value);
	return ret;
}
