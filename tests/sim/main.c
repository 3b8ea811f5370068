/* tests/sim/main.c - runs seeds: one with its trace, a number, or as many as time
 * allows; and makes a failing run smaller.
 *
 * Each run is made in a child process, so that a crash or an endless loop is a failure
 * of its seed like any other.
 *
 * SPDX-License-Identifier: ISC
 */
#include <getopt.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "world.h"

#define JOBS_MAX 16u
/* Seconds of real time for one run. */
#define RUN_S_MAX 60u

/* Shared between parent and child. */
struct report {
	uint64_t seed, runs, failed;
	struct run_tally t, sum;
	uint64_t fault_runs[FAULT_N], quiet_runs, unclear;
	struct cells cells;
	bool ok;
	char text[1300];
};

struct options {
	uint64_t from, count;
	unsigned seconds, jobs;
	time_t end;              /* with seconds */
	struct plan plan;        /* without its seed */
	bool trace, shrink, cells, one, keep_on;
};

static struct report *share(unsigned n)
{
	void *p = mmap(NULL, n * sizeof(struct report), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return p;
}

static void add(struct report *r)
{
	unsigned i;

	r->runs++;
	r->sum.steps += r->t.steps;
	r->sum.sim_us += r->t.sim_us;
	r->sum.clients += r->t.clients;
	r->sum.moments += r->t.moments;
	r->sum.committed += r->t.committed;
	r->sum.aborted += r->t.aborted;
	r->sum.unknown += r->t.unknown;
	r->sum.cancels += r->t.cancels;
	r->sum.retried += r->t.retried;
	r->sum.replays += r->t.replays;
	r->sum.mismatches += r->t.mismatches;
	r->sum.lost += r->t.lost;
	r->sum.handovers += r->t.handovers;
	r->sum.pins += r->t.pins;
	r->sum.questions += r->t.questions;
	r->quiet_runs += !r->t.faults;
	r->unclear += r->t.unclear;
	for (i = 0; i < FAULT_N; i++)
		r->fault_runs[i] += r->t.faults >> i & 1;
}

static bool run(const struct plan *p, FILE *trace, struct report *r)
{
	r->seed = p->seed;
	r->ok = world_run(p, trace, &r->t, &r->cells, r->text, sizeof(r->text));
	add(r);
	return r->ok;
}

/* In a child of its own. */
static bool run_apart(const struct plan *p, struct report *r)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0) {
		alarm(RUN_S_MAX);
		_exit(run(p, NULL, r) ? 0 : 1);
	}
	(void)waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		(void)snprintf(r->text, sizeof(r->text), "died of signal %d (%s)", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) > 1)
		(void)snprintf(r->text, sizeof(r->text), "ended with status %d (a sanitizer?)",
			       WEXITSTATUS(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void say_how(const struct plan *p)
{
	printf("  make sim SEED=%llu", (unsigned long long)p->seed);
	if (p->clients != UINT32_MAX)
		printf(" SIM_ARGS='--clients=%#x'", p->clients);
	printf("\n  (--clients=%#x --faults=%#x --steps=%u --moments=%u --workers=%u)\n", p->clients,
	       p->faults, p->steps, p->moments, p->workers);
}

/* ---- many ---- */

static void child(const struct options *o, unsigned job, struct report *r, uint64_t done)
{
	struct plan p = o->plan;
	uint64_t i;

	for (i = done; o->seconds ? time(NULL) < o->end : i < o->count; i++) {
		if (i % o->jobs != job)
			continue;
		p.seed = o->from + i;
		alarm(RUN_S_MAX);
		if (!run(&p, NULL, r))
			_exit(1);
	}
	_exit(0);
}

static void print_sum(const struct report *r, unsigned jobs, uint64_t from, double took)
{
	struct report s = { 0 };
	unsigned i, k;

	for (i = 0; i < jobs; i++) {
		s.runs += r[i].runs;
		s.failed += r[i].failed;
		s.quiet_runs += r[i].quiet_runs;
		s.unclear += r[i].unclear;
		s.sum.steps += r[i].sum.steps;
		s.sum.sim_us += r[i].sum.sim_us;
		s.sum.clients += r[i].sum.clients;
		s.sum.moments += r[i].sum.moments;
		s.sum.committed += r[i].sum.committed;
		s.sum.aborted += r[i].sum.aborted;
		s.sum.unknown += r[i].sum.unknown;
		s.sum.cancels += r[i].sum.cancels;
		s.sum.retried += r[i].sum.retried;
		s.sum.replays += r[i].sum.replays;
		s.sum.mismatches += r[i].sum.mismatches;
		s.sum.lost += r[i].sum.lost;
		s.sum.handovers += r[i].sum.handovers;
		s.sum.pins += r[i].sum.pins;
		s.sum.questions += r[i].sum.questions;
		for (k = 0; k < FAULT_N; k++)
			s.fault_runs[k] += r[i].fault_runs[k];
	}
	printf("sim: %llu runs from seed %llu in %.0f s, %llu failed, %llu unclear\n",
	       (unsigned long long)s.runs, (unsigned long long)from, took,
	       (unsigned long long)s.failed, (unsigned long long)s.unclear);
	printf("sim: %llu steps, %.0f s simulated, %u clients, %u faults; %u transactions "
	       "committed, %u aborted, %u unknown; %u cancels hit, %llu units retried, %llu "
	       "transactions replayed, %llu not the same, %llu after a loss, %llu servers handed over, "
	       "%llu pins, %llu questions\n",
	       (unsigned long long)s.sum.steps, (double)s.sum.sim_us / 1e6, s.sum.clients,
	       s.sum.moments, s.sum.committed, s.sum.aborted, s.sum.unknown, s.sum.cancels,
	       (unsigned long long)s.sum.retried, (unsigned long long)s.sum.replays,
	       (unsigned long long)s.sum.mismatches, (unsigned long long)s.sum.lost,
	       (unsigned long long)s.sum.handovers,
	       (unsigned long long)s.sum.pins, (unsigned long long)s.sum.questions);
	printf("sim: runs with: nothing %llu", (unsigned long long)s.quiet_runs);
	for (k = 0; k < FAULT_N; k++)
		printf(", %s %llu", fault_name((enum fault)k), (unsigned long long)s.fault_runs[k]);
	printf("\n");
}

static void print_cells(const struct report *r, unsigned jobs)
{
	uint64_t n;
	unsigned i, s, e, never = 0;

	for (s = 0; s < CL_N; s++)
		for (e = 0; e < CE_N; e++) {
			for (n = 0, i = 0; i < jobs; i++)
				n += r[i].cells.client[s][e];
			if (!client_next((enum client_state)s, (enum client_event)e))
				continue;
			if (!n)
				printf("%s client %s: %s", never++ ? "," : "sim: never fired:",
				       client_state_name((enum client_state)s),
				       client_event_name((enum client_event)e));
		}
	for (s = 0; s < SV_N; s++)
		for (e = 0; e < SE_N; e++) {
			for (n = 0, i = 0; i < jobs; i++)
				n += r[i].cells.server[s][e];
			if (!server_next((enum server_state)s, (enum server_event)e))
				continue;
			if (!n)
				printf("%s server %s: %s", never++ ? "," : "sim: never fired:",
				       server_state_name((enum server_state)s),
				       server_event_name((enum server_event)e));
		}
	printf(never ? "\n" : "sim: every cell of the state tables has fired\n");
}

static void failed(const struct options *o, struct report *r, int status)
{
	struct plan p = o->plan;

	r->failed++;
	p.seed = r->seed;
	if (WIFSIGNALED(status))
		(void)snprintf(r->text, sizeof(r->text), "died of signal %d (%s)", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) > 1)
		(void)snprintf(r->text, sizeof(r->text), "ended with status %d (a sanitizer?)",
			       WEXITSTATUS(status));
	printf("sim: seed %llu: %s\n", (unsigned long long)r->seed, r->text);
	say_how(&p);
}

static pid_t start(const struct options *o, unsigned job, struct report *r, uint64_t done)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0)
		child(o, job, r, done);
	return pid;
}

static int run_many(const struct options *o)
{
	struct report *r = share(o->jobs);
	pid_t pids[JOBS_MAX];
	time_t began = time(NULL);
	unsigned i, left = o->jobs;
	bool bad = false, died = false;

	for (i = 0; i < o->jobs; i++)
		pids[i] = start(o, i, &r[i], 0);
	while (left) {
		int status;
		pid_t pid = wait(&status);

		for (i = 0; i < o->jobs && pids[i] != pid; i++)
			;
		if (i == o->jobs)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			left--;
			continue;
		}
		failed(o, &r[i], status);
		bad = true;
		died = died || !WIFEXITED(status) || WEXITSTATUS(status) > 1;
		if (o->keep_on && (!o->seconds || time(NULL) < o->end))
			pids[i] = start(o, i, &r[i], r[i].seed - o->from + 1);
		else
			left--;
	}
	print_sum(r, o->jobs, o->from, difftime(time(NULL), began));
	if (o->cells)
		print_cells(r, o->jobs);
	return died ? 2 : bad ? 1 : 0;
}

/* ---- one ---- */

static int run_one(const struct options *o)
{
	struct report *r = share(1);
	struct plan p = o->plan;
	uint64_t digest;

	p.seed = o->from;
	if (!run(&p, o->trace ? stdout : NULL, r)) {
		printf("sim: seed %llu: %s\n", (unsigned long long)p.seed, r->text);
		return 1;
	}
	digest = r->t.digest;
	if (!run(&p, o->trace ? fopen("/dev/null", "w") : NULL, r) || r->t.digest != digest) {
		printf("sim: seed %llu: not the same twice\n", (unsigned long long)p.seed);
		return 1;
	}
	printf("sim: seed %llu: passed, %llu steps, %.3f s simulated, digest %016llx\n",
	       (unsigned long long)p.seed, (unsigned long long)r->t.steps,
	       (double)r->t.sim_us / 1e6, (unsigned long long)digest);
	return 0;
}

/* ---- smaller ---- */

/* What kind of failure it is: its first words, without numbers and names. */
static void kind(const char *text, char *out, size_t cap)
{
	size_t n = 0;

	for (; *text && *text != '"' && *text != '\'' && n + 1 < cap; text++)
		if (*text < '0' || *text > '9')
			out[n++] = *text;
	out[n] = 0;
}

static bool still_wrong(const struct plan *p, struct report *r, struct plan *best)
{
	char was[60], is[60];

	kind(r[1].text, was, sizeof(was));
	if (run_apart(p, r))
		return false;
	kind(r->text, is, sizeof(is));
	if (strcmp(was, is) != 0)
		return false;
	*best = *p;
	printf("  still wrong without that: clients=%#x faults=%#x steps=%u moments=%u workers=%u: "
	       "%.100s\n",
	       p->clients, p->faults, p->steps, p->moments, p->workers, r->text);
	return true;
}

static bool shrink_bits(struct plan *best, size_t at, unsigned n, struct report *r)
{
	bool any = false;
	unsigned i;

	for (i = 0; i < n; i++) {
		struct plan p = *best;
		uint32_t *bits = (uint32_t *)(void *)((char *)&p + at);

		if (!(*bits >> i & 1))
			continue;
		*bits &= ~(1u << i);
		any |= still_wrong(&p, r, best);
	}
	return any;
}

static bool shrink_number(struct plan *best, size_t at, unsigned most, struct report *r)
{
	bool any = false;
	unsigned k;

	for (k = 1; k < most; k += k > 8 ? k / 4 : 1) {
		struct plan p = *best;
		unsigned *n = (unsigned *)(void *)((char *)&p + at);

		if (*n && k >= *n)
			break;
		*n = k;
		if (still_wrong(&p, r, best)) {
			any = true;
			break;
		}
	}
	return any;
}

static int shrink(const struct options *o)
{
	struct report *r = share(2); /* the second keeps what was said first */
	struct plan best = o->plan;
	bool any = true;

	best.seed = o->from;
	if (run_apart(&best, r)) {
		printf("sim: seed %llu passes\n", (unsigned long long)best.seed);
		return 1;
	}
	printf("sim: seed %llu: %s\n", (unsigned long long)best.seed, r->text);
	r[1] = r[0];
	best.clients &= (1u << CLIENTS_MAX) - 1;
	best.faults &= (1u << FAULT_N) - 1;
	while (any) {
		any = shrink_bits(&best, offsetof(struct plan, clients), CLIENTS_MAX, r);
		any |= shrink_bits(&best, offsetof(struct plan, faults), FAULT_N, r);
		any |= shrink_number(&best, offsetof(struct plan, moments), 8, r);
		any |= shrink_number(&best, offsetof(struct plan, workers), 3, r);
		any |= shrink_number(&best, offsetof(struct plan, steps), 60, r);
	}
	(void)run_apart(&best, r);
	printf("sim: %s\n", r->text);
	say_how(&best);
	return 0;
}

/* ---- options ---- */

static uint32_t number(const char *s)
{
	return (uint32_t)strtoul(s, NULL, 0);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seed", 1, NULL, 's' },    { "count", 1, NULL, 'n' },	  { "seconds", 1, NULL, 't' },
		{ "from", 1, NULL, 'f' },    { "jobs", 1, NULL, 'j' },	  { "trace", 0, NULL, 'v' },
		{ "shrink", 1, NULL, 'x' },  { "clients", 1, NULL, 'c' }, { "faults", 1, NULL, 'a' },
		{ "steps", 1, NULL, 'p' },   { "workers", 1, NULL, 'w' }, { "moments", 1, NULL, 'm' },
		{ "dialect", 1, NULL, 'd' }, { "cells", 0, NULL, 'e' },   { "keep-on", 0, NULL, 'k' }, { NULL, 0, NULL, 0 },
	};
	struct options o = { .from = (uint64_t)time(NULL) * 1000, .count = 100, .jobs = 1 };
	int c;

	o.plan = plan_whole(0);
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
		case 'x':
			o.from = strtoull(optarg, NULL, 0);
			o.one = c == 's';
			o.shrink = c == 'x';
			break;
		case 'f':
			o.from = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			o.count = strtoull(optarg, NULL, 0);
			break;
		case 't':
			o.seconds = number(optarg);
			break;
		case 'j':
			o.jobs = number(optarg);
			break;
		case 'v':
			o.trace = true;
			break;
		case 'c':
			o.plan.clients = number(optarg);
			break;
		case 'a':
			o.plan.faults = number(optarg);
			break;
		case 'p':
			o.plan.steps = number(optarg);
			break;
		case 'w':
			o.plan.workers = number(optarg);
			break;
		case 'm':
			o.plan.moments = number(optarg);
			break;
		case 'd':
			o.plan.dialect = number(optarg);
			break;
		case 'e':
			o.cells = true;
			break;
		case 'k':
			o.keep_on = true;
			break;
		default:
			fprintf(stderr, "usage: sim --seed=N [--trace] | --shrink=N | [--from=N] "
					"--count=N|--seconds=N [--jobs=N] [--cells] [--keep-on]\n"
					"plan: --clients=BITS --faults=BITS --steps=N --workers=N "
					"--moments=N --dialect=1|2\n");
			return 2;
		}
	}
	o.end = time(NULL) + (time_t)o.seconds;
	if (!o.jobs || o.jobs > JOBS_MAX)
		o.jobs = 1;
	return o.shrink ? shrink(&o) : o.one ? run_one(&o) : run_many(&o);
}
