/* conf/ident.c - see ident.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/ident.h"

#include <stdlib.h>
#include <string.h>

#include "conf/rulefile.h"
#include "conf/text.h"

#define GROUP "\\1"

static void name_free(struct ident_name *n)
{
	free(n->text);
	regexp_free(n->re);
}

void ident_free(struct ident *m)
{
	size_t i;

	if (!m)
		return;
	for (i = 0; i < m->n; i++) {
		free(m->lines[i].map);
		name_free(&m->lines[i].system_user);
		name_free(&m->lines[i].db_user);
	}
	for (i = 0; i < m->file_n; i++)
		free(m->files[i]);
	free(m->files);
	free(m->lines);
	free(m);
}

/* --- reading ------------------------------------------------------------------ */

static int take_name(const struct rule_word *w, struct ident_name *out, struct err *e)
{
	out->text = strdup(w->text);
	if (!out->text)
		return err_set(e, "out of memory");
	return w->text[0] == '/' ? regexp_make(w->text + 1, &out->re, e) : 0;
}

static int take_line(const struct rule_line *l, struct ident_line *out, struct err *e)
{
	const struct rule_word *map = rule_single(l, 0, "the name of the map", e), *sys, *db;

	sys = map ? rule_single(l, 1, "the system user", e) : NULL;
	db = sys ? rule_single(l, 2, "the database user", e) : NULL;
	if (!db)
		return -1;
	if (l->n > 3)
		return err_set(e, "there is more behind the database user; one line maps to one "
				  "user, all, or a regular expression");
	if (!db->is_quoted && db->text[0] == '+')
		return err_set(e, "%.80s is not supported: who belongs to which role is known to the "
				  "servers only; list the users (in quotes it is a name)", db->text);
	out->map = strdup(map->text);
	if (!out->map)
		return err_set(e, "out of memory");
	if (take_name(sys, &out->system_user, e) < 0 || take_name(db, &out->db_user, e) < 0)
		return -1;
	out->db_user.is_all = !db->is_quoted && strcmp(db->text, "all") == 0;
	if (!out->system_user.re || out->db_user.re || !strstr(db->text, GROUP))
		return 0;
	switch (regexp_group(out->system_user.re)) {
	case REGEXP_NO_GROUP:
		return err_set(e, "\"%.80s\" asks for the first group of the regular expression "
				  "\"%.255s\", which has none", db->text, sys->text + 1);
	case REGEXP_GROUP_REPEATED:
		return err_set(e, "\"%.80s\" asks for the first group of the regular expression "
				  "\"%.255s\", which is repeated: put the repetition into the group",
			       db->text, sys->text + 1);
	case REGEXP_GROUP:
	default:
		return 0;
	}
}

static int lines_of(struct ident *m, struct rulefile *f, struct err *e)
{
	struct ident_line *lines;
	struct err why = {.text = ""};
	size_t i;

	for (i = 0; i < f->lines.n; i++) {
		const struct rule_line *l = &f->lines.at[i];

		lines = text_grow(m->lines, &m->cap, m->n, sizeof(*lines));
		if (!lines)
			return err_set(e, "out of memory");
		m->lines = lines;
		lines[m->n] = (struct ident_line){.file = l->file, .line = l->line};
		if (take_line(l, &lines[m->n++], &why) < 0)
			return err_set(e, "%s:%d: %s", l->file, l->line, why.text);
	}
	m->files = rulefile_take_files(f, &m->file_n);
	return 0;
}

/* Takes the file down in any case. */
static int finish(struct rulefile *f, struct ident **out, struct err *e)
{
	struct ident *m = calloc(1, sizeof(*m));
	int ret = m ? lines_of(m, f, e) : err_set(e, "out of memory");

	rulefile_free(f);
	if (ret < 0)
		ident_free(m);
	else
		*out = m;
	return ret;
}

int ident_read(const char *path, struct ident **out, struct err *e)
{
	struct rulefile f;

	*out = NULL;
	return rulefile_read(path, &f, e) < 0 ? -1 : finish(&f, out, e);
}

int ident_read_mem(const char *name, const char *text, size_t len, struct ident **out,
		   struct err *e)
{
	struct rulefile f;

	*out = NULL;
	return rulefile_read_mem(name, text, len, &f, e) < 0 ? -1 : finish(&f, out, e);
}

/* --- asking --------------------------------------------------------------------- */

/* Failed: no later line may say yes. */
enum match { NO_MATCH = 0, MATCH, FAILED };

static enum match match_if(bool yes)
{
	return yes ? MATCH : NO_MATCH;
}

/* Is db_user the text with the group in place of its first \1? at: where that is. */
static enum match match_group(const char *text, const char *at, const char *system_user,
			      const struct regexp_span *group, const char *db_user)
{
	size_t head = (size_t)(at - text), n;

	if (group->from < 0)
		return FAILED;
	n = (size_t)(group->to - group->from);
	if (strncmp(db_user, text, head) != 0 ||
	    strncmp(db_user + head, system_user + group->from, n) != 0)
		return NO_MATCH;
	return match_if(strcmp(db_user + head + n, at + strlen(GROUP)) == 0);
}

static enum match match_line(const struct ident_line *l, const char *system_user,
			     const char *db_user)
{
	const struct regexp *re = l->system_user.re;
	struct regexp_span group = {.from = -1, .to = -1};
	const char *at;

	if (re ? !regexp_try(re, system_user, &group) :
		 strcmp(l->system_user.text, system_user) != 0)
		return NO_MATCH;
	if (l->db_user.is_all)
		return MATCH;
	if (l->db_user.re)
		return match_if(regexp_try(l->db_user.re, db_user, NULL));
	at = re ? strstr(l->db_user.text, GROUP) : NULL;
	if (at)
		return match_group(l->db_user.text, at, system_user, &group, db_user);
	return match_if(strcmp(l->db_user.text, db_user) == 0);
}

bool ident_allows(const struct ident *m, const char *map_name, const char *system_user,
		  const char *db_user)
{
	enum match got = NO_MATCH;
	size_t i;

	if (!map_name || !*map_name)
		return strcmp(system_user, db_user) == 0;
	if (!m || strnlen(system_user, IDENT_NAME_MAX + 1) > IDENT_NAME_MAX ||
	    strnlen(db_user, IDENT_NAME_MAX + 1) > IDENT_NAME_MAX)
		return false;
	for (i = 0; i < m->n && got == NO_MATCH; i++)
		if (strcmp(m->lines[i].map, map_name) == 0)
			got = match_line(&m->lines[i], system_user, db_user);
	return got == MATCH;
}
