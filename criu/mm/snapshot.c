/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/snapshot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/hidden_copy.h"
#include "freeze/freeze.h"
#include "lib/fiber.h"
#include "lib/log.h"
#include "mm/track.h"
#include "mm/vma_advice.h"
#include "mm/vma_uprobes.h"
#include "proc/proc.h"
#include "tree/subsys.h"

extern const struct subsys snapshot_subsys;

/* Less is written within milliseconds. */
#define WORTH_A_COPY (64UL << 20)
/* What copies have not is kept in criu's memory. */
#define SAVED_MAX    (256UL << 20)
/* The first batches of calls that a copy makes are short, and more mappings would take longer than to read pages. */
#define RANGES_MAX   4096U
/* Processes that the tree may still make meanwhile. */
#define SPARE_TASKS  16U

struct snapshot_state {
	bool decided, wanted;
	struct hidden_copy **copies;
	size_t n;
	size_t wanting; /* tasks that are to have one */
};

static struct snapshot_state *state_of(struct dump *d)
{
	return dump_state(d, &snapshot_subsys);
}

static void kill_all(struct dump *d)
{
	const struct snapshot_state *s = state_of(d);

	for (size_t i = 0; i < s->n; i++)
		hidden_copy_kill(s->copies[i]);
}

/* Nothing comes from copies: a refusal where --snapshot always was said, else a line in the log. */
static int go_without(struct dump *d, const char *who, const char *why)
{
	struct snapshot_state *s = state_of(d);

	s->wanted = false;
	d->lets_run_early = false;
	kill_all(d);
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		d->tree.tasks[i]->dump->copy = 0;
	if (d->opts->snapshot == SNAPSHOT_ALWAYS)
		return log_refusal(-EOPNOTSUPP, "--snapshot always: %s%s%s; dump it with --snapshot never", who,
		                   *who ? ": " : "", why);
	log_info("memory is read while the tree stands still: %s%s%s", who, *who ? ": " : "", why);
	return 0;
}

/* ---- whether ---- */

static bool has_own_memory(struct dump *d, struct task *t)
{
	return t->state != TASK_DEAD && tree_first_vm(&d->tree, t) == t;
}

static uint64_t private_bytes(const struct task *t)
{
	_cleanup_free_ char *text = NULL;
	const char *line;

	if (proc_read_at_once(t->dump->proc_fd, "status", &text, NULL))
		return 0;
	line = strstr(text, "\nRssAnon:");
	return line ? strtoull(line + strlen("\nRssAnon:"), NULL, 10) << 10 : 0;
}

static const char *lacks_room(struct dump *d, uint64_t bytes, uint64_t tasks)
{
	struct user_threads u = { 0 };
	const char *why = NULL;

	for (size_t i = 0; !why && i < d->tree.n_tasks; i++)
		if (has_own_memory(d, d->tree.tasks[i]))
			why = snapshot_lacks_room(d->arena, d->tree.tasks[i], bytes, tasks);
	/* Where copies are a must, the tree's own processes may be refused meanwhile, and clone3 has the say. */
	for (size_t i = 0; !why && d->opts->snapshot != SNAPSHOT_ALWAYS && i < d->tree.n_tasks; i++)
		if (has_own_memory(d, d->tree.tasks[i]))
			why = snapshot_lacks_processes(d->arena, d->tree.tasks[i], tasks, &u);
	return why;
}

/* rest: what the checkpoint before does not have. */
static const char *find_reason(struct dump *d, uint64_t bytes, uint64_t rest, uint64_t tasks)
{
	const struct options *o = d->opts;
	bool always = o->snapshot == SNAPSHOT_ALWAYS;

	if (o->page_server || o->stream || o->lazy_pages)
		return "its pages go to a page server, a streamer or a lazy-pages daemon";
	if (freeze_any_was_frozen(&d->tree))
		return "its cgroup is frozen, so that it would not run on (thaw it first)";
	if (!always && rest <= WORTH_A_COPY)
		return rest < bytes ? "little of it was written to since the dump before" : "there is not much of it";
	if (!always && d->post_dump_heard)
		return "an action script or a client hears of the stage post-dump, at which the tree stands still (not "
		       "so with --snapshot always)";
	return lacks_room(d, bytes, tasks + SPARE_TASKS);
}

static int decide(struct dump *d)
{
	struct snapshot_state *s = state_of(d);
	uint64_t bytes = 0, unwritten = 0;
	const char *why;

	s->decided = true;
	if (!d->opts->leave_running || d->opts->snapshot == SNAPSHOT_NEVER)
		return 0;
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		struct task *t = d->tree.tasks[i];

		if (!has_own_memory(d, t))
			continue;
		s->wanting++;
		bytes += private_bytes(t);
		unwritten += track_unwritten(d, t) ? ranges_bytes(track_unwritten(d, t)) : 0;
	}
	why = find_reason(d, bytes, bytes - MIN(bytes, unwritten), s->wanting);
	if (why)
		return go_without(d, "", why);
	s->wanted = true;
	s->copies = arena_array(d->arena, struct hidden_copy *, s->wanting);
	log_info("memory (%" PRIu64 " MiB) is read from copies on write while the tree runs on", bytes >> 20);
	return 0;
}

/* Before the first task is entered. */
static int snapshot_look(struct dump *d, struct task *t)
{
	(void)t;
	return state_of(d)->decided ? 0 : decide(d);
}

/* ---- the copies ---- */

/* Not what a fork leaves out or empties (MADV_DONTFORK, MADV_WIPEONFORK), nor what of its pages are counted (hugetlb).
 */
bool snapshot_has(const struct vma *v)
{
	const VmaEntry *e = v->entry;

	if (v->pages != VMA_PAGES_ANON && v->pages != VMA_PAGES_COPIES)
		return false;
	/* Of code, each page is compared with its file (vma_uprobes_made_page()). */
	if (v->pages == VMA_PAGES_COPIES && (e->prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC)
		return false;
	if (!(e->status & (VMA_ANON_PRIVATE | VMA_FILE_PRIVATE)) || e->flags & MAP_HUGETLB || e->status & VMA_AIORING)
		return false;
	return !v->watched && !vma_advice(e, MADV_DONTFORK) && !vma_advice(e, MADV_WIPEONFORK);
}

/* At most so much is read while the task stands. */
static uint64_t bytes_apart(const struct vma *v)
{
	if (snapshot_has(v) || v->pages == VMA_PAGES_NONE)
		return 0;
	return v->entry->flags & MAP_HUGETLB ? v->entry->end - v->entry->start : v->anonymous;
}

static const char *cannot_be_copied(const struct task *t)
{
	const struct vma_list *list = t->dump->vmas;
	uint64_t apart = 0;

	if (t->dead_leader)
		return "its main thread has ended";
	if (vma_uprobes_were_hit(list))
		return "uprobes are in its code";
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].watched)
			return "userfaultfd watches memory of it, whose owner could be asked about a fork";
	for (size_t i = 0; i < list->n; i++)
		apart += bytes_apart(&list->v[i]);
	return apart > SAVED_MAX ? "much of it is what a fork does not copy (MADV_DONTFORK, hugetlb)" : NULL;
}

/* What is the kernel's own stays: unmapped by a 32-bit program's copy it could not even end. */
static bool is_to_go(const struct vma *v)
{
	return !snapshot_has(v) && !(v->entry->status & (VMA_VDSO | VMA_VVAR | VMA_VSYSCALL));
}

static size_t list_gone(const struct vma_list *list, struct hidden_range *gone)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n && n <= RANGES_MAX; i++) {
		const VmaEntry *e = list->v[i].entry;

		if (!is_to_go(&list->v[i]))
			continue;
		if (n && gone[n - 1].end == e->start)
			gone[n - 1].end = e->end;
		else
			gone[n++] = (struct hidden_range) { e->start, e->end };
	}
	return n;
}

/* It is the first to go where memory is short. */
static int prefer_to_kill(const struct hidden_copy *c)
{
	char path[48];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", c->pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, "1000", 4) != 4 ? -errno : 0;
}

static int copy_task(struct dump *d, struct task *t, const struct hidden_range *gone, size_t n)
{
	struct snapshot_state *s = state_of(d);
	struct hidden_copy *c = NULL;
	int err;

	fiber_hold(); /* should criu be killed, at most one copy is half made */
	err = hidden_copy_make(d, t, gone, n, &c);
	fiber_release();
	if (c)
		s->copies[s->n++] = c;
	if (!s->wanted) /* another task, whose agent worked meanwhile, can have none */
		kill_all(d);
	if (!s->wanted && (!err || err == -EAGAIN || err == -ENOMEM))
		return 0;
	if (err == -EAGAIN || err == -ENOMEM)
		return go_without(d, task_name(t),
		                  err == -EAGAIN ? "clone3: no more processes may be made (RLIMIT_NPROC, pids.max, or "
		                                   "no free pid)"
		                                 : "clone3: not enough memory");
	if (err)
		return err;
	if (prefer_to_kill(c))
		return go_without(d, task_name(t), "oom_score_adj of the copy cannot be written");
	t->dump->copy = c->pid;
	d->lets_run_early = s->n == s->wanting;
	return 0;
}

static int snapshot_inside(struct dump *d, struct task *t)
{
	_cleanup_free_ struct hidden_range *gone = NULL;
	const char *why;
	size_t n;

	if (!state_of(d)->wanted || !has_own_memory(d, t) || !t->dump->vmas || log_refusals())
		return 0;
	why = cannot_be_copied(t);
	if (why)
		return go_without(d, task_name(t), why);
	gone = calloc(RANGES_MAX + 1, sizeof(*gone));
	n = gone ? list_gone(t->dump->vmas, gone) : 0;
	if (n > RANGES_MAX)
		return go_without(d, task_name(t), "it has thousands of mappings that no copy may keep");
	return gone ? copy_task(d, t, gone, n) : log_errno(-ENOMEM, "%s: out of memory", task_name(t));
}

/* ---- their end ---- */

static void end_all(struct dump *d)
{
	struct snapshot_state *s = state_of(d);

	kill_all(d);
	while (s->n)
		hidden_copy_end(d, s->copies[--s->n]);
}

/* What was read of one that was killed in between may be wrong without an error: page tables without pages. */
int snapshot_end(struct dump *d, int err)
{
	const struct snapshot_state *s = state_of(d);

	for (size_t i = 0; i < s->n; i++)
		if (!hidden_copy_is_whole(s->copies[i]))
			err = log_errno(
			    -ESRCH,
			    "%s: the copy of its memory (pid %d) was killed (SIGKILL, or the kernel for want of "
			    "memory) before all had been read; the tree runs on; dump it again, or with --snapshot "
			    "never",
			    task_name(s->copies[i]->task), s->copies[i]->pid);
	end_all(d);
	return err;
}

const struct subsys snapshot_subsys = {
	.name = "copies of memory",
	.state = { .dump = sizeof(struct snapshot_state) },
	.look = snapshot_look,
	.inside = snapshot_inside,
	.end = end_all,
};
