/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/guard.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "lib/io.h"
#include "lib/log.h"
#include "tree/subsys.h"
#include "uapi/madvise.h"
#include "uapi/map_flags.h"
#include "uapi/pagemap.h"

extern const struct subsys guard_subsys;

/* ---- dump ---- */

/* Whether VmFlags of smaps tell which mappings may have guard pages. */
enum flag_gu { GU_UNKNOWN, GU_SHOWN, GU_NOT_SHOWN };

struct guard_dump_state {
	enum flag_gu flag;
	bool warned;
};

void guard_note(struct dump *d, const struct task *t, raddr_t start, raddr_t end)
{
	VmaEntry *last = t->mm->n_vmas ? t->mm->vmas[t->mm->n_vmas - 1] : NULL, *v;

	if (last && last->status == VMA_GUARD && last->end == start) {
		last->end = end;
		return;
	}
	v = arena_msg(d->arena, VmaEntry, vma_entry);
	v->start = start;
	v->end = end;
	v->status = VMA_GUARD;
	v->fd = -1;
	arena_push(d->arena, &t->mm->vmas, &t->mm->n_vmas, v);
}

static int compare_starts(const void *a, const void *b)
{
	const VmaEntry *const *x = a, *const *y = b;

	return (*x)->start < (*y)->start ? -1 : (*x)->start > (*y)->start;
}

void guard_sort(struct task *t)
{
	size_t n = t->mm->n_vmas;

	while (n && t->mm->vmas[n - 1]->status == VMA_GUARD)
		n--;
	if (n < t->mm->n_vmas)
		qsort(t->mm->vmas + n, t->mm->n_vmas - n, sizeof(VmaEntry *), compare_starts);
}

/* The VmFlags of our lowest mapping, which stand in the first lines. */
static bool first_has_gu(void)
{
	_cleanup_close_ int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	char text[2048];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *flags, *gu;

	if (n <= 0)
		return false;
	text[n] = 0;
	flags = strstr(text, "VmFlags:");
	gu = flags ? strstr(flags, " gu ") : NULL;
	return gu && gu < strchrnul(flags, '\n');
}

/* A kernel without guard pages has no mapping that may have some, which is all that is asked for. */
static enum flag_gu ask_kernel(void)
{
	char *lowest = (char *)(64UL << 10); /* vm.mmap_min_addr */
	char *p = mmap(lowest, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	enum flag_gu flag = GU_NOT_SHOWN;

	if (p == MAP_FAILED)
		return flag;
	if (p == lowest && (madvise(p, PAGE_SIZE, MADV_GUARD_INSTALL) || first_has_gu()))
		flag = GU_SHOWN;
	munmap(p, PAGE_SIZE);
	return flag;
}

bool guard_may_be_in(struct dump *d, const struct vma *v)
{
	struct guard_dump_state *s = dump_state(d, &guard_subsys);

	if (v->pages != VMA_PAGES_NONE || v->entry->guarded)
		return v->entry->guarded;
	if (s->flag == GU_UNKNOWN)
		s->flag = ask_kernel();
	return s->flag == GU_NOT_SHOWN;
}

bool guard_is_shown(uint64_t entry)
{
	return entry & PM_GUARD || ((entry & (PM_SWAP | PM_PRESENT)) == PM_SWAP && (entry & PM_PFN) == PM_MARK_GUARD);
}

int guard_by_reading(const struct task *t, raddr_t at)
{
	_cleanup_close_ int mem = -1;
	char byte, path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", t->dump->copy ?: t->pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0)
		return log_errno(-errno, "%s: open of %s", task_name(t), path);
	return io_pread_all(mem, &byte, 1, (off_t)at) != 1;
}

/* ---- restore ---- */

/* Whether the kernel can make guard pages: in private memory without a file, and in other memory (Linux 6.15). */
struct guard_restore_state {
	bool asked[2];
	int err[2];
};

const struct subsys guard_subsys = {
	.name = "guard pages",
	.state = { sizeof(struct guard_dump_state), sizeof(struct guard_restore_state) },
};

int guard_take(struct restore *r, const struct task *t, struct task_mm *m)
{
	MmEntry *mm = t->mm;
	size_t n = 0;

	for (size_t i = 0; i < mm->n_vmas; i++) {
		VmaEntry *v = mm->vmas[i];

		if (!(v->status & VMA_GUARD)) {
			mm->vmas[n++] = v;
			continue;
		}
		if (v->start % PAGE_SIZE || v->end % PAGE_SIZE || v->start >= v->end || v->status != VMA_GUARD)
			return vma_damaged(t, v, "of guard pages is invalid");
		if (m->guards.n && v->start < m->guards.r[m->guards.n - 1].end)
			return vma_damaged(t, v, "of guard pages is out of order");
		ranges_push(r->arena, &m->guards, v->start, v->end);
	}
	mm->n_vmas = n;
	return 0;
}

static int try_guard(struct restore *r, bool other)
{
	struct guard_restore_state *s = restore_state(r, &guard_subsys);
	char *p;

	if (s->asked[other])
		return s->err[other];
	s->asked[other] = true;
	p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, (other ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || madvise(p, PAGE_SIZE, MADV_GUARD_INSTALL))
		s->err[other] = -errno;
	if (p != MAP_FAILED)
		munmap(p, PAGE_SIZE);
	return s->err[other];
}

/* What mappings there are for guard pages, and whether the kernel can put some into those of each kind that have some.
 */
static int check_kernel(struct restore *r, const struct task *t, const struct task_mm *m, struct ranges *room)
{
	size_t k = 0;

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		int err;

		if (vma_is_kernels(v) || v->flags & MAP_HUGETLB)
			continue;
		ranges_push(r->arena, room, v->start, v->end);
		while (k < m->guards.n && m->guards.r[k].end <= v->start)
			k++;
		if (k == m->guards.n || m->guards.r[k].start >= v->end)
			continue;
		err = try_guard(r, !(v->status & VMA_ANON_PRIVATE));
		if (err)
			return log_refusal(
			    err,
			    "%s: mapping %" PRIx64 "-%" PRIx64 " has guard pages (MADV_GUARD_INSTALL), "
			    "which this kernel cannot make there (%s): restore on Linux 6.13 or newer, of "
			    "mappings of files and shared memory on 6.15",
			    task_name(t), v->start, v->end, strerror(-err));
	}
	return 0;
}

int guard_check(struct restore *r, const struct task *t, const struct task_mm *m)
{
	struct ranges room = { 0 }, outside;
	int err = m->guards.n ? check_kernel(r, t, m, &room) : 0;

	if (err)
		return err;
	outside = ranges_without(r->arena, &m->guards, &room);
	if (outside.n)
		return log_errno(-EBADMSG,
		                 "%s: mm-%d.img has guard pages at %" PRIx64 ", where no mapping can have some",
		                 task_name(t), t->vpid.v, outside.r[0].start);
	return 0;
}

/* The guard pages that a copy has from its parent. */
static struct ranges inherited_guards(struct restore *r, const struct task *t, const struct task_mm *m)
{
	const struct task_mm *p = t->restore->copied ? task_mm(r, t->parent) : NULL;
	struct ranges kept = { 0 };

	if (!p || !p->guards.n)
		return kept;
	for (size_t i = 0; i < m->n_segs; i++)
		if (m->segs[i].kind == SEG_KEEP)
			ranges_push(r->arena, &kept, m->segs[i].start, m->segs[i].end);
	return ranges_common(r->arena, &p->guards, &kept);
}

void guard_remove_inherited(struct restore *r, struct batch *b, const struct task *t, const struct task_mm *m)
{
	struct ranges had = inherited_guards(r, t, m), gone = ranges_without(r->arena, &had, &m->guards);

	for (size_t i = 0; i < gone.n; i++)
		batch_call(b, SYS_madvise, gone.r[i].start, gone.r[i].end - gone.r[i].start, MADV_GUARD_REMOVE);
}

/* In a mapping that has none now, but had: one comes and goes. Before it is filled. */
int guard_mark(struct restore *r, struct task *t, const struct task_mm *m)
{
	struct batch *b = agent_batch(t->restore->agent, "marks of guard pages");
	const VmaEntry *last = NULL;
	size_t k = 0;

	for (size_t i = 0; i < m->n_segs; i++) {
		const struct segment *s = &m->segs[i];

		while (k < m->guards.n && m->guards.r[k].end <= s->vma->start)
			k++;
		if (!s->vma->guarded || s->kind != SEG_MAP || s->vma == last ||
		    (k < m->guards.n && m->guards.r[k].start < s->vma->end))
			continue;
		batch_ask(b, SYS_madvise, s->start, PAGE_SIZE, MADV_GUARD_INSTALL);
		batch_ask(b, SYS_madvise, s->start, PAGE_SIZE, MADV_GUARD_REMOVE);
		last = s->vma;
	}
	return batch_run(b);
}

int guard_install(struct restore *r, struct task *t, const struct task_mm *m)
{
	struct ranges had, new;
	struct batch *b;

	if (!m->guards.n)
		return 0;
	had = inherited_guards(r, t, m);
	new = ranges_without(r->arena, &m->guards, &had);
	b = agent_batch(t->restore->agent, "its guard pages");
	for (size_t i = 0; i < new.n; i++)
		batch_call(b, SYS_madvise, new.r[i].start, new.r[i].end - new.r[i].start, MADV_GUARD_INSTALL);
	return batch_run(b);
}

/* The call fails at a guard page, when it has noted the lock: so guard pages have calls of their own. */
void guard_lock_around(struct arena *a, struct batch *b, const struct task_mm *m, const VmaEntry *v, unsigned flags)
{
	struct range all = { v->start, v->end };
	struct ranges mapping = { &all, 1 };
	struct ranges guards = ranges_common(a, &mapping, &m->guards);
	struct ranges rest = ranges_without(a, &mapping, &guards);

	for (size_t i = 0; i < rest.n; i++)
		batch_add(b, SYS_mlock2, v->prot ? AGENT_OP_STOP : 0,
		          (const uint64_t[6]) { rest.r[i].start, rest.r[i].end - rest.r[i].start, flags });
	for (size_t i = 0; i < guards.n; i++)
		batch_ask(b, SYS_mlock2, guards.r[i].start, guards.r[i].end - guards.r[i].start, flags);
}
