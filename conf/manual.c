/* conf/manual.c - conf_manual of conf.h: pgweir.ini(5), from the table.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/conf.h"

#include <string.h>

#include "conf/bouncer.h"
#include "conf/foreign.h"
#include "conf/key.h"
#include "conf/version.h"

static const char head[] =
	".TH PGWEIR.INI 5 " PGWEIR_DATE " \"pgweir " PGWEIR_VERSION "\" \"pgweir manual\"\n"
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
	"On SIGHUP, and by RELOAD on the console, the file is read again as a whole and takes effect as a whole; when it\n"
	"contains an error, the old configuration stays. Settings marked \\(lqrestart\\(rq below\n"
	"keep their value until the next start.\n";

static const char head_global[] =
	".SH SECTION [pgweir]\n"
	"May be named [pgbouncer] instead, but not both in one file; then the defaults of\n"
	"these settings are PgBouncer\\(aqs, and a database without\n"
	".B host\n"
	"is on the unix socket in\n"
	".BR unix_socket_dir .\n";

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

static const char head_peer[] =
	".SH SECTION [peers]\n"
	"One line per process that serves the same clients, by its\n"
	".BR peer_id ,\n"
	"1 to 16383: cancel requests that come to the wrong one are passed on.\n";

static const char head_foreign[] =
	".SH SETTINGS WITHOUT EFFECT\n"
	"PgBouncer has these. They are accepted, with one warning each.\n";

static const char tail[] =
	".SH AUTH FILE\n"
	"One user per line: \"name\" \"secret\", both in double quotes, where \"\" is one quote.\n"
	"The secret is a password, md5 and 32 hexadecimal digits, or a SCRAM\\-SHA\\-256 secret\n"
	"as PostgreSQL stores it. Empty lines and lines that begin with ; or # are skipped.\n"
	"A password serves for every method, an MD5 secret for md5 and plain, a SCRAM secret for\n"
	"scram\\-sha\\-256, md5 (which then asks by SCRAM) and plain.\n"
	".SH AUTH_QUERY\n"
	"A user who is not in\n"
	".B auth_file\n"
	"and is to show a password is asked for on a server: in\n"
	".B auth_dbname\n"
	"or the database that the client wants, as\n"
	".BR auth_user ,\n"
	"who must be in auth_file if servers ask it for a password. The name is bound as $1 of\n"
	"type text. The answer is at most one row of two columns of a text type, the same name\n"
	"and the secret, which is one of those of auth_file. No row, or a NULL in it, says that\n"
	"there is no such user; what begins with md5 or SCRAM\\-SHA\\-256$ and is no such secret\n"
	"is none. When the query fails, or gives anything else, nobody is let in by it, and the\n"
	"log says why: event=auth_query_failed.\n"
	".PP\n"
	"The default reads pg_authid, which is for superusers. Better is a function that only\n"
	"auth_user may call, and that checks rolvaliduntil as the default does:\n"
	".PP\n"
	".nf\n"
	".RS 4\n"
	"CREATE ROLE pgbouncer LOGIN PASSWORD \\(aqsecret\\(aq;\n"
	"CREATE SCHEMA pgbouncer;\n"
	"GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;\n"
	"CREATE FUNCTION pgbouncer.user_lookup(i_username text, OUT uname text, OUT phash text)\n"
	"RETURNS record AS $$ BEGIN\n"
	"  SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END\n"
	"  FROM pg_authid WHERE rolname = i_username AND rolcanlogin INTO uname, phash;\n"
	"  RETURN;\n"
	"END $$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp;\n"
	"REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM public;\n"
	"GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO pgbouncer;\n"
	".RE\n"
	".fi\n"
	".PP\n"
	"by a superuser in each database where it is asked, the line \"pgbouncer\" \"secret\" in\n"
	"auth_file (with which clients may log in as that user, too), and\n"
	".PP\n"
	".nf\n"
	".RS 4\n"
	"auth_user = pgbouncer\n"
	"auth_query = SELECT uname, phash FROM pgbouncer.user_lookup($1)\n"
	".RE\n"
	".fi\n"
	".PP\n"
	"The question goes over server connections of its own (a pool that SHOW POOLS calls by\n"
	"the name of auth_user and (auth_query)), within the limits of the database, and no\n"
	"setting of a client reaches them. Answers are kept for\n"
	".BR auth_query_cache_time ,\n"
	"in each worker, and forgotten on SIGHUP. Nobody is asked for auth_user itself, for users\n"
	"of the console, and for users of auth_file, even with an empty secret. A password or an\n"
	"MD5 secret that was found serves for the logins of its user to servers, too.\n"
	".SH HBA AND IDENT FILES\n"
	"As in PostgreSQL 16, include directives and @file lists too; the first line that\n"
	"matches decides, and none is a refusal. The methods are trust, reject,\n"
	"scram\\-sha\\-256, md5, password, cert, peer (also written ident, on local lines) and\n"
	"passthrough; the options map, clientcert and clientname. Refused are other methods,\n"
	"host names, and roles (+role, samerole, samegroup): in quotes these are names.\n"
	"samehost and samenet mean the addresses that this machine had at the last reload.\n"
	"Of PostgreSQL's regular expressions, those without (?, back references, lazy\n"
	"repetitions and escapes other than \\\\d, \\\\w, \\\\s, \\\\D, \\\\W, \\\\S are known.\n"
	"A file with an error is refused as a whole, and on reload the old one stays.\n"
	"Lines of each:\n"
	".PP\n"
	".nf\n"
	".RS 4\n"
	"local   all          all             peer map=people\n"
	"hostssl app,reports  /^app_          10.0.0.0/8  scram\\-sha\\-256\n"
	"hostssl all          all             10.1.0.0/16 cert map=people\n"
	"host    all          all             all         reject\n"
	"\n"
	"people  \"Bob Builder\"              bob\n"
	"people  /^(.*)@example\\e.com$         \\e1\n"
	".RE\n"
	".fi\n"
	".PP\n"
	"A certificate wants client_tls_sslmode, its files and client_tls_ca_file; peer wants\n"
	"unix_socket_dir.\n"
	".SH PASSTHROUGH\n"
	"With the method passthrough a client is asked for its password over TLS or a unix\n"
	"socket, and is who it says it is when a server of its database takes that password: no\n"
	"list of users is needed. A server that asks for none (trust in its pg_hba.conf, an\n"
	"insecure CockroachDB) proves nothing, and so nobody gets in. The login takes a place of\n"
	"the pool: when it is full an idle connection makes room, or the client waits its turn.\n"
	"It becomes a connection of the pool, which uses that password from then on; a client\n"
	"with the same password is let in without another login for\n"
	".BR passthrough_cache .\n"
	"When the password is changed on the server, the first client with the new one brings it\n"
	"along for all. The console, and databases with\n"
	".BR user ,\n"
	"are never open to it.\n"
	".SH PASSWORDS FOR SERVERS\n"
	"A server that asks for a password is given the first of these that there is: the\n"
	"password of the database\\(aqs entry, if the login is that of its\n"
	".BR user ;\n"
	"its passfile\\(aqs, of the first line that fits; the one that passthrough has proven;\n"
	"without\n"
	".BR user ,\n"
	"the secret that auth_file has for the client\\(aqs user. A SCRAM secret there is enough for a\n"
	"server that has the very same one, salt included, once a client of that user has logged\n"
	"in with SCRAM: its keys are kept with the pool. An entry has its password from one place:\n"
	".BR password ,\n"
	".BR password_env ,\n"
	".B password_file\n"
	"or\n"
	".BR passfile .\n"
	"A file with a new password is taken on SIGHUP, and must be readable for the user that\n"
	"the process has become; connections that are there stay. What cannot be read is an\n"
	"error, and then the configuration before it stays.\n"
	".PP\n"
	"A connection string without a password has that of PGPASSWORD, or of the passfile that\n"
	"it, PGPASSFILE or ~/.pgpass names, as in libpq; the last two may be missing. A passfile\n"
	"that others may read is refused, where libpq goes on without it.\n"
	".PP\n"
	"Everybody on the machine can read the arguments of a process, and the same user its\n"
	"environment; files and credentials are better places.\n"
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
	case KEY_MODE:
		fprintf(out, "; %04llo to %04llo", (unsigned long long)k->min,
			(unsigned long long)k->max);
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
	case KEY_SSLMODE:
	case KEY_SSLNEGOTIATION:
	case KEY_CHANNEL_BINDING:
	case KEY_CLEARTEXT:
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
	if (k->scope == KEY_GLOBAL && bouncer_default(k->name)) {
		fputs("In a section named [pgbouncer] the default is ", out);
		put_text(out, *bouncer_default(k->name) ? bouncer_default(k->name) : "empty");
		fputs(". ", out);
	}
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

static void put_foreign(FILE *out)
{
	const struct foreign *f;
	size_t i;

	fputs(head_foreign, out);
	for (i = 0; (f = foreign_row(i)); i++) {
		fputs(".TP\n.B ", out);
		put_text(out, f->name);
		fputc('\n', out);
		put_text(out, f->why);
		fputs(".\n", out);
	}
}

void conf_manual(FILE *out)
{
	fputs(head, out);
	put_scope(out, KEY_GLOBAL, head_global);
	put_scope(out, KEY_DB, head_db);
	put_scope(out, KEY_USER, head_user);
	put_scope(out, KEY_PEER, head_peer);
	put_foreign(out);
	fputs(tail, out);
}
