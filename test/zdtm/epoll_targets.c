/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What epoll instances watch: a file at the number it was added as; one that was moved since; two under the same
 * number; one under the number of the instance itself; one that only another task has; another instance, with one in
 * it; each kind of event; an EPOLLONESHOT that has fired; an instance that tasks share; and 1,500 at once.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: allow fd 90/watched  any  one that has fired and has nothing to read shows EPOLLERR and EPOLLHUP: see the
 * manual
 */
#include <sys/epoll.h>

#include "zdtm.h"

#define MANY 1500

struct watch {
	int r, w;
	uint64_t data;
};

/* As /proc shows it: number, events and data, sorted. */
static char *picture(int ep)
{
	static char line[300];
	char path[64], *text, **lines = calloc(MANY + 100, sizeof(*lines));
	size_t n = 0, len = 1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ep);
	zdtm_must((f = fopen(path, "re")) != NULL);
	while (fgets(line, sizeof(line), f)) {
		char *end = strstr(line, " pos:");

		if (strncmp(line, "tfd:", 4) || !end || n >= MANY + 100)
			continue;
		strcpy(end, "\n");
		lines[n++] = strdup(line);
		len += strlen(line);
	}
	fclose(f);
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j && strcmp(lines[j - 1], lines[j]) > 0; j--) {
			char *l = lines[j];

			lines[j] = lines[j - 1];
			lines[j - 1] = l;
		}
	text = calloc(1, len);
	for (size_t i = 0, at = 0; i < n; i++) {
		at += (size_t)sprintf(text + at, "%s", lines[i]);
		free(lines[i]);
	}
	free(lines);
	return text;
}

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	zdtm_must(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

static struct watch new_pipe(uint64_t data)
{
	struct watch w = { .data = data };
	int p[2];

	zdtm_must(!pipe2(p, O_NONBLOCK));
	w.r = p[0];
	w.w = p[1];
	return w;
}

static struct watch watched(int ep, uint32_t events, uint64_t data)
{
	struct watch w = new_pipe(data);

	add(ep, w.r, events, data);
	return w;
}

/* All pages of all pipes of a user are counted, and tests that run beside this one want some (pipe-user-pages-soft). */
static struct watch small_pipe(struct watch w)
{
	zdtm_must(fcntl(w.w, F_SETPIPE_SZ, 4096) >= 0);
	return w;
}

/* Takes what is there and returns how many, the data of the first in *data. */
static int take(int ep, uint64_t *data)
{
	struct epoll_event e[8] = { 0 };
	int n = epoll_wait(ep, e, 8, 0);

	*data = e[0].data.u64;
	return n;
}

static void fires(int ep, const struct watch *w, const char *what)
{
	uint64_t data;
	char c[64];
	int n;

	zdtm_check(write(w->w, "x", 1) == 1, "%s: write: %s", what, strerror(errno));
	n = take(ep, &data);
	zdtm_check(n == 1 && data == w->data, "%s: %d events, the first of %lx", what, n, data);
	zdtm_check(read(w->r, c, sizeof(c)) >= 1, "%s: read: %s", what, strerror(errno));
	zdtm_check(take(ep, &data) == 0, "%s: an event of %lx is left", what, data);
}

static void silent(int ep, const struct watch *w, const char *what)
{
	uint64_t data;
	char c;

	zdtm_check(write(w->w, "x", 1) == 1, "%s: write: %s", what, strerror(errno));
	zdtm_check(take(ep, &data) == 0, "%s: fires", what);
	zdtm_check(read(w->r, &c, 1) == 1, "%s: read: %s", what, strerror(errno));
}

static int ep, oneshots, lonely, own, inner, outer, many, ends[2];
static struct watch same, moved, first, second, own_number, nested, edge, once, fired, fired_full, exclusive, far, *all;
static uint64_t data;
static char c[8];

static void set_up(void)
{
	int moved_to;

	zdtm_must((ep = epoll_create1(EPOLL_CLOEXEC)) >= 0 && (lonely = epoll_create(1)) >= 0);
	zdtm_must((own = epoll_create1(0)) >= 0 && (inner = epoll_create1(0)) >= 0 && (outer = epoll_create1(0)) >= 0);
	same = watched(ep, EPOLLIN, 0x1122334455667788);
	edge = watched(ep, EPOLLIN | EPOLLET | EPOLLPRI, 4);
	once = watched(ep, EPOLLIN | EPOLLONESHOT, 5);
	exclusive = watched(ep, EPOLLIN | EPOLLEXCLUSIVE, 6);

	moved = new_pipe(7);
	zdtm_must(dup2(moved.r, 50) == 50);
	add(ep, 50, EPOLLIN, 7);
	close(50);
	moved_to = dup2(moved.r, 60);
	close(moved.r);
	moved.r = moved_to;

	/* The same number twice, and somebody else there now. */
	first = new_pipe(8);
	second = new_pipe(9);
	zdtm_must(dup2(first.r, 70) == 70);
	add(ep, 70, EPOLLIN, 8);
	zdtm_must(dup2(second.r, 70) == 70);
	add(ep, 70, EPOLLIN, 9);
	zdtm_must(dup2(same.w, 70) == 70);

	own_number = new_pipe(10);
	zdtm_must(dup2(own_number.r, 80) == 80);
	add(own, 80, EPOLLIN, 10);
	zdtm_must(dup2(own, 80) == 80);
	close(own);
	own = 80;

	zdtm_must((oneshots = dup2(lonely, 90)) == 90 && !close(lonely) && (lonely = epoll_create(1)) >= 0);
	fired = watched(oneshots, EPOLLIN | EPOLLONESHOT, 11);
	zdtm_must(write(fired.w, "x", 1) == 1 && take(oneshots, &data) == 1 && data == 11 && read(fired.r, c, 1) == 1);
	fired_full = watched(ep, EPOLLIN | EPOLLONESHOT | EPOLLET, 12);
	zdtm_must(write(fired_full.w, "x", 1) == 1 && take(ep, &data) == 1 && data == 12);

	nested = watched(inner, EPOLLIN, 13);
	add(outer, inner, EPOLLIN, 14);

	zdtm_must((many = epoll_create1(0)) >= 0 && (all = calloc(MANY, sizeof(*all))));
	far = new_pipe(15);
	zdtm_must(fcntl(far.r, F_DUPFD, 5000) == 5000);
	add(many, 5000, EPOLLIN, 15);
	for (int i = 0; i < MANY; i++)
		all[i] = small_pipe(watched(many, EPOLLIN, (uint64_t)i << 32));
	close(5000);
}

/* It gets the only read end of `ends`, and all instances. */
static pid_t start_sibling(void)
{
	pid_t kid;

	zdtm_must(!pipe(ends));
	add(ep, ends[0], EPOLLIN, 16);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		close(ends[1]);
		zdtm_wait();
		while (access(zdtm_path("kid"), F_OK))
			zdtm_nap();
		zdtm_check(take(ep, &data) == 1 && data == 16, "the child sees another event than its own: %lx", data);
		zdtm_check(read(ends[0], c, 1) == 1, "the child reads");
		zdtm_check(take(ep, &data) == 0, "the child sees an event of %lx", data);
		_exit(0);
	}
	close(ends[0]);
	return kid;
}

static void look(void)
{
	struct epoll_event again = { .events = EPOLLIN, .data.u64 = 11 };

	fires(ep, &same, "the plain one");
	fires(ep, &edge, "the edge");
	fires(ep, &edge, "the next edge");
	fires(ep, &exclusive, "the exclusive one");
	fires(ep, &moved, "the moved one");
	fires(ep, &first, "the first of two with one number");
	fires(ep, &second, "the second of two with one number");
	fires(own, &own_number, "the one with the number of the instance");
	fires(ep, &once, "the one that fires once");
	silent(ep, &once, "the one that has fired here");
	silent(oneshots, &fired, "the one that had fired");
	silent(ep, &fired_full, "the one that had fired and has something to read");
	fires(inner, &nested, "the nested one");
	zdtm_check(write(nested.w, "x", 1) == 1 && take(outer, &data) == 1 && data == 14, "the outer one: %lx", data);
	fires(many, &far, "the one from number 5000");
	for (int i = 0; i < MANY; i += 37)
		fires(many, &all[i], "one of many");
	zdtm_check(!epoll_ctl(oneshots, EPOLL_CTL_MOD, fired.r, &again), "arming it again: %s", strerror(errno));
	fires(oneshots, &fired, "the one armed again");
	zdtm_check(fcntl(ep, F_GETFD) == FD_CLOEXEC && fcntl(lonely, F_GETFD) == 0, "close-on-exec");
}

int main(void)
{
	char *before, *before_many, *after;
	int status;
	pid_t kid;

	set_up();
	kid = start_sibling();
	before = picture(ep);
	before_many = picture(many);
	zdtm_ready();
	zdtm_wait();

	/* Edges are new ones after a restore: taken before anything is compared. */
	while (take(ep, &data) > 0)
		zdtm_check(data == 4, "an event of %lx out of nothing", data);
	after = picture(ep);
	zdtm_check(!strcmp(before, after), "before:\n%s now:\n%s", before, after);
	after = picture(many);
	zdtm_check(!strcmp(before_many, after), "the large one differs");
	zdtm_check(!strcmp(picture(lonely), "") && take(lonely, &data) == 0, "the empty one is not");

	look();
	zdtm_check(write(ends[1], "x", 1) == 1, "the child's pipe");
	zdtm_touch("kid");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
