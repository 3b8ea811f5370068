/* tests/sim/inspector.h - somebody at the console, in the middle of everything.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_INSPECTOR_H
#define PGWEIR_SIM_INSPECTOR_H

#include "visitor.h"

struct inspector;

/* Comes, asks `questions` SHOW commands, some of which there are not, and leaves: politely
 * or not. Each must be answered with one ReadyForQuery, unless pgweir ends. */
struct inspector *inspector_new(const struct visitor_world *w, unsigned number, unsigned questions);
void inspector_free(struct inspector *i);

#endif
