/* proxy/top/term.c - see term.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/term.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l\033[2J"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

/* ---- what it is ---- */

bool term_is_one(void)
{
	const char *name = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && name && *name && strcmp(name, "dumb") != 0;
}

bool term_has_colours(void)
{
	static const char *const kind[] = { "xterm", "screen", "tmux", "linux", "rxvt", "konsole", "putty",
					    "alacritty", "kitty", "foot", "wezterm", "cygwin", "st-", "ansi" };
	const char *no = getenv("NO_COLOR"), *name = getenv("TERM"), *says = getenv("COLORTERM");
	size_t i;

	if ((no && *no) || !name || strstr(name, "-mono") || strstr(name, "-m"))
		return false;
	if ((says && *says) || strstr(name, "color"))
		return true;
	for (i = 0; i < sizeof(kind) / sizeof(*kind); i++)
		if (strncmp(name, kind[i], strlen(kind[i])) == 0)
			return true;
	return false;
}

bool term_has_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void term_size(const struct term *t, int *w, int *h)
{
	struct winsize s;

	*w = 80;
	*h = 24;
	if (ioctl(t->out, TIOCGWINSZ, &s) == 0 && s.ws_col && s.ws_row) {
		*w = s.ws_col < 1000 ? s.ws_col : 1000;
		*h = s.ws_row < 1000 ? s.ws_row : 1000;
	}
}

uint64_t term_now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void term_clock(char *out, size_t cap, bool day)
{
	struct timespec ts;
	struct tm tm;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (!localtime_r(&ts.tv_sec, &tm) || !strftime(out, cap, day ? "%F %T" : "%T", &tm))
		*out = 0;
}

/* ---- taking and leaving ---- */

static int enter(struct term *t)
{
	struct termios raw = t->was;

	/* Ctrl-C and Ctrl-Z stay signals */
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
	raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IXON);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(t->in, TCSADRAIN, &raw))
		return -1;
	t->page = true;
	term_write(t, ENTER, strlen(ENTER));
	return 0;
}

static void leave(struct term *t)
{
	if (!t->page)
		return;
	t->page = false;
	/* also when a signal has ended us; one that takes nothing gets nothing */
	(void)!write(t->out, LEAVE, strlen(LEAVE));
	(void)tcsetattr(t->in, TCSANOW, &t->was);
}

int term_open(struct term *t, bool page, struct err *e)
{
	sigset_t set;

	*t = (struct term){ .in = STDIN_FILENO, .out = STDOUT_FILENO, .signals = -1 };
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	if (page) {
		(void)sigaddset(&set, SIGWINCH);
		(void)sigaddset(&set, SIGTSTP);
	}
	if (sigprocmask(SIG_BLOCK, &set, NULL) || (t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return err_set(e, "signals cannot be read: %s", strerror(errno));
	if (page && (tcgetattr(t->in, &t->was) || enter(t))) {
		err_set(e, "the terminal cannot be set up: %s", strerror(errno));
		term_close(t);
		return -1;
	}
	return 0;
}

void term_close(struct term *t)
{
	leave(t);
	if (t->signals >= 0)
		(void)close(t->signals);
	t->signals = -1;
}

/* Ctrl-Z: as if we were not there until somebody wants us again. */
static void suspend(struct term *t)
{
	leave(t);
	(void)kill(getpid(), SIGSTOP);
	if (enter(t))
		t->end = true;
	t->resized = true;
}

static void hear(struct term *t)
{
	struct signalfd_siginfo s;

	while (read(t->signals, &s, sizeof(s)) == (ssize_t)sizeof(s)) {
		if (s.ssi_signo == SIGWINCH)
			t->resized = true;
		else if (s.ssi_signo == SIGTSTP)
			suspend(t);
		else
			t->end = true;
	}
}

/* ---- in and out ---- */

static void take_keys(struct term *t)
{
	ssize_t n = read(t->in, t->keys + t->key_n, sizeof(t->keys) - t->key_n);

	if (n > 0)
		t->key_n += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		t->end = true;
}

bool term_wait(struct term *t, int fd, short events, int ms)
{
	struct pollfd p[3] = { { .fd = t->signals, .events = POLLIN },
			       { .fd = t->page && t->key_n < sizeof(t->keys) ? t->in : -1, .events = POLLIN },
			       { .fd = fd, .events = events } };

	if (poll(p, 3, ms) <= 0)
		return false;
	if (p[0].revents)
		hear(t);
	if (p[1].revents && t->page)
		take_keys(t);
	return p[2].revents != 0;
}

void term_write(struct term *t, const char *p, size_t n)
{
	struct pollfd w[2] = { { .fd = t->signals, .events = POLLIN }, { .fd = t->out, .events = POLLOUT } };
	ssize_t k;

	while (n && !t->end) {
		if (poll(w, 2, -1) < 0 && errno != EINTR)
			break;
		if (w[0].revents)
			hear(t);
		if (!w[1].revents)
			continue;
		/* so little fits when there is room at all, and signals are heard meanwhile */
		k = write(t->out, p, n < 256 ? n : 256);
		if (k < 0 && errno != EAGAIN && errno != EINTR)
			t->end = true;
		if (k > 0) {
			p += k;
			n -= (size_t)k;
		}
	}
}

/* Behind ESC: an arrow or so, in n bytes; 0: not all of it is there. */
static int escape(const unsigned char *p, size_t have, size_t *n)
{
	static const struct {
		const char *seq;
		int key;
	} known[] = { { "[A", KEY_UP },	     { "OA", KEY_UP },	   { "[B", KEY_DOWN },	{ "OB", KEY_DOWN },
		      { "[5~", KEY_PAGE_UP }, { "[6~", KEY_PAGE_DOWN }, { "[H", KEY_HOME }, { "OH", KEY_HOME },
		      { "[1~", KEY_HOME } };
	size_t i, len;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++) {
		len = strlen(known[i].seq);
		if (have >= len && memcmp(p, known[i].seq, len) == 0) {
			*n = len;
			return known[i].key;
		}
	}
	/* another one: up to its last byte */
	for (len = 1; len < have && p[0] == '['; len++)
		if (p[len] >= 0x40 && p[len] <= 0x7e)
			break;
	*n = have && p[0] == '[' ? (len < have ? len + 1 : have) : have && p[0] == 'O' && have > 1 ? 2 : 0;
	return KEY_NONE;
}

int term_key(struct term *t)
{
	int key = KEY_NONE;
	size_t n;

	while (t->key_n && key == KEY_NONE) {
		n = 0;
		if (t->keys[0] == 27)
			key = escape(t->keys + 1, t->key_n - 1, &n);
		else if (t->keys[0] == 12)
			key = KEY_REDRAW;
		else if (t->keys[0] == 4)
			key = KEY_QUIT;
		else
			key = t->keys[0];
		n++;
		memmove(t->keys, t->keys + n, t->key_n - n);
		t->key_n -= n;
	}
	return key;
}

/* A line is there. false: a signal is, which is left for who waits for it. */
static bool typed(int fd)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = -1, .events = POLLIN } };
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	p[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	if (p[1].fd >= 0)
		(void)close(p[1].fd);
	return !(p[1].revents & POLLIN);
}

char *term_password(const char *prompt)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	struct termios was, quiet;
	char buf[1024], *out = NULL;
	ssize_t n = 0;

	if (fd < 0)
		return NULL;
	if (tcgetattr(fd, &was) == 0) {
		quiet = was;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)tcsetattr(fd, TCSAFLUSH, &quiet);
		(void)!write(fd, prompt, strlen(prompt));
		if (typed(fd))
			n = read(fd, buf, sizeof(buf) - 1);
		(void)tcsetattr(fd, TCSAFLUSH, &was);
		(void)!write(fd, "\n", 1);
	}
	if (n > 0) {
		buf[n] = 0;
		buf[strcspn(buf, "\r\n")] = 0;
		out = strdup(buf);
	}
	explicit_bzero(buf, sizeof(buf));
	(void)close(fd);
	return out;
}
