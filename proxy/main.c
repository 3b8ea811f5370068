/* proxy/main.c - options, configuration, daemon; nothing else.
 *
 * SPDX-License-Identifier: ISC
 */
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
#include "usage.h"

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

static int show_manual(struct choice *c)
{
	c->done = true;
	if (optarg && strcmp(optarg, "1") == 0)
		usage_manual(stdout);
	else if (!optarg || strcmp(optarg, "5") == 0)
		conf_manual(stdout);
	else
		return bad("there is no such page of the manual", optarg);
	return 0;
}

/* Exit status when there is nothing more to do (c->done), or 0. */
static int parse(int argc, char **argv, struct choice *c)
{
	struct usage_getopt g;
	int o;

	usage_getopt(&g);
	while ((o = getopt_long(argc, argv, g.shorts, g.longs, NULL)) != -1) {
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
			return show_manual(c);
		case OPT_COMPLETION:
			c->done = true;
			return usage_completion(stdout, optarg) ?
				       bad("there is no completion for this shell", optarg) :
				       0;
		case 'V':
			puts("pgweir " PGWEIR_VERSION);
			c->done = true;
			return 0;
		case 'h':
			usage_help(stdout);
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
