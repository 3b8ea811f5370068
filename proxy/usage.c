/* proxy/usage.c - see usage.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "usage.h"

#include <stdbool.h>
#include <string.h>

#include "conf/version.h"

enum takes { TAKES_NOTHING = 0, TAKES_TEXT, TAKES_USER, TAKES_SHELL, TAKES_PAGE };

struct row {
	int code;                      /* a letter, or one of OPT_* */
	const char *name, *arg;
	enum takes takes;
	const char *help;
};

static const struct row rows[] = {
	{ 'p', "port", "PORT", TAKES_TEXT, "TCP port to listen on (0: a free one)" },
	{ 'l', "listen", "ADDRS", TAKES_TEXT, "addresses to listen on, comma separated" },
	{ 'd', "daemon", NULL, TAKES_NOTHING,
	  "go into the background (needs pidfile and logfile)" },
	{ 'q', "quiet", NULL, TAKES_NOTHING,
	  "no line on standard output, warnings only in the log" },
	{ 'v', "verbose", NULL, TAKES_NOTHING, "say more; may be repeated" },
	{ 'R', "reboot", NULL, TAKES_NOTHING,
	  "take over from the pgweir that runs (needs takeover_dir)" },
	{ OPT_UPGRADE, "upgrade", NULL, TAKES_NOTHING,
	  "have the pgweir that runs start its successor, and wait for it" },
	{ 'u', "user", "USER", TAKES_USER, "become this user after start" },
	{ OPT_CHECK, "check", NULL, TAKES_NOTHING, "check the configuration and exit" },
	{ OPT_MANUAL, "manual", "PAGE", TAKES_PAGE,
	  "write a manual page and exit: 5, pgweir.ini(5), or 1, pgweir(1)" },
	{ OPT_COMPLETION, "completion", "SHELL", TAKES_SHELL,
	  "write the completion for bash, zsh or fish and exit" },
	{ 'V', "version", NULL, TAKES_NOTHING, "show the version" },
	{ 'h', "help", NULL, TAKES_NOTHING, "show this" },
};

#define ROW_N (sizeof(rows) / sizeof(rows[0]))
_Static_assert(ROW_N <= USAGE_OPTIONS_MAX, "room for all");

void usage_getopt(struct usage_getopt *g)
{
	size_t i, n = 0;

	memset(g, 0, sizeof(*g));
	for (i = 0; i < ROW_N; i++) {
		const struct row *r = &rows[i];

		g->longs[i] = (struct option){ .name = r->name, .val = r->code,
			.has_arg = r->takes == TAKES_PAGE ? optional_argument :
				   r->takes		  ? required_argument :
							    no_argument };
		if (r->code >= OPT_CHECK)
			continue;
		g->shorts[n++] = (char)r->code;
		if (r->takes)
			g->shorts[n++] = ':';
	}
}

void usage_help(FILE *out)
{
	size_t i;
	int n;

	fputs("pgweir: a pooling, failing-over, retrying PostgreSQL endpoint\n"
	      "\n"
	      "Usage: pgweir [OPTION]... FILE.ini\n"
	      "       pgweir [OPTION]... 'postgresql://USER@HOST1:PORT,HOST2:PORT/DB'\n"
	      "       pgweir top [OPTION]...      a live view of a running one: pgweir top --help\n"
	      "\n", out);
	for (i = 0; i < ROW_N; i++) {
		const struct row *r = &rows[i];

		if (r->code < OPT_CHECK)
			n = fprintf(out, "  -%c, --%s", r->code, r->name);
		else
			n = fprintf(out, "      --%s", r->name);
		if (r->takes == TAKES_PAGE)
			n += fprintf(out, "[=%s]", r->arg);
		else if (r->takes)
			n += fprintf(out, "=%s", r->arg);
		fprintf(out, "%*s%s\n", n < 24 ? 24 - n : 1, "", r->help);
	}
}

/* ---- pgweir(1) ---- */

static const char page_head[] =
	".TH PGWEIR 1 " PGWEIR_DATE " \"pgweir " PGWEIR_VERSION "\" \"pgweir manual\"\n"
	".SH NAME\n"
	"pgweir \\- connection pooler for CockroachDB and PostgreSQL clusters\n"
	".SH SYNOPSIS\n"
	".B pgweir\n"
	".RI [ OPTION ]...\n"
	".I FILE.ini\n"
	".br\n"
	".B pgweir\n"
	".RI [ OPTION ]...\n"
	".I URI\n"
	".br\n"
	".B pgweir top\n"
	".RI [ OPTION ]...\n"
	".SH DESCRIPTION\n"
	"pgweir stands between PostgreSQL clients and a cluster: a CockroachDB cluster, or a\n"
	"PostgreSQL primary with its standbys. Clients connect to one address. pgweir shares a\n"
	"bounded number of server connections among them, spreads these over the nodes, notices\n"
	"when a node goes, and runs again what failed with a serialization failure where that\n"
	"cannot be seen.\n"
	".PP\n"
	"It is configured by a file in PgBouncer\\(aqs dialect,\n"
	".BR pgweir.ini (5),\n"
	"or by a connection string of libpq\\(aqs, a URI with several hosts for example, which is a\n"
	"whole configuration: clients of this machine need no password then.\n"
	".PP\n"
	".B pgweir top\n"
	"is a live view of one that runs;\n"
	".B pgweir top \\-\\-help\n"
	"lists its options.\n"
	".SH OPTIONS\n";

static const char page_tail[] =
	".SH SIGNALS\n"
	".TP\n"
	".B SIGHUP\n"
	"The configuration is read again, as a whole or not at all.\n"
	".TP\n"
	".B SIGTERM\n"
	"Nobody new is let in, and all that are there are served as before; it ends when the last\n"
	"client has left, and after\n"
	".B shutdown_timeout\n"
	"in any case. A second one ends it at once.\n"
	".TP\n"
	".B SIGINT\n"
	"Transactions end, who needs a server is told 57P01; it ends when no server is in use. A\n"
	"second one ends it at once.\n"
	".TP\n"
	".B SIGQUIT\n"
	"It ends at once.\n"
	".TP\n"
	".BR SIGUSR1 \", \" SIGUSR2\n"
	"PAUSE and RESUME of the console.\n"
	".SH EXIT STATUS\n"
	"0 after an orderly end, and when\n"
	".B \\-\\-check\n"
	"finds nothing wrong (warnings are no error). Anything else: it could not start, and says\n"
	"why on standard error.\n"
	".SH CONSOLE\n"
	"The databases\n"
	".B pgweir\n"
	"and\n"
	".B pgbouncer\n"
	"are an administration console; SHOW HELP there lists the commands.\n"
	".SH EXAMPLES\n"
	".nf\n"
	"pgweir \\-\\-check /etc/pgweir/pgweir.ini\n"
	"pgweir \\(aqpostgresql://app@10.0.0.1,10.0.0.2/app?target_session_attrs=read\\-write\\(aq\n"
	"pgweir \\-\\-completion bash > /etc/bash_completion.d/pgweir\n"
	".fi\n"
	".SH SEE ALSO\n"
	".BR pgweir.ini (5),\n"
	".BR psql (1)\n";

static void put_roff(FILE *out, const char *s)
{
	for (; *s; s++)
		if (*s == '-')
			fputs("\\-", out);
		else
			fputc(*s, out);
}

void usage_manual(FILE *out)
{
	size_t i;

	fputs(page_head, out);
	for (i = 0; i < ROW_N; i++) {
		const struct row *r = &rows[i];

		fputs(".TP\n.B ", out);
		if (r->code < OPT_CHECK)
			fprintf(out, "\\-%c, ", r->code);
		fputs("\\-\\-", out);
		put_roff(out, r->name);
		if (r->takes)
			fprintf(out, r->takes == TAKES_PAGE ? "[=%s]" : "=%s", r->arg);
		fputc('\n', out);
		put_roff(out, r->help);
		fputs(".\n", out);
	}
	fputs(page_tail, out);
}

/* ---- completions ---- */

/* All options, by themselves or (arg) those that want a word behind them. */
static void put_options(FILE *out, const char *between, bool arg)
{
	const char *sep = "";
	size_t i;

	for (i = 0; i < ROW_N; i++) {
		const struct row *r = &rows[i];

		if (arg && r->takes != TAKES_TEXT)
			continue;
		if (r->code < OPT_CHECK)
			fprintf(out, "%s-%c", sep, r->code);
		else
			fputs(sep, out);
		fprintf(out, "%s--%s", r->code < OPT_CHECK ? between : "", r->name);
		sep = between;
	}
}

static void put_bash(FILE *out)
{
	fputs("# bash completion for pgweir\n"
	      "_pgweir()\n"
	      "{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	      "\tCOMPREPLY=()\n"
	      "\tcase $prev in\n"
	      "\t-u|--user)\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -u -- \"$cur\")\n"
	      "\t\treturn ;;\n"
	      "\t--completion)\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W 'bash zsh fish' -- \"$cur\")\n"
	      "\t\treturn ;;\n"
	      "\t", out);
	put_options(out, "|", true);
	fputs(")\n"
	      "\t\treturn ;;\n"
	      "\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W '", out);
	put_options(out, " ", false);
	fputs("' -- \"$cur\")\n"
	      "\telse\n"
	      "\t\tcompopt -o filenames 2>/dev/null\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -d -- \"$cur\"; compgen -f -X '!*.ini' -- \"$cur\")\n"
	      "\tfi\n"
	      "}\n"
	      "complete -F _pgweir pgweir\n", out);
}

/* Help in zsh's brackets, where : and ] mean something. */
static void put_zsh_help(FILE *out, const char *s)
{
	for (; *s; s++) {
		if (strchr(":[]", *s))
			fputc('\\', out);
		fputc(*s, out);
	}
}

static void put_zsh(FILE *out)
{
	static const char *const action[] = {
		[TAKES_NOTHING] = "", [TAKES_TEXT] = "", [TAKES_USER] = "_users",
		[TAKES_SHELL] = "(bash zsh fish)", [TAKES_PAGE] = "(1 5)",
	};
	size_t i;

	fputs("#compdef pgweir\n_arguments -s \\\n", out);
	for (i = 0; i < ROW_N; i++) {
		const struct row *r = &rows[i];

		if (r->code >= OPT_CHECK)
			fprintf(out, "\t'--%s%s[", r->name,
				r->takes == TAKES_PAGE ? "=-" : r->takes ? "=" : "");
		else
			fprintf(out, "\t'%s'{-%c%s,--%s%s}'[", r->code == 'v' ? "*" : "", r->code,
				r->takes ? "+" : "", r->name, r->takes ? "=" : "");
		put_zsh_help(out, r->help);
		fputc(']', out);
		if (r->takes)
			fprintf(out, "%s%s:%s", r->takes == TAKES_PAGE ? "::" : ":", r->arg,
				action[r->takes]);
		fputs("' \\\n", out);
	}
	fputs("\t'*:configuration:_files -g \"*.ini\"'\n", out);
}

static void put_fish(FILE *out)
{
	size_t i;

	fputs("complete -c pgweir -f -k -a '(__fish_complete_suffix .ini)'\n", out);
	for (i = 0; i < ROW_N; i++) {
		const struct row *r = &rows[i];

		fputs("complete -c pgweir", out);
		if (r->code < OPT_CHECK)
			fprintf(out, " -s %c", r->code);
		fprintf(out, " -l %s", r->name);
		if (r->takes == TAKES_USER)
			fputs(" -x -a '(__fish_complete_users)'", out);
		else if (r->takes == TAKES_SHELL)
			fputs(" -x -a 'bash zsh fish'", out);
		else if (r->takes == TAKES_TEXT)
			fputs(" -x", out);
		fprintf(out, " -d '%s'\n", r->help);
	}
}

int usage_completion(FILE *out, const char *shell)
{
	static const struct { const char *shell; void (*put)(FILE *out); } shells[] = {
		{ "bash", put_bash }, { "zsh", put_zsh }, { "fish", put_fish },
	};
	size_t i;

	for (i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
		if (strcmp(shells[i].shell, shell) == 0) {
			shells[i].put(out);
			return 0;
		}
	return -1;
}
