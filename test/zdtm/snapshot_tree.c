/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that is written to all the time, so that what was not read at one moment shows: each of WRITERS processes
 * stores a growing number into one page after the other, and says behind each store how many it has made, in private
 * and in shared memory. At any moment its pages are a step: the first n have the newer number, all others the older
 * one. Arguments: MiB of each writer; "subreaper", "init", "plain" (what the root is).
 *
 * Others wait for children of their own, in every way, and count: another child, or a signal for one, is a fault.
 * Without arguments there are only writers.
 *
 * zdtm: victim
 * zdtm: frozen
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define WRITERS   2
#define PAGE      4096UL
/* Where in shared memory waits with __WALL are counted that got a copy: when criu is killed, and then alone. */
#define STRANGERS 8

/* What the driver reads: the first page of a writer's memory. */
struct head {
	uint64_t pages, made, empty;
	uint64_t *steps;     /* the first of the pages */
	uint64_t *dont_fork; /* a page of its own (MADV_DONTFORK): as `made`, at each full round */
	uint64_t *wiped;     /* the same (MADV_WIPEONFORK), right before */
	volatile uint64_t *shared;
};

static volatile uint64_t *shared; /* of each writer: how many it has made; then how many were waited for */
static volatile sig_atomic_t signals;
static volatile int stopping;

static void *spare_page(int advice)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	zdtm_must(p != MAP_FAILED && !madvise(p, PAGE, advice));
	return p;
}

static void *counting(void *arg)
{
	volatile uint64_t *n = arg;

	while (!stopping)
		++*n;
	return NULL;
}

static void tell_head(volatile struct head *h, int number)
{
	FILE *f = fopen(zdtm_path(number ? "head.1" : "head.0"), "w");

	zdtm_must(f && fprintf(f, "%d %lu", getpid(), (unsigned long)h) > 0 && !fclose(f));
	zdtm_touch(number ? "written.1" : "written.0");
}

static void write_pages(size_t mib, int number)
{
	size_t pages = mib * 256, step = PAGE / sizeof(uint64_t);
	volatile struct head *h = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile uint64_t *all = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;

	zdtm_must((void *)h != MAP_FAILED && (void *)all != MAP_FAILED);
	zdtm_must(!madvise((void *)all, pages * PAGE, number ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) || errno == EINVAL);
	h->pages = pages;
	h->shared = &shared[number];
	h->steps = (uint64_t *)all;
	h->dont_fork = spare_page(MADV_DONTFORK);
	h->wiped = spare_page(MADV_WIPEONFORK);
	zdtm_must(!pthread_create(&thread, NULL, counting, (void *)&h->empty));
	for (uint64_t made = 0; !stopping;) {
		for (size_t i = 0; i < pages; i++) {
			if (!zdtm_check(all[i * step] == made / pages, "page %zu has %lu in round %lu", i,
			                (unsigned long)all[i * step], made / pages + 1))
				_exit(1);
			all[i * step] = made / pages + 1;
			h->made = ++made;
			shared[number] = made;
		}
		*(volatile uint64_t *)h->dont_fork = *(volatile uint64_t *)h->wiped = made;
		if (made == pages)
			tell_head(h, number);
		if (!access(zdtm_path("verify"), F_OK))
			break;
	}
	stopping = 1;
	pthread_join(thread, NULL);
	_exit(0);
}

static void child_ended(int signo)
{
	(void)signo;
	signals++;
}

/* One child at a time, that ends at once or soon; between them there is none at all. */
static void wait_for_own(int how)
{
	static const char *const names[] = { "wait", "waitid", "waitpid(__WALL)" };
	unsigned long rounds = 0;

	zdtm_must(
	    !sigaction(SIGCHLD, &(struct sigaction) { .sa_handler = child_ended, .sa_flags = SA_NOCLDSTOP }, NULL));
	while (access(zdtm_path("verify"), F_OK)) {
		pid_t pid = fork(), got;
		siginfo_t si = { 0 };
		int status;

		zdtm_must(pid >= 0);
		if (!pid) {
			usleep(rounds % 3 * 3000);
			_exit(7);
		}
		do {
			if (how == 1)
				got = waitid(P_ALL, 0, &si, WEXITED) ? -1 : si.si_pid;
			else
				got = how ? waitpid(-1, &status, __WALL) : wait(&status);
			if (how == 2 && got > 0 && got != pid) /* killed, or ended by its agent */
				shared[STRANGERS]++, got = 0;
		} while (!got || (got < 0 && errno == EINTR));
		zdtm_check(got == pid, "%s: child %d, and %d was waited for", names[how], pid, got);
		/* With __WALL the copy is there, but never waited for. */
		got = waitpid(-1, &status, WNOHANG | (how == 2 ? __WALL : 0));
		if (got > 0 && how == 2)
			shared[STRANGERS]++, got = 0;
		zdtm_check(got < 0 || (how == 2 && !got), "%s: a child that nobody made: %d", names[how], got);
		zdtm_check(how == 2 || errno == ECHILD, "%s: not ECHILD but %s", names[how], strerror(errno));
		rounds++;
		shared[WRITERS + how] = rounds;
		zdtm_check(signals == (sig_atomic_t)rounds, "%s: %d signals for %lu children", names[how], (int)signals,
		           rounds);
	}
	_exit(0);
}

/* Leaves a child to the root, now and then. */
static void orphan(void)
{
	while (access(zdtm_path("verify"), F_OK)) {
		pid_t pid = fork();

		if (!pid) {
			if (!fork()) {
				usleep(5000);
				_exit(9);
			}
			_exit(8);
		}
		waitpid(pid, NULL, 0);
		usleep(20000);
	}
	_exit(0);
}

/* The writers make progress, and there is nothing to wait for. */
static void answer(void)
{
	uint64_t before[WRITERS];

	while (zdtm_asked()) {
		memcpy(before, (void *)shared, sizeof(before));
		for (int i = 0; i < 30000 && (shared[0] == before[0] || shared[1] == before[1]); i++)
			usleep(1000);
		for (int i = 0; i < WRITERS; i++)
			zdtm_check(shared[i] > before[i], "writer %d stands", i);
		zdtm_check(!waitpid(-1, NULL, WNOHANG), "a child that has ended");
		zdtm_answer();
	}
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? (size_t)atol(argv[1]) : 40;
	int reaps = argc > 2 && strcmp(argv[2], "plain") != 0, waiters = argc > 1 ? 3 : 0, kids = 0, status;
	pid_t pid, first = 0;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must((void *)shared != MAP_FAILED);
	if (reaps)
		zdtm_must(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	for (int i = 0; i < WRITERS + waiters + reaps; i++, kids++) {
		pid = fork();
		zdtm_must(pid >= 0);
		first = first ?: pid;
		if (!pid && i < WRITERS)
			write_pages(mib, i);
		if (!pid && i < WRITERS + waiters)
			wait_for_own(i - WRITERS);
		if (!pid)
			orphan();
	}
	while (access(zdtm_path("written.0"), F_OK) || access(zdtm_path("written.1"), F_OK))
		zdtm_nap();
	zdtm_ready();
	if (!waiters)
		answer();
	/* Orphans come to a root that reaps: they end with 9, its own children with 0. */
	while (kids) {
		pid = wait(&status);
		if (pid < 0 && errno == EINTR)
			continue;
		if (!zdtm_check(pid > 0, "the root: wait: %s", strerror(errno)))
			break;
		zdtm_check((WIFEXITED(status) && (!WEXITSTATUS(status) || (reaps && WEXITSTATUS(status) == 9))) ||
		               (pid == first && !access(zdtm_path("killed"), F_OK)),
		           "the root waited for %d with status %x", pid, status);
		kids -= WIFEXITED(status) && !WEXITSTATUS(status);
	}
	for (int i = 0; i < waiters; i++)
		zdtm_check(shared[WRITERS + i] > 2, "waiter %d: %lu rounds", i, (unsigned long)shared[WRITERS + i]);
	zdtm_check(!shared[STRANGERS] || !access(zdtm_path("killed"), F_OK), "__WALL got %d copies",
	           (int)shared[STRANGERS]);
	zdtm_pass();
}
