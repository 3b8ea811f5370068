/* proxy/top/term.h - the terminal: keys, its size, signals, time. Together with link.c all
 * that `pgweir top` has to do with the kernel.
 *
 * Owner: who made it, until term_close(), which leaves the terminal as it was.
 * Threads: the only one of the process; signals are blocked and read here.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_TERM_H
#define PGWEIR_TOP_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "conf/err.h"

/* Keys are their characters, or one of these. */
enum { KEY_NONE = 0, KEY_UP = 256, KEY_DOWN, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_HOME, KEY_REDRAW, KEY_QUIT };

struct term {
	int in, out, signals;
	bool page;               /* the terminal is ours: raw, and another screen */
	bool end;                /* it is gone, or a signal has ended us */
	bool resized;
	struct termios was;
	unsigned char keys[64];
	size_t key_n;
};

/* page: take over the terminal on standard input and output; else only signals are heard.
 * 0, or -1 and *e. */
MUST_CHECK int term_open(struct term *t, bool page, struct err *e);
void term_close(struct term *t);

/* Columns and lines. */
void term_size(const struct term *t, int *w, int *h);
/* What terminals of this name can: colours by TERM and NO_COLOR; UTF-8 by the locale. */
bool term_has_colours(void);
bool term_has_utf8(void);
/* Standard input and output are a terminal that can move its cursor. */
bool term_is_one(void);

/* Waits for a key, a signal, these events on fd (-1: none), at most ms. True: the events have
 * come. */
bool term_wait(struct term *t, int fd, short events, int ms);
/* The next key of those that have come; KEY_NONE: none. */
int term_key(struct term *t);
/* Writes all of it, as long as nobody ends us. */
void term_write(struct term *t, const char *p, size_t n);
/* A line without showing it, malloc'd, from the terminal; NULL: there is none. */
char *term_password(const char *prompt);

uint64_t term_now_us(void);
/* "15:33:07", or with the day. */
void term_clock(char *out, size_t cap, bool day);

#endif
