/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The half of tracking that has the kernel note writes from this dump on. A userfaultfd watches the memory of the
 * process that made it, so the agent does; criu takes it from there, and the task has it no longer.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "mm/track.h"
#include "mm/track_task.h"
#include "proc/proc.h"
#include "proc/proc_maps.h"
#include "tree/vma_kind.h"
#include "uapi/pagemap.h"
#include "uapi/userfaultfd_more.h"

/* How long the agent keeps the descriptor open for criu to take it: far longer than that takes. */
#define TAKE_MS  200
#define REGIONS  512 /* a call of PAGEMAP_SCAN */

#define RING     "anon_inode:[io_uring]"
#define RING_LEN ((ssize_t)sizeof(RING) - 1)

/* ---- the descriptor ---- */

/*
 * One batch, so that the descriptor is closed whatever becomes of criu: the agent makes it, waits on a word until criu
 * has taken it (or some time has passed), and closes it.
 */
struct making {
	struct batch *batch;
	uint32_t *taken;
	int made;
};

static void add_making(struct making *m)
{
	const struct timespec limit = { .tv_nsec = TAKE_MS * 1000L * 1000 };
	struct batch *b = m->batch;
	raddr_t word, at;

	batch_reserve(b, 3, sizeof(limit) + 64);
	word = batch_space(b, sizeof(*m->taken), &m->taken);
	at = batch_data(b, &limit, sizeof(limit));
	m->made = batch_call(b, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	batch_add(b, SYS_futex, AGENT_OP_ALWAYS, (const uint64_t[6]) { word, FUTEX_WAIT, 0, at });
	batch_add(b, SYS_close, AGENT_OP_ALWAYS, (const uint64_t[6]) { 0 });
	batch_ref(b, 0, m->made);
}

/* The number of the descriptor while the agent waits; a negative errno: it could not be made. */
static int64_t await_made(const struct making *m)
{
	uint64_t until = clock_now_us() + TAKE_MS * 1000;
	int64_t ret = -ECANCELED;

	while (ret == -ECANCELED && clock_now_us() < until) {
		sched_yield();
		ret = batch_ret(m->batch, m->made);
	}
	return ret;
}

static void say_taken(const struct making *m)
{
	__atomic_store_n(m->taken, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, m->taken, FUTEX_WAKE, 1, NULL, NULL, 0);
}

bool track_is_uffd(int fd)
{
	char path[40], target[40];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	target[MAX(n, 0)] = '\0';
	return !strcmp(target, "anon_inode:[userfaultfd]");
}

static int enable_async(int fd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_TRACK_FEATURES };

	return ioctl(fd, UFFDIO_API, &api) ? -errno : 0;
}

/* A negative errno, not logged. */
static int take_uffd(struct task *t, int *fdp)
{
	struct making m = { .batch = agent_batch(t->threads[0].dump->agent, "a userfaultfd, to have writes noted") };
	_cleanup_close_ int fd = -1;
	int64_t number;
	int err, ran;

	add_making(&m);
	batch_start(m.batch);
	number = await_made(&m);
	fault_point("userfaultfd made");
	fd = number < 0 ? (int)number : (int)syscall(SYS_pidfd_getfd, t->dump->pidfd, (int)number, 0);
	err = fd < 0 ? (number < 0 ? (int)number : -errno) : 0;
	say_taken(&m);
	ran = agent_wait(t->threads[0].dump->agent);
	if (ran)
		return ran;
	if (!err && !track_is_uffd(fd))
		err = -EBADF;
	err = err ?: enable_async(fd);
	if (!err)
		*fdp = move_fd(&fd);
	return err;
}

/* ---- what is not tracked ---- */

/* A ring in the program's own memory (IORING_SETUP_NO_MMAP) is no mapping, but has a descriptor. */
static bool has_ring(struct dump *d, const struct task *t)
{
	int *fds = NULL;
	size_t n = 0;

	if (proc_list_numbers(t->dump->proc_fd, "fd", d->arena, &fds, &n))
		return true;
	for (size_t i = 0; i < n; i++) {
		char path[24], target[24];

		snprintf(path, sizeof(path), "fd/%d", fds[i]);
		if (readlinkat(t->dump->proc_fd, path, target, sizeof(target)) == RING_LEN &&
		    !memcmp(target, RING, RING_LEN))
			return true;
	}
	return false;
}

/* Of all tasks that share the memory of t. */
static bool any_has_ring(struct dump *d, const struct task *t)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *u = d->tree.tasks[i];

		if (u->state != TASK_DEAD && tree_first_vm(&d->tree, u) == t && has_ring(d, u))
			return true;
	}
	return false;
}

/*
 * What io_uring or asynchronous I/O reads goes into pages that were looked up when it began, behind the page table in
 * which writes are noted; and registered buffers are held for ever (VmPin).
 */
static bool has_kernel_writers(struct dump *d, const struct task *t)
{
	_cleanup_free_ char *status = NULL;
	const char *pinned;

	for (size_t i = 0; i < t->dump->maps.n; i++)
		if (!strncmp(t->dump->maps.v[i].name, "/[aio]", 6) || !strncmp(t->dump->maps.v[i].name, RING, RING_LEN))
			return true;
	if (any_has_ring(d, t) || proc_read(t->dump->proc_fd, "status", &status, NULL))
		return true;
	pinned = strstr(status, "\nVmPin:");
	return pinned && strtoull(pinned + strlen("\nVmPin:"), NULL, 10);
}

/* The one of the dump before is as good. */
static bool has_kept_one(struct track_state *s, const struct task *t)
{
	const struct track_task *one = track_task(s, NULL, t);

	return one && one->uffd >= 0;
}

static void give_up_kept(struct track_state *s, const struct task *t)
{
	struct track_task *one = track_task(s, NULL, t);

	if (one) {
		cleanup_close(&one->uffd);
		one->ours = (struct ranges) { 0 };
	}
}

int track_inside(struct dump *d, struct task *t)
{
	struct track_state *s = dump_state(d, &track_subsys);
	int err, uffd = -1;

	if (s->sock < 0 || tree_first_vm(&d->tree, t) != t)
		return 0;
	if (has_kernel_writers(d, t)) {
		log_info("%s: has asynchronous I/O, which writes past the page table: it is not tracked", task_name(t));
		give_up_kept(s, t);
		return 0;
	}
	if (has_kept_one(s, t))
		return 0;
	err = take_uffd(t, &uffd);
	if (err == -ESRCH)
		return log_errno(err, "%s: a userfaultfd, to have writes noted", task_name(t));
	if (err)
		log_warn("%s: its memory cannot be tracked (userfaultfd(2) in it, with UFFD_FEATURE_WP_ASYNC: %s): the "
		         "next dump stores all of it",
		         task_name(t), strerror(-err));
	else
		track_task(s, d->arena, t)->uffd = uffd;
	return 0;
}

/* ---- arming ---- */

/* Marks that are left from another userfaultfd (mremap(2) kept them before Linux 6.14) would let writes through. */
static int clear_marks(int uffd, const struct proc_map *m)
{
	struct uffdio_writeprotect none = { .range = { m->start, m->end - m->start } };

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &none) ? -errno : 0;
}

int track_register(int uffd, const struct proc_map *m)
{
	struct uffdio_register reg = { .range = { m->start, m->end - m->start }, .mode = UFFDIO_REGISTER_MODE_WP };

	return ioctl(uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

/*
 * Marks what was written to; everything, where the mapping was not watched. A negative errno: the mapping is not
 * tracked (it has another userfaultfd, or is of a kind that cannot have one).
 */
static int arm_map(int uffd, bool was_watched, int pagemap, const struct proc_map *m)
{
	/*
	 * Only what is there: what fills a hole comes without a mark then. So regions are asked for, though nobody
	 * reads them: without, the kernel marks the holes as well (linux/fs/proc/task_mmu.c, "Fast path").
	 */
	struct page_region regions[REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = m->start,
		.end = m->end,
		.vec = (uintptr_t)regions,
		.vec_len = REGIONS,
		.category_mask = PAGE_IS_WRITTEN,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int err = was_watched ? 0 : track_register(uffd, m) ?: clear_marks(uffd, m);

	while (!err && arg.start < m->end) {
		if (ioctl(pagemap, PAGEMAP_SCAN, &arg) < 0)
			return -errno;
		if (arg.walk_end <= arg.start)
			return -EBADMSG;
		arg.start = arg.walk_end;
	}
	return err;
}

static int hand_over(struct dump *d, struct track_state *s, const struct task *t, int uffd, int pagemap)
{
	const int fds[TRACKER_FDS] = { uffd, t->dump->pidfd, pagemap };
	struct tracked one = { .pid = t->pid, .start_time = t->dump->stat ? t->dump->stat->start_time : 0 };
	int err = tracker_add(s->sock, fds);

	if (!err)
		arena_push(d->arena, &s->armed, &s->n_armed, one);
	return err;
}

/* What is not armed is stored in full by the next dump, since it has no marks. */
int track_arm(struct dump *d, const struct task *t)
{
	struct track_state *s = dump_state(d, &track_subsys);
	struct track_task *one = track_task(s, NULL, t);
	_cleanup_close_ int pagemap = -1;
	size_t at = 0;
	int err;

	if (s->sock < 0 || !one || one->uffd < 0)
		return 0;
	pagemap = openat(t->dump->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return log_errno(-errno, "%s: open of /proc/%d/pagemap", task_name(t), t->pid);
	for (size_t i = 0; i < t->dump->maps.n; i++) {
		const struct proc_map *m = &t->dump->maps.v[i];

		err = track_is_able(m) ? arm_map(one->uffd, track_is_ours(one, &at, m), pagemap, m) : 0;
		if (err)
			log_debug("%s: mapping %" PRIx64 "-%" PRIx64
			          " is not tracked: UFFDIO_REGISTER, PAGEMAP_SCAN: %s",
			          task_name(t), m->start, m->end, strerror(-err));
	}
	fault_point("armed");
	if (hand_over(d, s, t, one->uffd, pagemap))
		log_warn("%s: its memory is not tracked: the next dump stores all of it", task_name(t));
	cleanup_close(&one->uffd);
	return 0;
}

void track_committed(struct dump *d)
{
	struct track_state *s = dump_state(d, &track_subsys);
	pid_t pid;

	if (s->sock < 0 || !s->n_armed)
		return;
	if (tracker_let_go(s->sock, d->run_id, s->armed, s->n_armed, &pid))
		log_warn("memory is not tracked: the next dump stores all of it");
	else
		log_info("writes to the memory of %zu tasks are noted from here on; " TRACKER_NAME
		         " (pid %d) keeps that up until the next dump, or until it is killed",
		         s->n_armed, pid);
	fault_point("tracker let go");
}
