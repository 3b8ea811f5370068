/* proxy/top/top.c - see top.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/top.h"

#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "top/link.h"
#include "top/place.h"
#include "top/term.h"
#include "top/view.h"

static const char usage[] =
	"pgweir top: a live view of a running pgweir\n"
	"\n"
	"Usage: pgweir top [OPTION]... [FILE.ini | 'host=... port=... user=...']\n"
	"\n"
	"  -h, --host=HOST       where it listens: a name, an address, a socket directory\n"
	"  -p, --port=PORT       ... 6432\n"
	"  -U, --username=USER   one of admin_users or stats_users\n"
	"  -d, --dbname=NAME     the console: pgweir\n"
	"  -s, --interval=SECS   time between two looks, 0.1 to 3600: 1\n"
	"  -b, --batch           plain text, page after page; also where there is no terminal\n"
	"  -n, --count=N         pages, then end\n"
	"      --once            one page: the same as -b -n 1\n"
	"      --ascii           no characters beyond ASCII\n"
	"      --help            show this\n"
	"\n"
	"A FILE.ini is only read for where it listens and for a user. libpq's environment and\n"
	"password file hold: PGHOST, PGPORT, PGUSER, PGPASSWORD, ~/.pgpass.\n"
	"NO_COLOR=1 is without colours. Keys: ? shows them.\n";

enum { OPT_ONCE = 256, OPT_ASCII, OPT_HELP };

static const struct option options[] = {
	{ "host", required_argument, NULL, 'h' },     { "port", required_argument, NULL, 'p' },
	{ "username", required_argument, NULL, 'U' }, { "dbname", required_argument, NULL, 'd' },
	{ "interval", required_argument, NULL, 's' }, { "batch", no_argument, NULL, 'b' },
	{ "count", required_argument, NULL, 'n' },    { "once", no_argument, NULL, OPT_ONCE },
	{ "ascii", no_argument, NULL, OPT_ASCII },    { "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

enum { RETRY_US = 1000000, SILENT_US = 5000000 };

struct top {
	struct place place;
	struct link link;
	struct term term;
	struct view view;
	struct grid grid;
	bool batch, ascii;
	bool ever;               /* was connected once */
	bool asked;              /* for a password */
	long left;               /* pages; 0: no end */
	uint64_t next_us;        /* the next look, or attempt to connect */
	uint64_t sent_us;        /* when the look under way began */
	int status;
	const char *source;
};

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "pgweir top: %s%s%s\nTry 'pgweir top --help'.\n", what, value ? ": " : "",
		value ? value : "");
	return 1;
}

static int option(struct top *t, int o)
{
	char *end;
	double v;

	switch (o) {
	case 'h':
		t->place.host = optarg;
		return 0;
	case 'p':
		t->place.port = optarg;
		return 0;
	case 'U':
		t->place.user = optarg;
		return 0;
	case 'd':
		t->place.dbname = optarg;
		return 0;
	case 's':
		v = strtod(optarg, &end);
		if (end == optarg || *end || !(v >= 0.1 && v <= 3600))
			return bad("an interval is a number of seconds from 0.1 to 3600, not", optarg);
		t->view.interval_ms = (int)(v * 1000 + 0.5);
		return 0;
	case 'n':
		t->left = strtol(optarg, &end, 10);
		if (end == optarg || *end || t->left < 1)
			return bad("a count is a number of pages from 1 on, not", optarg);
		return 0;
	case 'b':
		t->batch = true;
		return 0;
	case OPT_ONCE:
		t->batch = true;
		t->left = 1;
		return 0;
	case OPT_ASCII:
		t->ascii = true;
		return 0;
	default:
		return bad("that option is not known", NULL);
	}
}

/* Exit status, or -1: go on. */
static int parse(struct top *t, int argc, char **argv)
{
	int o;

	while ((o = getopt_long(argc, argv, "h:p:U:d:s:bn:", options, NULL)) != -1) {
		if (o == OPT_HELP) {
			fputs(usage, stdout);
			return 0;
		}
		if (o == '?') {
			fputs("Try 'pgweir top --help'.\n", stderr);
			return 1;
		}
		if (option(t, o))
			return 1;
	}
	if (optind < argc - 1)
		return bad("more than one file or connection string given", NULL);
	t->source = optind < argc ? argv[optind] : NULL;
	return -1;
}

/* ---- pages ---- */

static void draw(struct top *t)
{
	const char *bytes;
	size_t n;
	int w, h;

	if (t->batch)
		return;
	term_clock(t->view.clock, sizeof(t->view.clock), false);
	term_size(&t->term, &w, &h);
	if (grid_size(&t->grid, w, h))
		return;
	view_draw(&t->view, &t->grid);
	bytes = grid_bytes(&t->grid, &n);
	if (bytes)
		term_write(&t->term, bytes, n);
}

/* One page of text, wide enough for everything. */
static void print(struct top *t)
{
	const char *text;
	size_t n;

	term_clock(t->view.clock, sizeof(t->view.clock), true);
	if (grid_size(&t->grid, 160, view_height(&t->view)))
		return;
	view_draw(&t->view, &t->grid);
	text = grid_lines(&t->grid, &n);
	if (text)
		term_write(&t->term, text, n);
	if (t->left && --t->left == 0)
		t->term.end = true;
}

/* ---- what comes ---- */

static void open_link(struct top *t)
{
	link_open(&t->link, t->place.keys, t->place.values);
	t->sent_us = term_now_us();
}

static void fail(struct top *t)
{
	fprintf(stderr, "pgweir top: %s\n", t->link.error);
	t->status = 1;
	t->term.end = true;
}

static void on_lost(struct top *t, uint64_t now)
{
	/* nobody to look at at all: that is for the person to mend */
	if (!t->ever || (t->batch && t->left)) {
		fail(t);
		return;
	}
	view_lose(&t->view);
	(void)snprintf(t->view.message, sizeof(t->view.message), "not connected, trying again: %.200s",
		       t->link.error);
	if (t->batch)
		fprintf(stderr, "pgweir top: %s\n", t->view.message);
	t->next_us = now + RETRY_US;
	draw(t);
}

static void on_sample(struct top *t, uint64_t now)
{
	(void)snprintf(t->view.version, sizeof(t->view.version), "%s", t->link.version);
	t->view.message[0] = 0;
	if (view_take(&t->view, &t->link.sample)) {
		(void)snprintf(t->view.message, sizeof(t->view.message), "out of memory");
		draw(t);
		return;
	}
	/* as it was asked for, not as long as the answers took */
	t->next_us = t->sent_us + (uint64_t)t->view.interval_ms * 1000;
	if (t->next_us < now)
		t->next_us = now;
	/* rates need two */
	if (t->batch && t->view.has_before)
		print(t);
	draw(t);
}

static void turn(struct top *t, bool ready)
{
	uint64_t now = term_now_us();
	enum link_news news = ready ? link_turn(&t->link, now) : NEWS_NONE;

	switch (news) {
	case NEWS_LOST:
		on_lost(t, now);
		break;
	case NEWS_CONNECTED:
		t->ever = t->view.connected = true;
		t->next_us = now;
		break;
	case NEWS_SAMPLE:
		on_sample(t, now);
		break;
	case NEWS_NONE:
		break;
	}
	if (t->term.end || now < t->next_us)
		return;
	if (t->link.state == LINK_CLOSED) {
		open_link(t);
	} else if (t->link.state == LINK_IDLE && !t->view.paused) {
		t->sent_us = now;
		link_ask(&t->link);
	} else if (t->link.state == LINK_ASKING && now > t->sent_us + SILENT_US && !t->view.message[0]) {
		(void)snprintf(t->view.message, sizeof(t->view.message), "no answer for 5 s, still waiting");
		draw(t);
	}
}

static void scroll(struct view *v, int by)
{
	v->scroll += by;
	if (v->scroll < 0)
		v->scroll = 0;
}

static void key(struct top *t, int k)
{
	static const int steps[] = { 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000 };
	struct view *v = &t->view;
	size_t i, n = sizeof(steps) / sizeof(*steps);

	switch (k) {
	case 'q':
	case 'Q':
	case KEY_QUIT:
		t->term.end = true;
		return;
	case ' ':
	case 'p':
		v->paused = !v->paused;
		break;
	case '?':
	case 'h':
		v->help = !v->help;
		break;
	case '+':
	case '=':
		for (i = 0; i + 1 < n && steps[i] <= v->interval_ms; i++)
			;
		v->interval_ms = steps[i];
		break;
	case '-':
		for (i = n - 1; i > 0 && steps[i] >= v->interval_ms; i--)
			;
		v->interval_ms = steps[i];
		break;
	case 's':
		v->order.pools = (v->order.pools + 1) % POOL_ORDERS;
		break;
	case 'n':
		v->order.nodes = (v->order.nodes + 1) % NODE_ORDERS;
		break;
	case 'r':
		v->order.reverse = !v->order.reverse;
		break;
	case KEY_UP:
	case 'k':
		scroll(v, -1);
		break;
	case KEY_DOWN:
	case 'j':
		scroll(v, 1);
		break;
	case KEY_PAGE_UP:
		scroll(v, -10);
		break;
	case KEY_PAGE_DOWN:
		scroll(v, 10);
		break;
	case KEY_HOME:
		v->scroll = 0;
		break;
	case KEY_REDRAW:
		term_write(&t->term, "\033[2J", 4);
		break;
	default:
		return;
	}
	if (v->interval_ms && t->link.state == LINK_IDLE)
		t->next_us = t->sent_us + (uint64_t)v->interval_ms * 1000;
	draw(t);
}

static int wait_ms(const struct top *t)
{
	uint64_t now = term_now_us(), at = t->next_us;

	if (t->link.state == LINK_CONNECTING)
		return 1000;
	if (t->link.state == LINK_ASKING)
		at = t->view.message[0] ? now + 1000000 : t->sent_us + SILENT_US + 1000;
	if (t->view.paused && t->link.state == LINK_IDLE)
		return 1000;
	return at > now ? (int)((at - now) / 1000 + 1) : 0;
}

static void run(struct top *t)
{
	short events = 0;
	bool ready;
	int fd, k;

	draw(t);
	while (!t->term.end) {
		fd = link_fd(&t->link, &events);
		ready = term_wait(&t->term, fd, events, wait_ms(t));
		if (t->term.resized) {
			t->term.resized = false;
			term_write(&t->term, "\033[2J", 4);
			draw(t);
		}
		while (!t->term.end && (k = term_key(&t->term)) != KEY_NONE)
			key(t, k);
		if (!t->term.end)
			turn(t, ready || (fd < 0 && t->link.state != LINK_CLOSED));
	}
}

/* Connects once before the terminal is taken over, so that a password can be asked for and
 * an error stands where the person looks. */
static bool first_link(struct top *t)
{
	enum link_news news = NEWS_NONE;
	short events = 0;
	char prompt[320];
	int fd;

	open_link(t);
	while (!t->term.end && news == NEWS_NONE) {
		fd = link_fd(&t->link, &events);
		if (term_wait(&t->term, fd, events, fd < 0 ? 0 : 1000) || fd < 0)
			news = link_turn(&t->link, term_now_us());
		else if (term_now_us() > t->sent_us + 2 * SILENT_US)
			news = NEWS_LOST;
		if (news == NEWS_LOST && t->link.needs_password && !t->asked) {
			char *word;

			t->asked = true;
			(void)snprintf(prompt, sizeof(prompt), "Password for the console at %s: ", t->place.shown);
			word = term_password(prompt);
			if (word) {
				place_password(&t->place, word);
				open_link(t);
				news = NEWS_NONE;
			}
		}
	}
	if (news == NEWS_LOST) {
		if (!t->link.error[0])
			(void)snprintf(t->link.error, sizeof(t->link.error), "no answer from %.200s", t->place.shown);
		fail(t);
	}
	if (news == NEWS_CONNECTED)
		(void)snprintf(t->place.shown, sizeof(t->place.shown), "%s:%s", PQhost(t->link.pg),
			       PQport(t->link.pg));
	return news == NEWS_CONNECTED;
}

int top_main(int argc, char **argv)
{
	struct top t = { .view = { .interval_ms = 1000 } };
	struct err e = { "" };
	int rc;

	(void)setlocale(LC_CTYPE, "");
	rc = parse(&t, argc, argv);
	if (rc >= 0)
		return rc;
	t.batch |= !term_is_one();
	t.view.batch = t.batch;
	t.grid.utf8 = !t.ascii && term_has_utf8();
	t.grid.colours = !t.batch && term_has_colours();
	t.view.where = t.place.shown;
	if (place_find(&t.place, t.source, &e) || term_open(&t.term, false, &e)) {
		place_free(&t.place);
		fprintf(stderr, "pgweir top: %s\n", e.text);
		return 1;
	}
	if (first_link(&t)) {
		t.ever = t.view.connected = true;
		term_close(&t.term);
		if (term_open(&t.term, !t.batch, &e)) {
			fprintf(stderr, "pgweir top: %s\n", e.text);
			t.status = 1;
		} else {
			run(&t);
		}
	}
	term_close(&t.term);
	link_close(&t.link);
	view_free(&t.view);
	grid_free(&t.grid);
	place_free(&t.place);
	return t.status;
}
