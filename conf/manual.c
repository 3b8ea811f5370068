/* conf/manual.c - conf_manual of conf.h: pgweir.ini(5), from the table.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/conf.h"

#include <string.h>

#include "conf/key.h"

static const char head[] =
	".TH PGWEIR.INI 5 \"\" pgweir \"pgweir manual\"\n"
	".SH NAME\n"
	"pgweir.ini \\- configuration of the connection pooler pgweir\n"
	".SH DESCRIPTION\n"
	"The file consists of sections and settings in the dialect of PgBouncer:\n"
	".PP\n"
	".nf\n"
	".RS 4\n"
	"[section]\n"
	"name = value\n"
	".RE\n"
	".fi\n"
	".IP \\(bu 2\n"
	"Sections may come in any order and more than once. A setting given twice has its\n"
	"last value.\n"
	".IP \\(bu 2\n"
	"Blanks at the beginning and the end of a line mean nothing; files may be indented.\n"
	".IP \\(bu 2\n"
	"A value is the rest of its line. There are no continuation lines, and a line may be\n"
	"of any length.\n"
	".IP \\(bu 2\n"
	"A line whose first character is ; or # is a comment. Inside a value both stand for\n"
	"themselves.\n"
	".IP \\(bu 2\n"
	"Names consist of letters, digits, and the characters _ . * and \\-; other names stand\n"
	"in single quotes, where \\(aq\\(aq is one quote.\n"
	".IP \\(bu 2\n"
	".B %include\n"
	".I FILE\n"
	"reads another file in place, relative to the working directory, at most ten deep.\n"
	".IP \\(bu 2\n"
	"Control characters are refused, and so are unknown sections and settings.\n"
	".SS Values\n"
	"Times are seconds, with decimals, or carry a unit: us, ms, s, min, h, d. 0 is off\n"
	"unless the setting says otherwise. Sizes are bytes or carry a unit: k, kB, M, MB, G,\n"
	"GB, of 1024 each. Switches are 0 or 1 (or off, on, no, yes, false, true).\n"
	".SS Reload\n"
	"On SIGHUP the file is read again as a whole and takes effect as a whole; when it\n"
	"contains an error, the old configuration stays. Settings marked \\(lqrestart\\(rq below\n"
	"keep their value until the next start.\n";

static const char head_global[] =
	".SH SECTION [pgweir]\n"
	"May be named [pgbouncer] instead; then the default of\n"
	".B pool_mode\n"
	"is session.\n";

static const char head_db[] =
	".SH SECTION [databases]\n"
	"One line per database: the name clients ask for, and where it is, as pairs of\n"
	"key=value separated by blanks. A value with blanks stands in single quotes, where\n"
	"\\(aq\\(aq is one quote. The name * stands for every database that has no line of its\n"
	"own; the names pgweir and pgbouncer are the admin console.\n"
	".B host\n"
	"is required.\n";

static const char head_user[] =
	".SH SECTION [users]\n"
	"One line per user, as pairs like those of a database. What is set for a user holds\n"
	"over what is set for the database, and that over the global setting.\n";

static const char tail[] =
	".SH AUTH FILE\n"
	"One user per line: \"name\" \"secret\", both in double quotes, where \"\" is one quote.\n"
	"The secret is a password, md5 and 32 hexadecimal digits, or a SCRAM\\-SHA\\-256 secret\n"
	"as PostgreSQL stores it. Empty lines and lines that begin with ; or # are skipped.\n"
	".SH EXAMPLE\n"
	".nf\n"
	".RS 4\n"
	"[pgweir]\n"
	"listen_addr = *\n"
	"listen_port = 6432\n"
	"auth_type = scram\\-sha\\-256\n"
	"auth_file = /etc/pgweir/users.txt\n"
	"admin_users = ops\n"
	"default_pool_size = 40\n"
	"\n"
	"[databases]\n"
	"app = host=10.0.0.1,10.0.0.2,10.0.0.3 port=26257\n"
	"reports = host=10.0.0.4 dbname=app pool_mode=session query_wait_timeout=5min\n"
	"* = host=/run/postgresql\n"
	"\n"
	"[users]\n"
	"batch = pool_size=5 retry=off\n"
	".RE\n"
	".fi\n"
	".SH SEE ALSO\n"
	".BR pgweir (1)\n";

/* roff reads a backslash anywhere, a dot or quote at the start of a line, and
 * makes a hyphen of a minus that people want to copy. */
static void put_text(FILE *out, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", out);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", out);
		else if (*s == '-')
			fputs("\\-", out);
		else
			fputc(*s, out);
	}
}

static const char *unit_of(const struct key *k)
{
	if (k->type == KEY_TIME)
		return " seconds";
	return k->type == KEY_SIZE ? " bytes" : "";
}

static void put_allowed(FILE *out, const struct key *k)
{
	char words[128];

	switch (k->type) {
	case KEY_STR:
		break;
	case KEY_BOOL:
		fputs("; 0 or 1", out);
		break;
	case KEY_WORKERS:
		fprintf(out, "; auto or %.15g to %.15g", k->min, k->max);
		break;
	case KEY_INT:
	case KEY_TIME:
	case KEY_SIZE:
		fprintf(out, "; %.15g to %.15g%s", k->min, k->max, unit_of(k));
		break;
	case KEY_POOL_MODE:
	case KEY_BALANCE:
	case KEY_SESSION_ATTRS:
	case KEY_AUTH_TYPE:
	case KEY_RETRY:
	case KEY_PIN:
	case KEY_RETRY_UNKNOWN:
	case KEY_ON_MARKED_DOWN:
		fputs("; one of: ", out);
		put_text(out, key_words(k->type, words, sizeof(words)));
		break;
	case KEY_TYPE_N:
		break;
	}
}

static void put_key(FILE *out, const struct key *k)
{
	fputs(".TP\n.B ", out);
	put_text(out, k->name);
	fputc('\n', out);
	put_text(out, k->help);
	fputs("\n.br\n", out);
	if (*k->def) {
		fputs("Default: ", out);
		put_text(out, k->def);
	} else {
		fputs("Default: not set", out);
	}
	put_allowed(out, k);
	fputs(k->is_reloadable ? ".\n" : "; restart.\n", out);
}

static void put_scope(FILE *out, enum key_scope scope, const char *intro)
{
	const struct key *k;
	size_t i;

	fputs(intro, out);
	for (i = 0; (k = key_row(i)); i++)
		if (k->scope == scope)
			put_key(out, k);
}

void conf_manual(FILE *out)
{
	fputs(head, out);
	put_scope(out, KEY_GLOBAL, head_global);
	put_scope(out, KEY_DB, head_db);
	put_scope(out, KEY_USER, head_user);
	fputs(tail, out);
}
