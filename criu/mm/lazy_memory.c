/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which memory comes later is decided with the plan of pages. It stays empty, but not watched, until all threads stand
 * at their last instruction: until then criu and the kernel touch tasks' memory for reasons of their own, and would
 * wait. What they do touch is filled at once; a page that is there in the end, all the same, is an error.
 */
#include "mm/lazy_memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/take_fd.h"
#include "files/files.h"
#include "lazy/lazy.h"
#include "lib/fault.h"
#include "lib/io.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/thp.h"
#include "mm/vma_advice.h"
#include "tree/kind.h"
#include "tree/subsys.h"
#include "uapi/pagemap.h"
#include "uffd.pb-c.h"

/* A mapping with less comes at once: to wait for it would cost more. */
#define WORTH_PAGES   ((UINT64_C(1) << 20) / PAGE_SIZE)
#define ENTRIES       4096U
/* What a page that is touched may bring with it: a huge page. */
#define TOUCHED_BLOCK HUGE_SIZE

extern const struct subsys lazy_memory_subsys;

struct lazy_memory {
	int fd; /* the userfaultfd, ours; -1: the daemon has it alone */
	struct page_run *runs;
	size_t n_runs;
	uint64_t n_pages;
};

struct lazy_state {
	bool connected;
	struct lazy_daemon daemon;
	int forward; /* the guardian's entry: tell_in_place() */
};

/* ---- which memory ---- */

static int is_owner(struct restore *r, const void *msg, void *arg)
{
	const UffdFileEntry *m = msg;
	const struct task *t = arg;

	return (int32_t)m->pid == t->vpid.v;
}

/* Whether the program watches memory of its own. */
static bool watches_itself(struct restore *r, const struct task *t)
{
	for (const struct fd_kind *const *k = fd_kinds; *k; k++)
		if ((*k)->type == FD_TYPES__UFFD)
			return files_all(r, *k, is_owner, (void *)t);
	return false;
}

/* The kernel fills these buffers while the task stands. */
static bool has_calls_in_flight(const struct task *t)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->status & (VMA_AIORING | VMA_URING))
			return true;
	return false;
}

/* A fork of a task whose pages are missing would have none of them. */
static bool has_copies(const struct restore *r, const struct task *t)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i]->parent == t && r->tree.tasks[i]->state != TASK_DEAD &&
		    mm_inherits(r, r->tree.tasks[i]))
			return true;
	return false;
}

static bool task_may_be_lazy(struct restore *r, const struct task *t, const struct task_mm *m)
{
	return r->opts->lazy_pages && !t->restore->copied && !m->pages->with_parent && !has_calls_in_flight(t) &&
	       !has_copies(r, t) && !watches_itself(r, t);
}

static bool entry_may_be_lazy(const VmaEntry *v)
{
	bool locked = v->has_locked ? v->locked : v->flags & MAP_LOCKED;

	return v->status & VMA_ANON_PRIVATE && !locked && !(v->flags & (MAP_HUGETLB | MAP_GROWSDOWN)) &&
	       !vma_advice(v, MADV_WIPEONFORK);
}

static bool mapping_may_be_lazy(const struct segment *s)
{
	return s->kind == SEG_MAP && !s->row->kernels && entry_may_be_lazy(s->vma);
}

/* Whether criu, or the kernel on its behalf, touches this block before the task runs: an area of rseq(2). */
static bool task_touches(const struct task *t, raddr_t block)
{
	for (size_t k = 0; t->state != TASK_DEAD && k < t->n_threads; k++) {
		const RseqEntry *e = t->threads[k].core->thread_core->rseq_entry;

		if (e && e->rseq_abi_pointer < block + TOUCHED_BLOCK && e->rseq_abi_pointer + e->rseq_abi_size > block)
			return true;
	}
	return false;
}

static bool is_touched(const struct restore *r, const struct task_mm *m, raddr_t block)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		if (task_mm(r, r->tree.tasks[i]) == m && task_touches(r->tree.tasks[i], block))
			return true;
	return false;
}

/* ---- dump ---- */

/* What forks share is known by what smaps says. */
bool lazy_dump_task(struct dump *d, struct task *t)
{
	const struct vma_list *list = t->dump->vmas;

	if (!d->opts->lazy_pages)
		return false;
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].forked || list->v[i].watched || list->v[i].entry->status & (VMA_AIORING | VMA_URING))
			return false;
	return true;
}

bool lazy_dump_mapping(const struct vma *v)
{
	return v->pages == VMA_PAGES_ANON && v->entry->end - v->entry->start >= WORTH_PAGES * PAGE_SIZE &&
	       !vma_kind_of(v->entry)->kernels && entry_may_be_lazy(v->entry);
}

bool lazy_dump_run(const struct dump *d, const struct task *t, const struct page_run *run)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (tree_first_vm(&d->tree, d->tree.tasks[i]) == t &&
		    task_touches(d->tree.tasks[i], round_down(run->at, TOUCHED_BLOCK)))
			return false;
	return true;
}

/* ---- which of it comes later ---- */

struct split {
	struct page_run *now, *later; /* n_* of them */
	size_t n_now, n_later;
};

static void add_later(struct arena *a, struct split *s, const struct page_run *part)
{
	struct page_run *last = s->n_later ? &s->later[s->n_later - 1] : NULL;

	if (last && page_run_end(last) == part->at && last->later == part->later)
		last->n += part->n;
	else
		arena_push(a, &s->later, &s->n_later, *part);
}

static void split_run(struct restore *r, const struct task_mm *m, const struct page_run *run, struct split *s)
{
	for (raddr_t at = run->at, next; at < page_run_end(run); at = next) {
		raddr_t block = round_down(at, TOUCHED_BLOCK);
		struct page_run part;

		next = MIN(block + TOUCHED_BLOCK, page_run_end(run));
		part = page_run_part(run, at, next);
		if (is_touched(r, m, block))
			arena_push(r->arena, &s->now, &s->n_now, part); /* each lies in one segment */
		else
			add_later(r->arena, s, &part);
	}
}

/* The runs of a mapping, from *k on. */
static void split_mapping(struct restore *r, struct task_mm *m, struct segment *seg, const struct page_plan *plan,
                          size_t *k, struct split *s)
{
	size_t first = *k;
	bool missing = false; /* in the checkpoint */
	uint64_t pages = 0;

	for (; *k < plan->n_runs && plan->runs[*k].at < seg->end; ++*k)
		pages += plan->runs[*k].n, missing |= plan->runs[*k].later;
	seg->lazy = (missing || pages >= WORTH_PAGES) && mapping_may_be_lazy(seg);
	for (size_t i = first; i < *k; i++) {
		if (seg->lazy)
			split_run(r, m, &plan->runs[i], s);
		else
			arena_push(r->arena, &s->now, &s->n_now, plan->runs[i]);
	}
}

/* ---- the userfaultfd ---- */

/* -EPERM: the task may have none that criu could serve. */
static int make_uffd(const struct task *t)
{
	struct batch *b = agent_batch(t->restore->agent, "making a userfaultfd");
	int made = batch_ask(b, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), err = batch_run(b);
	int64_t number = err ?: batch_ret(b, made);
	struct uffdio_api api = { .api = UFFD_API, .features = LAZY_FEATURES };
	_cleanup_close_ int fd = -1;

	if (number < 0)
		return number == -EPERM ? -EPERM : log_errno((int)number, "%s: userfaultfd", task_name(t));
	fd = agent_take_fd(t, (int)number, "its userfaultfd");
	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api))
		return errno == EPERM ? -EPERM : log_errno(-errno, "%s: ioctl(UFFDIO_API)", task_name(t));
	return move_fd(&fd);
}

static void take_back(struct task_mm *m)
{
	for (size_t i = 0; i < m->n_segs; i++)
		m->segs[i].lazy = false;
}

/* What is to come at once has to be in the checkpoint. */
static int check_plan(const struct task *t, const struct page_plan *plan)
{
	for (size_t i = 0; i < plan->n_runs; i++)
		if (plan->runs[i].later)
			return log_errno(-EOPNOTSUPP,
			                 "%s: its pages at %" PRIx64
			                 " have to be there before it runs, and are not in the "
			                 "checkpoint (dump --lazy-pages): dump without it",
			                 task_name(t), plan->runs[i].at);
	return 0;
}

static int choose(struct restore *r, const struct task *t, struct task_mm *m, struct page_plan *plan)
{
	struct split s = { 0 };
	size_t k = 0;
	int fd;

	if (!task_may_be_lazy(r, t, m))
		return 0;
	for (size_t i = 0; i < m->n_segs; i++)
		split_mapping(r, m, &m->segs[i], plan, &k, &s);
	if (!s.n_later) {
		take_back(m);
		return 0;
	}
	fd = make_uffd(t);
	if (fd == -EPERM) {
		log_warn("%s: its memory is not left for later: userfaultfd with faults of the kernel and with forks "
		         "takes CAP_SYS_PTRACE outside of user namespaces",
		         task_name(t));
		take_back(m);
		return 0;
	}
	if (fd < 0)
		return fd;
	m->lazy = arena_new_of(r->arena, struct lazy_memory);
	*m->lazy = (struct lazy_memory) { .fd = fd, .runs = s.later, .n_runs = s.n_later };
	for (size_t i = 0; i < s.n_later; i++)
		m->lazy->n_pages += s.later[i].n;
	plan->runs = s.now;
	plan->n_runs = s.n_now;
	return 0;
}

int lazy_memory_choose(struct restore *r, const struct task *t, struct task_mm *m, struct page_plan *plan)
{
	int err = choose(r, t, m, plan);

	return err ?: check_plan(t, plan);
}

/* ---- the daemon ---- */

static int lazy_before_threads(struct restore *r)
{
	struct lazy_state *s = restore_state(r, &lazy_memory_subsys);
	int err = r->opts->lazy_pages ? lazy_connect(r->opts, &s->daemon) : 0;

	s->connected = r->opts->lazy_pages && !err;
	return err;
}

static int check_run_missing(const struct task *t, int pagemap, const struct page_run *run, uint64_t *entry)
{
	for (raddr_t at = run->at; at < page_run_end(run);) {
		size_t want = MIN(ENTRIES, (page_run_end(run) - at) / PAGE_SIZE);
		ssize_t n =
		    io_pread_all(pagemap, entry, want * sizeof(*entry), (off_t)(at / PAGE_SIZE * sizeof(*entry)));

		if (n != (ssize_t)(want * sizeof(*entry)))
			return log_errno(n < 0 ? (int)n : -EBADMSG, "%s: pread of its pagemap", task_name(t));
		for (size_t i = 0; i < want; i++, at += PAGE_SIZE)
			if (entry[i] & (PM_PRESENT | PM_SWAP))
				return log_errno(-EBUSY,
				                 "%s: its page at %" PRIx64
				                 " was touched before it had come: restore without --lazy-pages",
				                 task_name(t), at);
	}
	return 0;
}

static int check_missing(const struct task *t, const struct lazy_memory *lazy)
{
	_cleanup_free_ uint64_t *entry = malloc(ENTRIES * sizeof(*entry));
	_cleanup_close_ int fd = -1;
	char path[40];
	int err = 0;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", t->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !entry)
		return log_errno(fd < 0 ? -errno : -ENOMEM, "open of %s", path);
	for (size_t i = 0; !err && i < lazy->n_runs; i++)
		err = check_run_missing(t, fd, &lazy->runs[i], entry);
	return err;
}

/* Whole mappings: else they would be cut in pieces. */
static int watch(const struct task *t, const struct task_mm *m)
{
	for (size_t i = 0; i < m->n_segs; i++) {
		const struct segment *s = &m->segs[i];
		struct uffdio_register reg = { .range = { s->start, s->end - s->start },
			                       .mode = UFFDIO_REGISTER_MODE_MISSING };

		if (s->lazy && ioctl(m->lazy->fd, UFFDIO_REGISTER, &reg))
			return log_errno(-errno, "%s: ioctl(UFFDIO_REGISTER) of %" PRIx64 "-%" PRIx64, task_name(t),
			                 s->start, s->end);
	}
	return 0;
}

/* The daemon wants to hear of every task. */
static int hand_over(struct restore *r, const struct lazy_daemon *daemon, const struct task *t)
{
	bool first = t->state != TASK_DEAD && tree_first_vm(&r->tree, t) == t;
	const struct task_mm *m = first ? t->restore->mm : NULL;
	int err;

	if (!m || !m->lazy)
		return lazy_send_task(daemon, t->vpid, -1);
	err = check_missing(t, m->lazy) ?: watch(t, m);
	fault_point("missing memory is watched");
	if (!err)
		log_info("%s: %" PRIu64 " pages come later", task_name(t), m->lazy->n_pages);
	return err ?: lazy_send_task(daemon, t->vpid, m->lazy->fd);
}

/* A criu that is killed right after the commit has not told: without a word the tree would run on at both ends. */
static int tell_in_place(const struct undo *u)
{
	lazy_tell_committed(&(struct lazy_daemon) { .sock = u->fd });
	return 0;
}

static int note_telling(struct restore *r, struct lazy_state *s)
{
	const struct undo u = { .type = FORWARD_CALL, .call = tell_in_place, .fd = s->daemon.sock };

	s->forward = guardian_note(r->guardian, &u);
	return MIN(s->forward, 0);
}

static int lazy_all_standing(struct restore *r)
{
	struct lazy_state *s = restore_state(r, &lazy_memory_subsys);
	int err = 0;

	if (!s->connected)
		return 0;
	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		err = hand_over(r, &s->daemon, r->tree.tasks[i]);
	if (!err)
		err = lazy_finish(&s->daemon);
	fault_point("the lazy-pages daemon has the tasks");
	return err ?: note_telling(r, s);
}

static void lazy_committed(struct restore *r)
{
	const struct lazy_state *s = restore_state(r, &lazy_memory_subsys);

	if (!s->connected)
		return;
	lazy_tell_committed(&s->daemon);
	guardian_drop(r->guardian, s->forward);
}

static void lazy_leave(struct restore *r)
{
	struct lazy_state *s = restore_state(r, &lazy_memory_subsys);

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->restore && t->restore->mm && t->restore->mm->lazy)
			cleanup_close(&t->restore->mm->lazy->fd);
	}
	if (s->connected)
		close(s->daemon.sock);
	s->connected = false;
}

const struct subsys lazy_memory_subsys = {
	.name = "lazy memory",
	.state = { .restore = sizeof(struct lazy_state) },
	.before_threads = lazy_before_threads,
	.all_standing = lazy_all_standing,
	.committed = lazy_committed,
	.leave = lazy_leave,
};
