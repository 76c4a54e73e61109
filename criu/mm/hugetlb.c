/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/hugetlb.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "agent/batch.h"
#include "arch_page.h"
#include "files/files.h"
#include "lib/log.h"
#include "mm/memfd_inode.h"
#include "mm/mm.h"
#include "mm/page_plan.h"
#include "mm/shmem.h"
#include "regfile.pb-c.h"
#include "tree/kind.h"
#include "tree/subsys.h"

#define MAX_SIZES 16

extern const struct subsys hugetlb_subsys;
extern const struct vma_kind hugetlb_vma_kind;

uint32_t hugetlb_size_flag(uint64_t page_size)
{
	return (uint32_t)__builtin_ctzll(page_size) << MAP_HUGE_SHIFT;
}

/* The size that is meant where flags name none. */
static uint64_t default_size(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kb = 0;
	char line[128];

	while (f && !kb && fgets(line, sizeof(line), f))
		sscanf(line, "Hugepagesize: %llu kB", &kb);
	return kb << 10;
}

uint64_t hugetlb_page_size(uint32_t flags)
{
	unsigned shift = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
	uint64_t size = shift ? UINT64_C(1) << shift : default_size();

	return size > PAGE_SIZE && size < UINT64_C(1) << 47 ? size : 0;
}

bool hugetlb_is_known(uint64_t page_size)
{
	char path[80];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB", page_size >> 10);
	return !stat(path, &st);
}

/* ---- dump ---- */

bool hugetlb_has_file(const struct stat *st, uint64_t page_size)
{
	_cleanup_close_ int fd = memfd_create("criu", MFD_CLOEXEC | MFD_HUGETLB | hugetlb_size_flag(page_size));
	struct stat own;

	return fd >= 0 && !fstat(fd, &own) && own.st_dev == st->st_dev;
}

/* The device of the kernel's own hugetlbfs, of which there is one for each size. */
struct huge_dev {
	uint64_t page_size, dev;
};

struct hugetlb_dump_state {
	struct huge_dev known[MAX_SIZES];
	size_t n;
};

bool hugetlb_is_anonymous(struct dump *d, const struct proc_map *m)
{
	struct hugetlb_dump_state *s = dump_state(d, &hugetlb_subsys);
	struct stat st = { .st_dev = makedev(m->major, m->minor) };

	if (!(m->flags & VMF_ht))
		return false;
	for (size_t i = 0; i < s->n; i++)
		if (s->known[i].page_size == m->page_size && s->known[i].dev == st.st_dev)
			return true;
	if (!hugetlb_has_file(&st, m->page_size))
		return false;
	if (s->n < MAX_SIZES)
		s->known[s->n++] = (struct huge_dev) { m->page_size, st.st_dev };
	return true;
}

static bool hugetlb_vma_match(struct dump *d, const struct proc_map *m)
{
	return !m->shared && !strcmp(m->name, "/anon_hugepage (deleted)") && hugetlb_is_anonymous(d, m);
}

static int hugetlb_vma_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	v->entry->shmid = m->ino; /* with the offset: what was mapped by one call */
	v->entry->flags |= MAP_ANONYMOUS;
	v->entry->status |= VMA_ANON_PRIVATE;
	v->pages = VMA_PAGES_ANON;
	return 0;
}

/* ---- restore: the place ---- */

int hugetlb_check(const struct task *t, const VmaEntry *v)
{
	uint64_t size = hugetlb_page_size(v->flags);

	if (!size || v->start % size || v->end % size || v->pgoff % size)
		return vma_damaged(t, v, "does not consist of whole huge pages");
	if (hugetlb_is_known(size))
		return 0;
	return log_refusal(-EOPNOTSUPP,
	                   "%s: mapping %" PRIx64 "-%" PRIx64 " has huge pages of %" PRIu64 " kB, which this machine "
	                   "does not have (/sys/kernel/mm/hugepages)",
	                   task_name(t), v->start, v->end, size >> 10);
}

static int hugetlb_vma_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	return vma_check_type(t, v);
}

/* Whether a segment goes on with what the one before it maps. */
static bool goes_on(const struct segment *last, const struct segment *s)
{
	return s->kind == SEG_MAP && s->row == last->row && s->start == last->end &&
	       s->vma->shmid == last->vma->shmid && s->vma->pgoff == last->vma->pgoff + (last->end - last->start) &&
	       s->vma->flags == last->vma->flags;
}

/* What was mapped by one call, and has parts of different protections now, is mapped by one call, with the first part.
 */
static int hugetlb_vma_map(struct batch *b, struct task_mm *m, struct segment *s)
{
	const struct segment *end = m->segs + m->n_segs;
	struct segment *next = s;
	int prot = 0;

	if (s->prot != -1)
		return 0;
	do {
		prot |= (int)next->vma->prot | (segment_starts_writable(next) ? PROT_WRITE : 0);
		next++;
	} while (next < end && goes_on(&next[-1], next));
	batch_call(b, SYS_mmap, s->start, next[-1].end - s->start, (uint64_t)prot,
	           hugetlb_map_flags(s->vma) | (s->vma->flags & MAP_NORESERVE) | MAP_PRIVATE | MAP_ANONYMOUS |
	               MAP_FIXED,
	           -1ULL, 0);
	while (s < next)
		s++->prot = prot;
	return 0;
}

/* ---- restore: whether there are enough ---- */

struct huge_need {
	uint64_t page_size, pages;
};

struct huge_file {
	uint32_t id; /* in files.img */
	uint64_t pages;
};

struct hugetlb_restore_state {
	struct huge_file *files;
	size_t n_files;
	struct huge_need need[MAX_SIZES];
	size_t n;
};

const struct subsys hugetlb_subsys = {
	.name = "huge pages",
	.state = { sizeof(struct hugetlb_dump_state), sizeof(struct hugetlb_restore_state) },
};

void hugetlb_need(struct restore *r, uint64_t page_size, uint64_t pages)
{
	struct hugetlb_restore_state *s = restore_state(r, &hugetlb_subsys);
	size_t i = 0;

	while (i < s->n && s->need[i].page_size != page_size)
		i++;
	if (i == MAX_SIZES)
		return; /* no machine has so many sizes, and they have been looked for */
	s->n = MAX(s->n, i + 1);
	s->need[i].page_size = page_size;
	s->need[i].pages += pages;
}

uint64_t hugetlb_count_runs(const struct page_run *runs, size_t n, raddr_t from, raddr_t to, uint64_t page_size)
{
	uint64_t count = 0;
	raddr_t counted = from; /* up to here */

	for (size_t i = 0; i < n && runs[i].at < to; i++) {
		raddr_t start = MAX(round_down(runs[i].at, page_size), counted);
		raddr_t end = MIN(round_up(page_run_end(&runs[i]), page_size), to);

		if (end <= start)
			continue;
		count += (end - start) / page_size;
		counted = end;
	}
	return count;
}

/* A private mapping that is new sets pages aside for all of it; an inherited one takes some for what is not shared. */
static uint64_t private_need(struct restore *r, const struct task *t, const VmaEntry *v, uint64_t size)
{
	const struct pagemap *p = task_mm(r, t)->pages;
	struct page_run *own = arena_alloc(r->arena, MAX(p->n_runs, 1) * sizeof(*own));
	bool inherited = false;
	size_t n = 0;

	for (size_t i = 0; mm_inherits(r, t) && !inherited && i < t->parent->mm->n_vmas; i++) {
		const VmaEntry *from = t->parent->mm->vmas[i];

		inherited = from->start <= v->start && v->end <= from->end && page_plan_fits(v, from);
	}
	if (!inherited && !(v->flags & MAP_NORESERVE))
		return (v->end - v->start) / size;
	for (size_t i = 0; i < p->n_runs; i++)
		if (!(inherited && p->runs[i].cow))
			own[n++] = p->runs[i];
	return hugetlb_count_runs(own, n, v->start, v->end, size);
}

/*
 * A shared mapping of a file on a hugetlbfs sets pages aside: of one that was deleted, and is made again, all. One that
 * is there keeps what was set aside for it, which nothing shows.
 */
static uint64_t file_need(struct restore *r, const VmaEntry *v, uint64_t size)
{
	const struct fd_kind *kind = NULL;
	const RegFileEntry *m = v->shmid > UINT32_MAX ? NULL : files_message(r, (uint32_t)v->shmid, &kind);
	struct stat st;

	if (!m || !kind || kind->pb != &reg_file_entry__descriptor || v->flags & MAP_NORESERVE)
		return 0;
	return stat(m->name, &st) && errno == ENOENT ? (v->end - v->start) / size : 0;
}

/* Of a file that is mapped several times, the mapping that needs most. */
static void note_file_need(struct restore *r, const VmaEntry *v, uint64_t size)
{
	struct hugetlb_restore_state *s = restore_state(r, &hugetlb_subsys);
	struct huge_file file = { (uint32_t)v->shmid, file_need(r, v, size) };
	size_t i = 0;

	while (i < s->n_files && s->files[i].id != file.id)
		i++;
	if (i == s->n_files)
		arena_push(r->arena, &s->files, &s->n_files, ((struct huge_file) { file.id, 0 }));
	if (file.pages <= s->files[i].pages)
		return;
	hugetlb_need(r, size, file.pages - s->files[i].pages);
	s->files[i].pages = file.pages;
}

static bool read_pool(uint64_t page_size, const char *what, uint64_t *value)
{
	_cleanup_fclose_ FILE *f = NULL;
	unsigned long long n = 0;
	char path[100];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s", page_size >> 10, what);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu", &n) != 1)
		return false;
	*value = n;
	return true;
}

/* Of those that are free, some may be promised; and some may be made when they are wanted. */
static bool count_free(uint64_t page_size, uint64_t *pages)
{
	uint64_t free = 0, promised = 0, more = 0, surplus = 0;

	if (!read_pool(page_size, "free_hugepages", &free) || !read_pool(page_size, "resv_hugepages", &promised))
		return false;
	if (read_pool(page_size, "nr_overcommit_hugepages", &more) &&
	    read_pool(page_size, "surplus_hugepages", &surplus))
		free += more > surplus ? more - surplus : 0;
	*pages = free > promised ? free - promised : 0;
	return true;
}

int hugetlb_check_free(struct restore *r)
{
	struct hugetlb_restore_state *s = restore_state(r, &hugetlb_subsys);
	int err = 0;

	shmem_need_huge(r);
	memfd_need_huge(r);
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (!t->mm || t->state == TASK_DEAD || tree_first_vm(&r->tree, t) != t)
			continue;
		for (size_t k = 0; k < t->mm->n_vmas; k++) {
			const VmaEntry *v = t->mm->vmas[k];

			if (v->flags & MAP_HUGETLB && v->status & VMA_FILE_SHARED)
				note_file_need(r, v, hugetlb_page_size(v->flags));
			if (v->flags & MAP_HUGETLB && vma_is_private(v))
				hugetlb_need(r, hugetlb_page_size(v->flags),
				             private_need(r, t, v, hugetlb_page_size(v->flags)));
		}
	}
	for (size_t i = 0; i < s->n; i++) {
		uint64_t kb = s->need[i].page_size >> 10, free;

		if (!count_free(s->need[i].page_size, &free) || s->need[i].pages <= free)
			continue;
		err = log_refusal(-ENOMEM,
		                  "the checkpoint needs %" PRIu64 " huge pages of %" PRIu64 " kB, and %" PRIu64
		                  " are free: set more aside (/sys/kernel/mm/hugepages/hugepages-%" PRIu64
		                  "kB/nr_hugepages, vm.nr_hugepages)",
		                  s->need[i].pages, kb, free, kb);
	}
	return err;
}

const struct vma_kind hugetlb_vma_kind = {
	.name = "private memory in huge pages",
	.flags = MAP_HUGETLB,
	.match = hugetlb_vma_match,
	.dump = hugetlb_vma_dump,
	.check = hugetlb_vma_check,
	.map = hugetlb_vma_map,
};
