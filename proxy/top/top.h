/* proxy/top/top.h - `pgweir top`: a live view of a running daemon in a terminal, through
 * its console. A client like any other, in the same program: it uses nothing of the daemon
 * but conf/.
 *
 * Owner: main. Threads: one; blocks signals for the rest of the process.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_TOP_H
#define PGWEIR_TOP_TOP_H

/* argv[0] is "top". Returns the exit status: 0 when it was ended, 1 when there is nothing to
 * look at or the options are wrong. */
int top_main(int argc, char **argv);

#endif
