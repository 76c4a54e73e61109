/* SPDX-License-Identifier: GPL-2.0-only */
/* memfds: descriptors, and mappings, of files that memfd_create() made (mm/memfd_inode.h). */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "files/files.h"
#include "lib/log.h"
#include "memfd.pb-c.h"
#include "mm/hugetlb.h"
#include "mm/memfd_inode.h"
#include "mm/secretmem.h"
#include "mm/shmem.h"
#include "mm/vma_file.h"

extern const struct fd_kind memfd_kind;
extern const struct vma_kind memfd_vma_kind;

/* ---- descriptors, dump ---- */

/* Another file with such a name is on another device, or is linked. */
static bool memfd_match(const struct fd_info *info)
{
	_cleanup_close_ int own = -1;
	struct stat st;

	if (secretmem_match(info))
		return true;
	if (strncmp(info->link, MEMFD_PREFIX, strlen(MEMFD_PREFIX)) || info->st.st_nlink || !S_ISREG(info->st.st_mode))
		return false;
	own = memfd_create("criu", MFD_CLOEXEC);
	return (own >= 0 && !fstat(own, &st) && st.st_dev == info->st.st_dev) ||
	       (info->st.st_blksize > (blksize_t)PAGE_SIZE &&
	        hugetlb_has_file(&info->st, (uint64_t)info->st.st_blksize));
}

static int memfd_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	MemfdFileEntry *m = msg;

	return secretmem_match(info) ? secretmem_dump(d, info, &m->inode_id) : memfd_inode_dump(d, info, &m->inode_id);
}

/* ---- descriptors, restore ---- */

struct memfd_restore_state {
	bool expected; /* files know what will be opened and mapped */
};

static int expect_open(struct restore *r, const void *msg, void *arg)
{
	const MemfdFileEntry *m = msg;
	struct memfd_inode *f = memfd_inode_find(r, m->inode_id);
	unsigned access = m->flags & (O_ACCMODE | O_PATH);

	if (f) /* else memfd_check() has said so */
		memfd_inode_expect_open(f, access == O_RDWR || access == O_WRONLY);
	return 0;
}

/* NULL: the mapping is not a shared one of a memfd. */
static struct memfd_inode *mapped_memfd(struct restore *r, const VmaEntry *v)
{
	const struct fd_kind *kind = NULL;
	const MemfdFileEntry *m;

	if (!(v->status & VMA_FILE_SHARED) || v->shmid > UINT32_MAX)
		return NULL;
	m = files_message(r, (uint32_t)v->shmid, &kind);
	return m && kind == &memfd_kind ? memfd_inode_find(r, m->inode_id) : NULL;
}

static void expect_mappings(struct restore *r, const MmEntry *mm)
{
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *v = mm->vmas[i];
		struct memfd_inode *f;

		if (!v->has_fdflags || (v->fdflags & O_ACCMODE) == O_RDONLY)
			continue;
		f = mapped_memfd(r, v);
		if (f)
			memfd_inode_expect_map(f, true);
	}
}

void memfd_need_huge(struct restore *r)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const MmEntry *mm = r->tree.tasks[i]->mm;

		for (size_t k = 0; mm && k < mm->n_vmas; k++) {
			const VmaEntry *v = mm->vmas[k];
			struct memfd_inode *f;

			if (!(v->flags & MAP_HUGETLB) || v->flags & MAP_NORESERVE)
				continue;
			f = mapped_memfd(r, v);
			if (f)
				memfd_inode_reserve_huge(f, v->end - v->start);
		}
	}
	memfd_inode_need_huge(r);
}

/* When the first is opened: by then all rows have said which files are in flight. */
static void expect_all(struct restore *r)
{
	struct memfd_restore_state *s = restore_state(r, &memfd_kind);

	if (s->expected)
		return;
	s->expected = true;
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i]->mm)
			expect_mappings(r, r->tree.tasks[i]->mm);
	files_each(r, &memfd_kind, expect_open, NULL);
}

static int memfd_check(struct restore *r, const void *msg, const char **why)
{
	const MemfdFileEntry *m = msg;
	const struct memfd_inode *f = memfd_inode_find(r, m->inode_id);

	if (f)
		return memfd_inode_check(r, f, why);
	*why = "a memfd that memfd.img does not have";
	return -EBADMSG;
}

static void memfd_resource(struct restore *r, const void *msg, char *buf, size_t size, bool *is_external)
{
	const MemfdFileEntry *m = msg;
	/* Names are asked for before rows read images. An error comes again then. */
	const struct memfd_inode *f = memfd_inode_read_images(r) ? NULL : memfd_inode_find(r, m->inode_id);

	if (f)
		snprintf(buf, size, "/memfd:%s", memfd_inode_name(f));
}

static int memfd_prepare(struct restore *r)
{
	expect_all(r);
	return memfd_inode_all_mapped(r);
}

static int memfd_open(struct restore *r, const void *msg)
{
	const MemfdFileEntry *m = msg;
	int flags = (int)m->flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC | O_NOFOLLOW | (O_TMPFILE & ~O_DIRECTORY));
	_cleanup_close_ int fd = -1;

	expect_all(r);
	fd = memfd_inode_open(r, memfd_inode_find(r, m->inode_id), flags);
	if (fd < 0)
		return fd;
	if (m->pos && lseek(fd, (off_t)m->pos, SEEK_SET) < 0)
		return log_errno(-errno, "memfd %u: lseek to %" PRIu64, m->inode_id, m->pos);
	return move_fd(&fd);
}

const struct fd_kind memfd_kind = {
	.name = "memfd",
	.state = { .restore = sizeof(struct memfd_restore_state) },
	.type = FD_TYPES__MEMFD,
	.is_content = true,
	.field = 20,
	.pb = &memfd_file_entry__descriptor,
	.match = memfd_match,
	.dump = memfd_dump,
	.check = memfd_check,
	.resource = memfd_resource,
	.inherits_mapped = true,
	.prepare = memfd_prepare,
	.open = memfd_open,
	.read_images = memfd_inode_read_images,
	.write_images = memfd_inode_write_images,
};

/* ---- mappings: of a file in files.img, as all others, whose data is that of shared memory ---- */

static bool memfd_vma_match(struct dump *d, const struct proc_map *m)
{
	return !strncmp(m->name, MEMFD_PREFIX, strlen(MEMFD_PREFIX)) &&
	       (shmem_holds(d, m) || hugetlb_is_anonymous(d, m));
}

static int memfd_vma_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	v->entry->status |= VMA_MEMFD;
	shmem_note_mapping(d, t, m);
	return vma_file_dump(d, t, m, v);
}

const struct vma_kind memfd_vma_kind = {
	.name = "memfd",
	.status = VMA_MEMFD,
	.match = memfd_vma_match,
	.dump = memfd_vma_dump,
	.check = vma_file_check,
	.open = vma_file_open,
};
