/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of shared memory that has no file: anonymous memory and System V segments, opened through a mapping in
 * /proc/PID/map_files. They are opened so again, through a mapping that a task of the tree has.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "files/files.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "mm/hugetlb.h"
#include "mm/shmem.h"
#include "shmem-file.pb-c.h"

extern const struct fd_kind shmem_file_kind;

static bool is_on_shmem(const struct stat *st)
{
	_cleanup_close_ int own = memfd_create("criu", MFD_CLOEXEC);
	struct stat memfd;

	return own >= 0 && !fstat(own, &memfd) && memfd.st_dev == st->st_dev;
}

static bool has_huge_pages(const struct fd_info *info)
{
	return info->st.st_blksize > (blksize_t)PAGE_SIZE && hugetlb_has_file(&info->st, (uint64_t)info->st.st_blksize);
}

static bool shmem_file_match(const struct fd_info *info)
{
	const char *link = info->link;

	if (info->by_path || info->st.st_nlink || !S_ISREG(info->st.st_mode) || *link != '/')
		return false;
	if (strcmp(link, "/dev/zero (deleted)") && strcmp(link, "/anon_hugepage (deleted)") &&
	    strncmp(link, "/SYSV", 5))
		return false;
	return is_on_shmem(&info->st) || has_huge_pages(info);
}

static bool is_mapping_of(const VmaEntry *v, const ShmemFileEntry *m)
{
	return v->status & VMA_ANON_SHARED && v->shmid == m->shmid && !(v->status & VMA_SYSVIPC) == !m->segment;
}

/* A mapping of it in the tree; *owner: whose. Where several are, one that can be written to is better. */
static const VmaEntry *find_mapping(const struct tree *tree, const ShmemFileEntry *m, const struct task **owner)
{
	const VmaEntry *found = NULL;

	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i];

		for (size_t k = 0; t->state != TASK_DEAD && t->mm && k < t->mm->n_vmas; k++) {
			const VmaEntry *v = t->mm->vmas[k];

			if (!is_mapping_of(v, m) || (found && !(v->prot & PROT_WRITE)))
				continue;
			found = v;
			*owner = t;
		}
	}
	return found;
}

/* ---- dump ---- */

struct dumped_file {
	const struct task *task;
	int number;
	const ShmemFileEntry *msg;
	struct dumped_file *next;
};

struct shmem_file_state {
	struct dumped_file *files;
};

static int shmem_file_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct shmem_file_state *s = dump_state(d, &shmem_file_kind);
	struct dumped_file *f = arena_new_of(d->arena, struct dumped_file);
	ShmemFileEntry *m = msg;

	m->segment = m->has_segment = !strncmp(info->link, "/SYSV", 5);
	m->shmid = m->segment ? info->st.st_ino : shmem_key(info->st.st_ino, has_huge_pages(info));
	m->pos = info->pos;
	*f = (struct dumped_file) { info->task, info->number, m, s->files };
	s->files = f;
	return 0;
}

static int shmem_file_collected(struct dump *d)
{
	const struct shmem_file_state *s = dump_state(d, &shmem_file_kind);
	const struct task *owner;

	for (const struct dumped_file *f = s->files; f; f = f->next)
		if (!find_mapping(&d->tree, f->msg, &owner))
			log_refusal(-EOPNOTSUPP,
			            "%s: fd %d: shared memory (opened through /proc/PID/map_files) that no task of the "
			            "tree has mapped any more is not supported; close it before the dump",
			            task_name(f->task), f->number);
	return 0;
}

/* ---- restore ---- */

static int shmem_file_check(struct restore *r, const void *msg, const char **why)
{
	const struct task *owner;

	if (find_mapping(&r->tree, msg, &owner))
		return 0;
	*why = "a descriptor of shared memory that no task in the checkpoint has mapped";
	return -EBADMSG;
}

/* All mappings exist by now. */
static int shmem_file_open(struct restore *r, const void *msg)
{
	const ShmemFileEntry *m = msg;
	const struct task *owner = NULL;
	const VmaEntry *v = find_mapping(&r->tree, m, &owner);
	_cleanup_close_ int fd = -1;
	char path[80];
	int err;

	if (!v)
		return log_errno(-ENOENT, "shared memory %" PRIu64 ": no mapping", m->shmid);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, owner->pid, v->start, v->end);
	fd = open(path, (int)(m->flags & O_ACCMODE) | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "shared memory %" PRIu64 ": open of %s", m->shmid, path);
	if (m->pos && lseek(fd, (off_t)m->pos, SEEK_SET) < 0)
		return log_errno(-errno, "shared memory %" PRIu64 ": lseek", m->shmid);
	err = fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

const struct fd_kind shmem_file_kind = {
	.name = "shared memory",
	.state = { .dump = sizeof(struct shmem_file_state) },
	.type = FD_TYPES__SHMEM_FILE,
	.is_content = true,
	.field = 1005,
	.pb = &shmem_file_entry__descriptor,
	.match = shmem_file_match,
	.dump = shmem_file_dump,
	.all_collected = shmem_file_collected,
	.check = shmem_file_check,
	.open = shmem_file_open,
};
