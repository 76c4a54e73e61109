/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Work on all processes at the same time, in a process of its own: libcuda makes threads, opens devices and may not
 * come back, and none of that may be in criu. In a dump the helper outlives a criu that dies, until what it has begun
 * is done; in a restore it ends with criu, as the processes do.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cuda.h"

#define THREADS_MAX 64

struct gpus *gpus_new(uint32_t room)
{
	size_t size = sizeof(struct gpus) + room * sizeof(struct gpu);
	struct gpus *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (all == MAP_FAILED)
		return NULL;
	all->room = room;
	return all;
}

void gpus_free(struct gpus *all)
{
	if (all)
		munmap(all, sizeof(struct gpus) + all->room * sizeof(struct gpu));
}

struct gpu *gpus_find(struct gpus *all, pid_t pid)
{
	for (uint32_t i = 0; i < all->n; i++)
		if (all->v[i].pid == pid)
			return &all->v[i];
	return NULL;
}

struct gpu *gpus_add(struct gpus *all, pid_t pid)
{
	struct gpu *g = gpus_find(all, pid);

	if (g || all->n == all->room)
		return g;
	g = &all->v[all->n];
	g->pid = pid;
	__atomic_store_n(&all->n, all->n + 1, __ATOMIC_RELEASE);
	return g;
}

/* ---- the helper ---- */

struct work {
	struct gpus *all;
	gpu_job job;
	bool (*wants)(const struct gpu *g);
	const struct cuda_way *way;
	uint32_t next;
};

static void *work_on(void *arg)
{
	struct work *w = arg;
	uint32_t i;

	while ((i = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED)) < w->all->n) {
		struct gpu *g = &w->all->v[i];

		if (!w->wants(g))
			continue;
		g->err = w->job(w->way, g);
		__atomic_store_n(&g->done, true, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void work_in_threads(struct work *w, uint32_t n)
{
	pthread_t threads[THREADS_MAX];
	uint32_t made = 0;

	while (made + 1 < n && made < THREADS_MAX && !pthread_create(&threads[made], NULL, work_on, w))
		made++;
	work_on(w);
	while (made)
		pthread_join(threads[--made], NULL);
}

/* Nothing of criu's: its descriptors would keep files and sockets of the tree open, its session brings signals. */
static void be_alone(const struct gpus *all, pid_t criu)
{
	sigset_t none;

	setsid();
	if (all->dies)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (all->dies && getppid() != criu)
		_exit(1);
	prctl(PR_SET_NAME, "criu-cuda");
	close_range(3, ~0U, 0);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

__attribute__((noreturn)) static void help(struct work *w, uint32_t n, pid_t criu)
{
	be_alone(w->all, criu);
	w->way = w->all->driver ? cuda_driver() : &cuda_binary;
	if (w->way)
		work_in_threads(w, n);
	/* Without exit handlers: they are criu's. */
	_exit(w->way ? 0 : 1);
}

__attribute__((noreturn)) static void look_at_driver(struct gpus *all, pid_t criu)
{
	be_alone(all, criu);
	all->driver = cuda_driver() != NULL;
	_exit(0);
}

/* ---- criu ---- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Whether it has ended, by itself; else it is killed with all that it has started. */
static bool end_helper(pid_t pid, unsigned limit_ms, bool is_child)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), ready = fd < 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t end = now_ms() + limit_ms;

	while (fd >= 0 && (ready = poll(&p, 1, (int)(end > now_ms() ? end - now_ms() : 0))) < 0 && errno == EINTR)
		;
	if (fd >= 0)
		close(fd);
	if (ready <= 0) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
	}
	while (is_child && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return ready > 0;
}

static uint32_t count_wanting(const struct gpus *all, bool (*wants)(const struct gpu *g))
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < all->n; i++)
		n += wants(&all->v[i]);
	return n;
}

static int first_error(struct gpus *all, bool (*wants)(const struct gpu *g), bool ended)
{
	int err = 0;

	for (uint32_t i = 0; i < all->n; i++) {
		struct gpu *g = &all->v[i];

		if (!wants(g))
			continue;
		if (!g->done) {
			g->err = ended ? -EIO : -ETIMEDOUT;
			snprintf(g->text, sizeof(g->text), "%s",
			         ended ? "the helper process has ended" : "no answer in time");
		}
		err = err ? err : g->err;
	}
	return err;
}

int gpus_run(struct gpus *all, gpu_job job, bool (*wants)(const struct gpu *g), unsigned limit_ms)
{
	struct work w = { .all = all, .job = job, .wants = wants };
	uint32_t n = count_wanting(all, wants);
	pid_t criu = getpid(), pid;
	bool ended;

	if (!n)
		return 0;
	for (uint32_t i = 0; i < all->n; i++) {
		all->v[i].done = false;
		all->v[i].err = 0;
		all->v[i].text[0] = 0;
	}
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		all->helper = getpid();
		help(&w, n, criu);
	}
	all->helper = pid;
	ended = end_helper(pid, limit_ms, true);
	all->helper = 0;
	return first_error(all, wants, ended);
}

int gpus_probe(struct gpus *all)
{
	pid_t criu = getpid(), pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid)
		look_at_driver(all, criu);
	if (!end_helper(pid, 10000, true))
		all->driver = false;
	return all->driver ? 0 : cuda_binary_check();
}

void gpus_await_helper(struct gpus *all, unsigned limit_ms)
{
	if (all->helper)
		end_helper(all->helper, limit_ms, false);
	all->helper = 0;
}
