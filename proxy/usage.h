/* proxy/usage.h - the options of the command line: one table, and the help, the manual
 * page pgweir(1) and the shells' completions made from it.
 *
 * Owner: nobody; const tables. Threads: any.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_USAGE_H
#define PGWEIR_USAGE_H

#include <getopt.h>
#include <stdio.h>

/* What getopt gives for options without a letter. */
enum { OPT_CHECK = 256, OPT_UPGRADE, OPT_MANUAL, OPT_COMPLETION };

#define USAGE_OPTIONS_MAX 32

struct usage_getopt {
	struct option longs[USAGE_OPTIONS_MAX + 1];
	char shorts[2 * USAGE_OPTIONS_MAX + 1];
};

/* For getopt_long(). */
void usage_getopt(struct usage_getopt *g);

void usage_help(FILE *out);
/* pgweir(1), as roff. */
void usage_manual(FILE *out);
/* shell: bash, zsh or fish; -1: none of these. */
int usage_completion(FILE *out, const char *shell);

#endif
