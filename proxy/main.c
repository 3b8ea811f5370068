/* proxy/main.c - options, configuration, daemon; nothing else.
 *
 * SPDX-License-Identifier: ISC
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "conf/conf.h"
#include "conf/version.h"
#include "daemon.h"
#include "hush.h"
#include "reload.h"
#include "top/top.h"
#include "upgrade.h"

static const char usage[] =
	"pgweir: a pooling, failing-over, retrying PostgreSQL endpoint\n"
	"\n"
	"Usage: pgweir [OPTION]... FILE.ini\n"
	"       pgweir [OPTION]... 'postgresql://USER@HOST1:PORT,HOST2:PORT/DB'\n"
	"       pgweir top [OPTION]...      a live view of a running one: pgweir top --help\n"
	"\n"
	"  -p, --port=PORT      TCP port to listen on (0: a free one)\n"
	"  -l, --listen=ADDRS   addresses to listen on, comma separated\n"
	"  -d, --daemon         go into the background (needs pidfile and logfile)\n"
	"  -q, --quiet          no line on standard output, warnings only in the log\n"
	"  -v, --verbose        say more; may be repeated\n"
	"  -R, --reboot         take over from the pgweir that runs (needs takeover_dir)\n"
	"      --upgrade        have the pgweir that runs start its successor, and wait for it\n"
	"  -u, --user=USER      become this user after start\n"
	"      --check          check the configuration and exit\n"
	"      --manual         write the manual page pgweir.ini(5) and exit\n"
	"  -V, --version        show the version\n"
	"  -h, --help           show this\n";

enum { OPT_CHECK = 256, OPT_UPGRADE, OPT_MANUAL };

static const struct option options[] = {
	{ "port", required_argument, NULL, 'p' },   { "listen", required_argument, NULL, 'l' },
	{ "daemon", no_argument, NULL, 'd' },	    { "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' },	    { "user", required_argument, NULL, 'u' },
	{ "check", no_argument, NULL, OPT_CHECK },  { "manual", no_argument, NULL, OPT_MANUAL },
	{ "upgrade", no_argument, NULL, OPT_UPGRADE },
	{ "reboot", no_argument, NULL, 'R' },
	{ "version", no_argument, NULL, 'V' },	    { "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "pgweir: %s%s%s\nTry 'pgweir --help'.\n", what, value ? ": " : "",
		value ? value : "");
	return 1;
}

static int take_port(const char *s, int *out)
{
	char *end;
	long v = strtol(s, &end, 10);

	if (!*s || *end || v < 0 || v > 65535)
		return bad("a port is a number from 0 to 65535, not", s);
	*out = (int)v;
	return 0;
}

struct choice {
	struct daemon_args args;
	char *shown;                   /* the source, where others see it */
	bool check, upgrade, done;
};

/* Exit status when there is nothing more to do (c->done), or 0. */
static int parse(int argc, char **argv, struct choice *c)
{
	int o;

	while ((o = getopt_long(argc, argv, "p:l:dqvu:RVh", options, NULL)) != -1) {
		switch (o) {
		case 'p':
			if (take_port(optarg, &c->args.over.listen_port))
				return 1;
			break;
		case 'l':
			c->args.over.listen_addr = optarg;
			break;
		case 'd':
			c->args.background = true;
			break;
		case 'q':
			c->args.quiet = true;
			break;
		case 'v':
			c->args.over.verbose++;
			break;
		case 'R':
			c->args.reboot = true;
			break;
		case 'u':
			c->args.over.user = optarg;
			break;
		case OPT_UPGRADE:
			c->upgrade = true;
			break;
		case OPT_CHECK:
			c->check = true;
			break;
		case OPT_MANUAL:
			conf_manual(stdout);
			c->done = true;
			return 0;
		case 'V':
			puts("pgweir " PGWEIR_VERSION);
			c->done = true;
			return 0;
		case 'h':
			fputs(usage, stdout);
			c->done = true;
			return 0;
		default:
			fputs("Try 'pgweir --help'.\n", stderr);
			return 1;
		}
	}
	if (optind != argc - 1)
		return bad(optind == argc ? "no configuration given: a file or a URI" :
					    "more than one configuration given",
			   NULL);
	c->shown = argv[optind];
	return 0;
}

/* The process that runs starts its successor. Exit status. */
static int upgrade(const struct conf *conf)
{
	struct err e = { "" };
	pid_t pid = 0;

	if (!conf->g.takeover_dir)
		return bad("--upgrade needs the setting takeover_dir, where it meets the pgweir that "
			   "runs", NULL);
	if (upgrade_ask(conf->g.takeover_dir, &pid, &e)) {
		fprintf(stderr, "pgweir: %s\n", e.text);
		return 1;
	}
	printf("pgweir: process %d has taken over\n", (int)pid);
	return 0;
}

/* sysexits.h; a service manager must not try again and again (RestartPreventExitStatus=). */
static int bad_configuration(const struct choice *c)
{
	return !c->check && !c->upgrade && getenv("NOTIFY_SOCKET") ? EX_CONFIG : 1;
}

/* Loads, and runs or only checks. */
static int run(struct choice *c)
{
	struct conf *conf = NULL;
	struct tls_set *tls = NULL;
	struct err e = { "" };
	size_t i;
	int rc;

	if (reload_load(&c->args, &conf, &tls, &e)) {
		fprintf(stderr, "pgweir: %s\n", e.text);
		return bad_configuration(c);
	}
	if (conf->from_uri && conf->dbs[0].secret.password)
		hush_argument(c->shown);
	if (c->check) {
		for (i = 0; i < conf->warning_n; i++)
			fprintf(stderr, "pgweir: warning: %s\n", conf->warnings[i]);
		tls_set_drop(tls);
		conf_drop(conf);
		puts("pgweir: the configuration is fine");
		return 0;
	}
	if (c->upgrade) {
		rc = upgrade(conf);
		tls_set_drop(tls);
		conf_drop(conf);
		return rc;
	}
	rc = daemon_run(&c->args, conf, tls, &e);
	if (rc)
		fprintf(stderr, "pgweir: %s\n", e.text);
	return rc;
}

int main(int argc, char **argv)
{
	struct choice c = { .args = { .over = { .listen_port = -1 } } };
	char *source;
	int rc;

	if (argc > 1 && strcmp(argv[1], "top") == 0)
		return top_main(argc - 1, argv + 1);
	rc = parse(argc, argv, &c);
	if (rc || c.done)
		return rc;
	hush_core();
	/* read again at each reload, when the argument may be stars */
	source = strdup(c.shown);
	if (!source)
		return bad("out of memory", NULL);
	c.args.source = source;
	c.args.argv = argv;
	rc = run(&c);
	free(source);
	return rc;
}
