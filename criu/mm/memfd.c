/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memfds: descriptors, and mappings, of files that memfd_create() made. A file is made once, with its data, and opened
 * anew for each description. Seals come when all mappings are made: with them, some could not be.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "arch_page.h"
#include "files/files.h"
#include "lib/log.h"
#include "lib/memfd_exec.h"
#include "lib/arena_hash.h"
#include "memfd.pb-c.h"
#include "mm/shmem_restore.h"
#include "mm/vma.h"
#include "proc/fdinfo.h"
#include "uapi/memfd_bits.h"

#define PREFIX "/memfd:"
#define ALL_X  (S_IXUSR | S_IXGRP | S_IXOTH)

extern const struct fd_kind memfd_kind;

static bool on_hugetlbfs(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC;
}

/* A file that somebody called so has another device, or a name. */
static bool memfd_match(const struct fd_info *info)
{
	_cleanup_close_ int own = -1;
	struct stat st;

	if (strncmp(info->link, PREFIX, strlen(PREFIX)) || info->st.st_nlink || !S_ISREG(info->st.st_mode))
		return false;
	own = memfd_create("criu", MFD_CLOEXEC);
	return (own >= 0 && !fstat(own, &st) && st.st_dev == info->st.st_dev) || on_hugetlbfs(info->fd);
}

/* ---- dump ---- */

struct memfd {
	MemfdInodeEntry *entry;
	uint64_t ino;
	int held; /* a descriptor that keeps a way to the data open, or -1 */
	UT_hash_handle hh;
};

static struct memfd **memfds_of(struct dump *d)
{
	return dump_state(d, &memfd_kind);
}

static int open_anew(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static int get_seals(const struct fd_info *info, uint32_t *seals)
{
	_cleanup_close_ int again = open_anew(info->fd, O_RDONLY); /* one with O_PATH does not tell */
	int ret = again < 0 ? again : fcntl(again, F_GET_SEALS);

	if (ret < 0)
		return log_errno(again < 0 ? again : -errno, "%s: the seals of %s", fd_name(info), info->link);
	*seals = (uint32_t)ret;
	return 0;
}

static char *name_of(struct arena *a, const char *link)
{
	size_t len = strlen(link + strlen(PREFIX)), end = strlen(PROC_DELETED);
	char *name = arena_memdup(a, link + strlen(PREFIX), len + 1);

	if (len >= end && !strcmp(name + len - end, PROC_DELETED))
		name[len - end] = 0;
	return name;
}

/* Mappings have said where their data is. What is none of the task's needs a descriptor for as long as that is read. */
static int note_data(struct dump *d, const struct fd_info *info, struct memfd *f)
{
	char path[64];

	if (shmem_is_noted(d, f->ino))
		return 0;
	if (info->number >= 0) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", info->task->pid, info->number);
	} else {
		f->held = open_anew(info->fd, O_PATH);
		if (f->held < 0)
			return log_errno(f->held, "%s: opening %s anew", fd_name(info), info->link);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", f->held);
	}
	shmem_note_object(d, info->task, f->ino, path);
	return 0;
}

static int dump_inode(struct dump *d, const struct fd_info *info, struct memfd *f)
{
	MemfdInodeEntry *m = f->entry;
	int err = get_seals(info, &m->seals);

	m->name = name_of(d->arena, info->link);
	m->uid = info->st.st_uid;
	m->gid = info->st.st_gid;
	m->size = (uint64_t)info->st.st_size;
	m->shmid = (uint32_t)f->ino;
	m->has_mode = true;
	m->mode = info->st.st_mode;
	if (!err && f->ino > UINT32_MAX)
		err =
		    log_errno(-EOVERFLOW, "%s: the inode number of %s is %" PRIu64, fd_name(info), info->link, f->ino);
	return err ?: note_data(d, info, f);
}

static int memfd_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct memfd **table = memfds_of(d), *f;
	MemfdFileEntry *m = msg;
	uint64_t ino = info->st.st_ino;
	int err;

	if (on_hugetlbfs(info->fd)) {
		log_refusal(-ENOTSUP,
		            "%s: %s: a memfd of huge pages (MFD_HUGETLB), which is not supported; close it before the "
		            "dump",
		            fd_name(info), info->link);
		return DUMP_REFUSED;
	}
	HASH_FIND(hh, *table, &ino, sizeof(ino), f);
	if (!f) {
		f = arena_new_of(d->arena, struct memfd);
		f->ino = ino;
		f->held = -1;
		f->entry = arena_msg(d->arena, MemfdInodeEntry, memfd_inode_entry);
		f->entry->inode_id = HASH_COUNT(*table) + 1;
		err = dump_inode(d, info, f);
		if (err)
			return err;
		HASH_ADD_IN(d->arena, hh, *table, ino, sizeof(f->ino), f);
	}
	m->inode_id = (uint32_t)f->entry->inode_id;
	return 0;
}

static int memfd_write_images(struct dump *d)
{
	_cleanup_image_ struct image *img = NULL;
	int err = *memfds_of(d) ? image_create(d->dir, IMG_MEMFD_INODE, 0, &img) : 0;

	for (struct memfd *f = *memfds_of(d); f; f = f->hh.next) {
		err = err ?: image_write(img, f->entry);
		if (f->held >= 0)
			close(f->held);
		f->held = -1;
	}
	return err ?: image_close(move_ptr(img));
}

/* ---- restore ---- */

struct inode {
	uint64_t id;
	const MemfdInodeEntry *entry;
	struct pagemap *pages;
	size_t left;   /* descriptions that are not open yet */
	bool writable; /* some description, or shared mapping, writes */
	bool made;
	int fd; /* to open it anew by; -1 before it is made and after the last */
	UT_hash_handle hh;
};

struct inodes {
	struct inode *by_id;
	bool counted;    /* who wants them */
	bool all_mapped; /* no mapping is to come any more */
};

static struct inodes *inodes_of(struct restore *r)
{
	return restore_state(r, &memfd_kind);
}

static struct inode *inode_of(struct restore *r, uint32_t inode_id)
{
	uint64_t id = inode_id;
	struct inode *f;

	HASH_FIND(hh, inodes_of(r)->by_id, &id, sizeof(id), f);
	return f;
}

static int read_inode(struct restore *r, const MemfdInodeEntry *m)
{
	struct inodes *all = inodes_of(r);
	struct inode *f;

	HASH_FIND(hh, all->by_id, &m->inode_id, sizeof(m->inode_id), f);
	if (f || m->size > INT64_MAX - PAGE_SIZE || (m->has_mode && m->mode & S_IFMT && !S_ISREG(m->mode)))
		return log_errno(-EBADMSG,
		                 "memfd.img: the file %" PRIu64 " (%s) is there twice, or has an impossible "
		                 "size or type",
		                 m->inode_id, m->name);
	f = arena_new_of(r->arena, struct inode);
	f->id = m->inode_id;
	f->entry = m;
	f->fd = -1;
	HASH_ADD_IN(r->arena, hh, all->by_id, id, sizeof(f->id), f);
	return pages_read_object(r, m->shmid, &f->pages);
}

static int count_one(struct restore *r, const void *msg, void *arg)
{
	const MemfdFileEntry *m = msg;
	struct inode *f = inode_of(r, m->inode_id);

	if (!f)
		return 0; /* check() has said so */
	f->left++;
	f->writable |= (m->flags & (O_ACCMODE | O_PATH)) == O_RDWR || (m->flags & (O_ACCMODE | O_PATH)) == O_WRONLY;
	return 0;
}

static void count_mappings(struct restore *r, const MmEntry *mm)
{
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *v = mm->vmas[i];
		const struct fd_kind *kind = NULL;
		const MemfdFileEntry *m;
		struct inode *f;

		if (!(v->status & VMA_FILE_SHARED) || !v->has_fdflags || (v->fdflags & O_ACCMODE) == O_RDONLY ||
		    v->shmid > UINT32_MAX)
			continue;
		m = files_message(r, (uint32_t)v->shmid, &kind);
		f = m && kind == &memfd_kind ? inode_of(r, m->inode_id) : NULL;
		if (f)
			f->writable = true;
	}
}

static int memfd_read_images(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_MEMFD_INODE, 0, &img);
	MemfdInodeEntry *m;

	while (!err && (err = image_read(img, &memfd_inode_entry__descriptor, r->arena, &m)) > 0)
		err = read_inode(r, m);
	return err == -ENOENT ? 0 : err;
}

/* When the first is made: by then all rows have said which files are in flight. */
static void count(struct restore *r)
{
	if (inodes_of(r)->counted)
		return;
	inodes_of(r)->counted = true;
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i]->mm)
			count_mappings(r, r->tree.tasks[i]->mm);
	files_each(r, &memfd_kind, count_one, NULL);
}

/*
 * With a mode of 0777 or 0666, and all seals possible. Whether it may be executed is said either way, so that the
 * machine's own idea (vm.memfd_noexec) does not matter.
 */
static int create(const MemfdInodeEntry *m)
{
	bool noexec = m->seals & F_SEAL_EXEC && !(m->has_mode && m->mode & ALL_X);
	int fd;

	if (!noexec)
		return memfd_exec(m->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fd = memfd_create(m->name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	return fd < 0 ? -errno : fd;
}

static int memfd_check(struct restore *r, const void *msg, const char **why)
{
	const MemfdFileEntry *m = msg;
	const struct inode *f = inode_of(r, m->inode_id);
	_cleanup_close_ int fd = -1;

	if (!f || (f->entry->has_hugetlb_flag && f->entry->hugetlb_flag)) {
		*why = f ? arena_printf(r->arena, "the memfd %s has huge pages, which is not supported", f->entry->name)
		         : "a memfd that memfd.img does not have";
		return f ? -ENOTSUP : -EBADMSG;
	}
	fd = create(f->entry);
	if (fd >= 0)
		return 0;
	*why = arena_printf(r->arena, "the memfd %s cannot be made here: %s%s", f->entry->name, strerror(-fd),
	                    fd == -EACCES ? " (vm.memfd_noexec is 2)" : "");
	return fd;
}

static int seal(const struct inode *f, int fd)
{
	if (fcntl(fd, F_GET_SEALS) == (int)f->entry->seals)
		return 0;
	if (fcntl(fd, F_ADD_SEALS, f->entry->seals))
		return log_errno(-errno, "the memfd %s: its seals (%x)", f->entry->name, f->entry->seals);
	return 0;
}

static int fill(struct restore *r, const struct inode *f, int fd)
{
	uint64_t size = round_up(f->entry->size, PAGE_SIZE);
	void *map;
	int err;

	if (!size || !f->pages->n_runs)
		return 0;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return log_errno(-errno, "the memfd %s: mapping its %" PRIu64 " bytes", f->entry->name, size);
	err = pages_fill_object(r, f->pages, map, size);
	munmap(map, size);
	return err;
}

static int set_owner(const struct inode *f, int fd)
{
	const MemfdInodeEntry *m = f->entry;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	/* In a user namespace the owner may be nobody. */
	if ((st.st_uid != m->uid || st.st_gid != m->gid) && fchown(fd, m->uid, m->gid))
		log_warn("the memfd %s: its owner is %u:%u instead of %u:%u: %s", m->name, st.st_uid, st.st_gid, m->uid,
		         m->gid, strerror(errno));
	if (m->has_mode && (st.st_mode & ~(unsigned)S_IFMT) != (m->mode & ~(unsigned)S_IFMT) &&
	    fchmod(fd, m->mode & ~(unsigned)S_IFMT))
		return log_errno(-errno, "the memfd %s: its mode 0%o", m->name, m->mode);
	return 0;
}

/*
 * A file that nobody can write to may be one that is executed, which nobody may have open for writing then: it is
 * sealed at once.
 */
static int make(struct restore *r, struct inode *f)
{
	_cleanup_close_ int fd = create(f->entry);
	int err;

	count(r);
	if (fd < 0)
		return log_errno(fd, "making the memfd %s", f->entry->name);
	if (ftruncate(fd, (off_t)f->entry->size))
		return log_errno(-errno, "the memfd %s: its size of %" PRIu64 " bytes", f->entry->name, f->entry->size);
	err = fill(r, f, fd) ?: set_owner(f, fd);
	if (!err && (!f->writable || inodes_of(r)->all_mapped))
		err = seal(f, fd);
	if (err)
		return err;
	f->fd = f->writable ? move_fd(&fd) : open_anew(fd, O_RDONLY);
	f->made = true;
	return f->fd < 0 ? log_errno(f->fd, "the memfd %s: opening it for reading", f->entry->name) : 0;
}

static void let_go(struct inode *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static int memfd_prepare(struct restore *r)
{
	int err = 0;

	count(r);
	inodes_of(r)->all_mapped = true;
	for (struct inode *f = inodes_of(r)->by_id; !err && f; f = f->hh.next) {
		if (f->made && f->writable)
			err = seal(f, f->fd);
		if (!f->left)
			let_go(f);
	}
	return err;
}

static int memfd_open(struct restore *r, const void *msg)
{
	const MemfdFileEntry *m = msg;
	struct inode *f = inode_of(r, m->inode_id);
	int how = (int)m->flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC | O_NOFOLLOW | (O_TMPFILE & ~O_DIRECTORY));
	_cleanup_close_ int fd = -1;
	int err = f->made ? 0 : make(r, f);

	if (err)
		return err;
	fd = open_anew(f->fd, how);
	if (fd < 0)
		return log_errno(fd, "the memfd %s: opening it with flags 0%o", f->entry->name, m->flags);
	if (m->pos && lseek(fd, (off_t)m->pos, SEEK_SET) < 0)
		return log_errno(-errno, "the memfd %s: its position %" PRIu64, f->entry->name, m->pos);
	if (inodes_of(r)->all_mapped && f->left && --f->left == 0)
		let_go(f);
	return move_fd(&fd);
}

const struct fd_kind memfd_kind = {
	.name = "memfd",
	.state = { .dump = sizeof(struct memfd *), .restore = sizeof(struct inodes) },
	.type = FD_TYPES__MEMFD,
	.field = 20,
	.pb = &memfd_file_entry__descriptor,
	.match = memfd_match,
	.dump = memfd_dump,
	.check = memfd_check,
	.prepare = memfd_prepare,
	.open = memfd_open,
	.read_images = memfd_read_images,
	.write_images = memfd_write_images,
};
