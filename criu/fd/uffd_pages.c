/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages of memory that userfaultfd watches: which are there, and which are write-protected, by /proc/PID/pagemap. None
 * is touched: a page that is missing would be waited for, and who brings it stands still.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "fd/uffd.h"
#include "lib/io.h"
#include "lib/log.h"
#include "uapi/madvise.h"
#include "uapi/pagemap.h"

#define ENTRIES 4096U

/* ---- dump ---- */

/* UFFD_*, or a negative errno: the kernel does not say. */
static int state_of(uint64_t entry)
{
	int wp = entry & PM_UFFD_WP ? UFFD_WP : 0;

	if (entry & PM_PRESENT || !(entry & PM_SWAP))
		return entry & PM_PRESENT ? UFFD_PRESENT | wp : 0;
	if (!(entry & PM_PFN))
		return -EPERM;
	switch (entry & PM_PFN) {
	case PM_MARK_WP:
		return UFFD_WP;
	case PM_MARK_POISON:
		return UFFD_POISONED;
	case PM_MARK_GUARD:
		return UFFD_PRESENT; /* not missing: a fault there is a signal */
	default:
		return UFFD_PRESENT | wp;
	}
}

static void add_state(struct dump *d, UffdFileEntry *m, const UffdRange *range, uint64_t at, uint32_t state)
{
	UffdPages *last = m->n_pages ? m->pages[m->n_pages - 1] : NULL, *p;

	if (last && last->end == at && at > range->start && last->state == state) {
		last->end += PAGE_SIZE;
		return;
	}
	p = arena_msg(d->arena, UffdPages, uffd_pages);
	p->start = at;
	p->end = at + PAGE_SIZE;
	p->state = state;
	arena_push(d->arena, &m->pages, &m->n_pages, p);
}

/* Entries of a pagemap from one address on, up to `end`, ENTRIES at most. How many, or a negative errno (logged). */
static ssize_t read_entries(const struct task *t, int fd, uint64_t at, uint64_t end, uint64_t *entry)
{
	size_t want = MIN(ENTRIES, (end - at) / PAGE_SIZE);
	ssize_t n = io_pread_all(fd, entry, want * sizeof(*entry), (off_t)(at / PAGE_SIZE * sizeof(*entry)));

	if (n != (ssize_t)(want * sizeof(*entry)))
		return log_errno(n < 0 ? (int)n : -EBADMSG, "%s: pread of /proc/%d/pagemap", task_name(t), t->pid);
	return (ssize_t)want;
}

int uffd_scan(struct dump *d, struct uffd *u, const UffdRange *range)
{
	_cleanup_close_ int fd = openat(u->owner->dump->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint64_t *entry = malloc(ENTRIES * sizeof(*entry));

	if (fd < 0 || !entry)
		return log_errno(fd < 0 ? -errno : -ENOMEM, "%s: open of /proc/%d/pagemap", task_name(u->owner),
		                 u->owner->pid);
	for (uint64_t at = range->start; at < range->end;) {
		ssize_t n = read_entries(u->owner, fd, at, range->end, entry);

		if (n < 0)
			return (int)n;
		for (ssize_t i = 0; i < n; i++, at += PAGE_SIZE) {
			int state = state_of(entry[i]);

			if (state < 0)
				return log_refusal(-EOPNOTSUPP,
				                   "%s: whether the page at %" PRIx64
				                   ", which userfaultfd watches, is in "
				                   "swap or missing is shown to CAP_SYS_ADMIN alone: dump as root",
				                   task_name(u->owner), at);
			if (state)
				add_state(d, u->msg, range, at, (uint32_t)state);
		}
	}
	return 0;
}

/* ---- restore ---- */

static bool is_plain_memory(const struct task *t, const UffdRange *range)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (v->end > range->start && v->start < range->end &&
		    (!(v->status & VMA_ANON_PRIVATE) || v->flags & MAP_HUGETLB))
			return false;
	}
	return true;
}

/* Huge pages and locks fill what lies between pages. */
int uffd_drop_missing(struct task *t, const UffdFileEntry *m)
{
	struct batch *b = agent_batch(t->restore->agent, "pages that userfaultfd has to bring");
	size_t k = 0;

	for (size_t i = 0; i < m->n_ranges; i++) {
		const UffdRange *range = m->ranges[i];
		uint64_t at = range->start;

		while (k < m->n_pages && m->pages[k]->end <= at)
			k++;
		if (!is_plain_memory(t, range))
			continue;
		while (at < range->end) {
			uint64_t next = k < m->n_pages ? MIN(m->pages[k]->start, range->end) : range->end;

			if (next > at) { /* the first is for kernels without the second */
				batch_ask(b, SYS_madvise, at, next - at, MADV_DONTNEED);
				batch_ask(b, SYS_madvise, at, next - at, MADV_DONTNEED_LOCKED);
			}
			at = next;
			if (k < m->n_pages && at == m->pages[k]->start)
				at = m->pages[k++]->end;
		}
	}
	return batch_run(b);
}

/* Pages of the object that were in the page table; some may be there already, where it stops. */
static int map_pages(int fd, uint64_t at, uint64_t end)
{
	while (at < end) {
		struct uffdio_continue cont = { .range = { at, end - at }, .mode = UFFDIO_CONTINUE_MODE_DONTWAKE };

		if (!ioctl(fd, UFFDIO_CONTINUE, &cont))
			return 0;
		if (errno != EEXIST && errno != EAGAIN)
			return log_errno(-errno, "ioctl(UFFDIO_CONTINUE) at %" PRIx64, at);
		at += cont.mapped > 0 ? (uint64_t)cont.mapped : PAGE_SIZE;
	}
	return 0;
}

static int set_state(int fd, const UffdPages *p, uint32_t mode)
{
	struct uffdio_range range = { p->start, p->end - p->start };
	struct uffdio_writeprotect wp = { .range = range, .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct uffdio_poison poison = { .range = range };
	int err = 0;

	if (p->state & UFFD_POISONED)
		return ioctl(fd, UFFDIO_POISON, &poison) ? log_errno(-errno, "ioctl(UFFDIO_POISON)") : 0;
	if (p->state & UFFD_PRESENT && mode & UFFDIO_REGISTER_MODE_MINOR)
		err = map_pages(fd, p->start, p->end);
	if (!err && p->state & UFFD_WP && ioctl(fd, UFFDIO_WRITEPROTECT, &wp))
		return log_errno(-errno, "ioctl(UFFDIO_WRITEPROTECT)");
	return err;
}

/* From here on none comes. What is there now, and was missing, has come with a huge page, or stayed locked. */
static int check_missing(const struct task *t, const UffdFileEntry *m, const UffdRange *range)
{
	_cleanup_free_ uint64_t *entry = malloc(ENTRIES * sizeof(*entry));
	_cleanup_close_ int fd = -1;
	char path[40];
	size_t k = 0;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", t->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !entry)
		return log_errno(fd < 0 ? -errno : -ENOMEM, "open of %s", path);
	for (uint64_t at = range->start; at < range->end;) {
		ssize_t n = read_entries(t, fd, at, range->end, entry);

		if (n < 0)
			return (int)n;
		for (ssize_t i = 0; i < n; i++, at += PAGE_SIZE) {
			while (k < m->n_pages && m->pages[k]->end <= at)
				k++;
			if (entry[i] & PM_PRESENT && (k == m->n_pages || m->pages[k]->start > at))
				return log_errno(-EAGAIN,
				                 "%s: the page at %" PRIx64
				                 ", which userfaultfd has to bring, is there: "
				                 "restore once more, or without transparent huge pages",
				                 task_name(t), at);
		}
	}
	return 0;
}

int uffd_register(const UffdFileEntry *m, const struct task *t, int fd)
{
	size_t k = 0;
	int err = 0;

	for (size_t i = 0; i < m->n_ranges; i++) {
		const UffdRange *v = m->ranges[i];
		struct uffdio_register reg = { .range = { v->start, v->end - v->start }, .mode = v->mode };

		if (ioctl(fd, UFFDIO_REGISTER, &reg))
			return log_errno(-errno, "%s: ioctl(UFFDIO_REGISTER) of %" PRIx64 "-%" PRIx64 " with mode %x",
			                 task_name(t), v->start, v->end, v->mode);
		if (v->mode & UFFDIO_REGISTER_MODE_MISSING && is_plain_memory(t, v))
			err = check_missing(t, m, v);
		for (; !err && k < m->n_pages && m->pages[k]->start < v->end; k++)
			err = set_state(fd, m->pages[k], v->mode);
		if (err)
			return log_errno(err, "%s: memory %" PRIx64 "-%" PRIx64 " that userfaultfd watches",
			                 task_name(t), v->start, v->end);
	}
	return 0;
}
