/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/memfd_inode.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "files/files.h"
#include "lib/arena_hash.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "lib/memfd_exec.h"
#include "memfd.pb-c.h"
#include "mm/hugetlb.h"
#include "mm/secretmem.h"
#include "mm/shmem.h"
#include "pages/pages.h"
#include "proc/fdinfo.h"
#include "tree/subsys.h"
#include "uapi/memfd_bits.h"

#define ALL_X (S_IXUSR | S_IXGRP | S_IXOTH)

extern const struct subsys memfd_inode_subsys;

static int reopen_memfd(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* ---- dump ---- */

struct dumped_memfd {
	MemfdInodeEntry *entry;
	uint64_t key; /* shmem_key() */
	bool hugetlb;
	int held; /* a descriptor that keeps a way to the data open, or -1 */
	UT_hash_handle hh;
};

struct memfd_inode_dump_state {
	struct dumped_memfd *by_ino;
};

/*
 * The description that memfd_create() returns writes, and yet may the file be executed: only what open(2) opened for
 * writing is counted. A lease for reading is refused where something is counted.
 */
static void ask_for_writers(int fd, MemfdInodeEntry *m)
{
	bool leased = !fcntl(fd, F_SETLEASE, F_RDLCK);

	m->open_for_writing = !leased;
	m->has_open_for_writing = leased || errno == EAGAIN;
	if (leased)
		fcntl(fd, F_SETLEASE, F_UNLCK);
}

/* One with O_PATH does not tell: it is opened again. */
static int ask_memfd(const struct fd_info *info, MemfdInodeEntry *m)
{
	_cleanup_close_ int again = reopen_memfd(info->fd, O_RDONLY);
	int ret = again < 0 ? again : fcntl(again, F_GET_SEALS);

	if (ret < 0)
		return log_errno(again < 0 ? again : -errno, "%s: F_GET_SEALS of %s", fd_name(info), info->link);
	m->seals = (uint32_t)ret;
	ask_for_writers(again, m);
	return 0;
}

static char *memfd_name(struct arena *a, const char *link)
{
	size_t len = strlen(link + strlen(MEMFD_PREFIX)), end = strlen(PROC_DELETED);
	char *name = arena_memdup(a, link + strlen(MEMFD_PREFIX), len + 1);

	if (len >= end && !strcmp(name + len - end, PROC_DELETED))
		name[len - end] = 0;
	return name;
}

/*
 * Mappings have noted a way to their data. A file that no task has by a mapping or descriptor needs a descriptor of
 * ours until its data is read.
 */
static int note_data(struct dump *d, const struct fd_info *info, struct dumped_memfd *f)
{
	char path[64];

	if (shmem_is_noted(d, f->key))
		return 0;
	if (info->number >= 0) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", info->task->pid, info->number);
	} else {
		f->held = reopen_memfd(info->fd, O_PATH);
		if (f->held < 0)
			return log_errno(f->held, "%s: open of %s with O_PATH", fd_name(info), info->link);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", f->held);
	}
	shmem_note_object(d, info->task, f->key, f->hugetlb, path);
	return 0;
}

static int fill_entry(struct dump *d, const struct fd_info *info, struct dumped_memfd *f)
{
	MemfdInodeEntry *m = f->entry;
	int err = ask_memfd(info, m);

	m->name = memfd_name(d->arena, info->link);
	m->uid = info->st.st_uid;
	m->gid = info->st.st_gid;
	m->size = (uint64_t)info->st.st_size;
	m->shmid = (uint32_t)f->key;
	m->has_hugetlb_flag = f->hugetlb;
	m->hugetlb_flag = f->hugetlb ? hugetlb_size_flag((uint64_t)info->st.st_blksize) : 0;
	m->has_mode = true;
	m->mode = info->st.st_mode;
	if (!err && f->key > UINT32_MAX)
		err =
		    log_errno(-EOVERFLOW, "%s: the inode number of %s is %" PRIu64, fd_name(info), info->link, f->key);
	return err ?: note_data(d, info, f);
}

int memfd_inode_dump(struct dump *d, const struct fd_info *info, uint32_t *inode_id)
{
	struct memfd_inode_dump_state *all = dump_state(d, &memfd_inode_subsys);
	bool hugetlb =
	    info->st.st_blksize > (blksize_t)PAGE_SIZE && hugetlb_has_file(&info->st, (uint64_t)info->st.st_blksize);
	uint64_t key = shmem_key(info->st.st_ino, hugetlb);
	struct dumped_memfd *f;
	int err;

	HASH_FIND(hh, all->by_ino, &key, sizeof(key), f);
	if (!f) {
		f = arena_new_of(d->arena, struct dumped_memfd);
		f->key = key;
		f->hugetlb = hugetlb;
		f->held = -1;
		f->entry = arena_msg(d->arena, MemfdInodeEntry, memfd_inode_entry);
		f->entry->inode_id = HASH_COUNT(all->by_ino) + 1;
		err = fill_entry(d, info, f);
		if (err)
			return err;
		HASH_ADD_IN(d->arena, hh, all->by_ino, key, sizeof(f->key), f);
	}
	*inode_id = (uint32_t)f->entry->inode_id;
	return 0;
}

void memfd_inode_add(struct dump *d, uint64_t key, MemfdInodeEntry *m)
{
	struct memfd_inode_dump_state *all = dump_state(d, &memfd_inode_subsys);
	struct dumped_memfd *f = arena_new_of(d->arena, struct dumped_memfd);

	f->key = key;
	f->held = -1;
	f->entry = m;
	m->inode_id = HASH_COUNT(all->by_ino) + 1;
	HASH_ADD_IN(d->arena, hh, all->by_ino, key, sizeof(f->key), f);
}

int memfd_inode_write_images(struct dump *d)
{
	struct memfd_inode_dump_state *all = dump_state(d, &memfd_inode_subsys);
	_cleanup_image_ struct image *img = NULL;
	int err = all->by_ino ? image_create(d->dir, IMG_MEMFD_INODE, 0, &img) : 0;

	for (struct dumped_memfd *f = all->by_ino; f; f = f->hh.next) {
		err = err ?: image_write(img, f->entry);
		if (f->held >= 0)
			close(f->held);
		f->held = -1;
	}
	return err ?: image_close(move_ptr(img));
}

/* ---- restore ---- */

struct memfd_inode {
	uint64_t id;
	const MemfdInodeEntry *entry;
	struct pagemap *pages;
	uint64_t reserved; /* bytes of huge pages that a mapping sets aside */
	size_t left;       /* descriptions that are not open yet */
	bool writable;     /* some description, or shared mapping, writes */
	bool made;
	int fd; /* to open it anew by; -1 before it is made and after the last description */
	UT_hash_handle hh;
};

struct memfd_inode_restore_state {
	struct memfd_inode *by_id;
	bool all_mapped; /* no mapping is to come any more */
	bool read;
	int read_err;
};

const struct subsys memfd_inode_subsys = {
	.name = "memfd files",
	.state = { sizeof(struct memfd_inode_dump_state), sizeof(struct memfd_inode_restore_state) },
};

struct memfd_inode *memfd_inode_find(struct restore *r, uint32_t inode_id)
{
	struct memfd_inode_restore_state *all = restore_state(r, &memfd_inode_subsys);
	uint64_t id = inode_id;
	struct memfd_inode *f;

	HASH_FIND(hh, all->by_id, &id, sizeof(id), f);
	return f;
}

struct memfd_inode *memfd_inode_find_secret(struct restore *r, uint64_t shmid)
{
	struct memfd_inode_restore_state *all = restore_state(r, &memfd_inode_subsys);
	struct memfd_inode *f = all->by_id;

	while (f && (!f->entry->secret || f->entry->shmid != shmid))
		f = f->hh.next;
	return f;
}

static int read_inode(struct restore *r, const MemfdInodeEntry *m)
{
	struct memfd_inode_restore_state *all = restore_state(r, &memfd_inode_subsys);
	struct memfd_inode *f;

	HASH_FIND(hh, all->by_id, &m->inode_id, sizeof(m->inode_id), f);
	if (f || m->size > INT64_MAX - PAGE_SIZE || (m->has_mode && m->mode & S_IFMT && !S_ISREG(m->mode)))
		return log_errno(-EBADMSG,
		                 "memfd.img: the file %" PRIu64 " (%s) is a duplicate, or has an impossible size or "
		                 "type",
		                 m->inode_id, m->name);
	f = arena_new_of(r->arena, struct memfd_inode);
	f->id = m->inode_id;
	f->entry = m;
	f->fd = -1;
	HASH_ADD_IN(r->arena, hh, all->by_id, id, sizeof(f->id), f);
	return pages_read_object(r, m->shmid, &f->pages);
}

static int read_memfd_image(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_MEMFD_INODE, 0, &img);
	MemfdInodeEntry *m;

	while (!err && (err = image_read(img, &memfd_inode_entry__descriptor, r->arena, &m)) > 0)
		err = read_inode(r, m);
	return err == -ENOENT ? 0 : err;
}

int memfd_inode_read_images(struct restore *r)
{
	struct memfd_inode_restore_state *all = restore_state(r, &memfd_inode_subsys);

	if (!all->read)
		all->read_err = read_memfd_image(r);
	all->read = true;
	return all->read_err;
}

const char *memfd_inode_name(const struct memfd_inode *f)
{
	return f->entry->name;
}

void memfd_inode_expect_open(struct memfd_inode *f, bool writes)
{
	f->left++;
	f->writable |= writes;
}

void memfd_inode_expect_map(struct memfd_inode *f, bool writes)
{
	f->writable |= writes;
}

/*
 * With a mode of 0777 or 0666, and all seals possible. Whether it may be executed is said either way, so that the
 * default of the machine (vm.memfd_noexec) does not matter.
 */
static int create_memfd(const MemfdInodeEntry *m)
{
	bool noexec = m->seals & F_SEAL_EXEC && !(m->has_mode && m->mode & ALL_X);
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd;

	if (m->secret)
		return secretmem_create();
	if (m->has_hugetlb_flag)
		flags |= MFD_HUGETLB | (m->hugetlb_flag & HUGETLB_SIZE_BITS);
	if (!noexec)
		return memfd_exec(m->name, flags);
	fd = memfd_create(m->name, flags | MFD_NOEXEC_SEAL);
	return fd < 0 ? -errno : fd;
}

void memfd_inode_reserve_huge(struct memfd_inode *f, uint64_t bytes)
{
	f->reserved = MAX(f->reserved, bytes);
}

void memfd_inode_need_huge(struct restore *r)
{
	struct memfd_inode_restore_state *all = restore_state(r, &memfd_inode_subsys);

	for (const struct memfd_inode *f = all->by_id; f; f = f->hh.next) {
		uint64_t size = f->entry->has_hugetlb_flag ? hugetlb_page_size(f->entry->hugetlb_flag) : 0;

		if (size)
			hugetlb_need(r, size,
			             MAX(f->reserved / size, hugetlb_count_runs(f->pages->runs, f->pages->n_runs, 0,
			                                                        round_up(f->entry->size, size), size)));
	}
}

int memfd_inode_check(struct restore *r, const struct memfd_inode *f, const char **why)
{
	_cleanup_close_ int fd = -1;

	fd = create_memfd(f->entry);
	if (fd >= 0)
		return 0;
	*why = arena_printf(r->arena, "the memfd %s cannot be made here: %s%s", f->entry->name, strerror(-fd),
	                    f->entry->secret ? " (memfd_secret, secretmem.enable)"
	                    : fd == -EACCES  ? " (vm.memfd_noexec is 2)"
	                                     : "");
	return fd;
}

static int add_seals(const struct memfd_inode *f, int fd)
{
	if (f->entry->secret || fcntl(fd, F_GET_SEALS) == (int)f->entry->seals)
		return 0;
	if (fcntl(fd, F_ADD_SEALS, f->entry->seals))
		return log_errno(-errno, "memfd %s: fcntl(F_ADD_SEALS, 0x%x)", f->entry->name, f->entry->seals);
	return 0;
}

static int fill_memfd(struct restore *r, const struct memfd_inode *f, int fd)
{
	uint64_t size = round_up(f->entry->size, PAGE_SIZE);
	void *map;
	int err;

	if (!size || !f->pages->n_runs)
		return 0;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return log_errno(-errno, "memfd %s: mmap of %" PRIu64 " bytes", f->entry->name, size);
	err = pages_fill_object(r, f->pages, map, size);
	munmap(map, size);
	return err;
}

static int set_owner_and_mode(const struct memfd_inode *f, int fd)
{
	const MemfdInodeEntry *m = f->entry;
	struct stat st;

	if (fstat(fd, &st))
		return log_errno(-errno, "memfd %s: fstat", m->name);
	/* A user namespace may not know the owner. */
	if ((st.st_uid != m->uid || st.st_gid != m->gid) && fchown(fd, m->uid, m->gid))
		log_warn("the memfd %s: its owner is %u:%u instead of %u:%u: %s", m->name, st.st_uid, st.st_gid, m->uid,
		         m->gid, strerror(errno));
	if (m->has_mode && (st.st_mode & ~(unsigned)S_IFMT) != (m->mode & ~(unsigned)S_IFMT) &&
	    fchmod(fd, m->mode & ~(unsigned)S_IFMT))
		return log_errno(-errno, "memfd %s: fchmod 0%o", m->name, m->mode);
	return 0;
}

/*
 * Write-protected files are sealed at once: they may be executed, and execve() fails with ETXTBSY while a descriptor
 * can write to them.
 */
static int make_memfd_file(struct restore *r, struct memfd_inode *f)
{
	struct memfd_inode_restore_state *all = restore_state(r, &memfd_inode_subsys);
	_cleanup_close_ int fd = create_memfd(f->entry);
	int err;

	if (fd < 0)
		return log_errno(fd, "memfd %s: memfd_create", f->entry->name);
	if (ftruncate(fd, (off_t)f->entry->size))
		return log_errno(-errno, "memfd %s: ftruncate to %" PRIu64 " bytes", f->entry->name, f->entry->size);
	err = f->entry->secret ? secretmem_fill(r, f->entry, f->pages, fd) : fill_memfd(r, f, fd);
	err = err ?: set_owner_and_mode(f, fd);
	if (!err && (!f->writable || all->all_mapped))
		err = add_seals(f, fd);
	if (err)
		return err;
	f->fd = f->writable || f->entry->secret ? move_fd(&fd) : reopen_memfd(fd, O_RDONLY);
	f->made = true;
	return f->fd < 0 ? log_errno(f->fd, "memfd %s: open for reading", f->entry->name) : 0;
}

static void close_memfd(struct memfd_inode *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/*
 * The description that memfd_create() made: with another one that can write, execve() would fail with ETXTBSY. The
 * task had no other, so descriptors and mappings share it here too; what a mapping asks for changes nothing of it.
 */
static int open_original(const struct memfd_inode *f, int flags)
{
	_cleanup_close_ int fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (flags & (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME))
		err = fd_flags_restore(fd, (uint32_t)flags);
	return err ?: move_fd(&fd);
}

static bool wants_original(const struct memfd_inode *f, int flags)
{
	return f->entry->secret || (!f->entry->open_for_writing && (flags & (O_ACCMODE | O_PATH)) == O_RDWR);
}

int memfd_inode_open(struct restore *r, struct memfd_inode *f, int flags)
{
	struct memfd_inode_restore_state *all = restore_state(r, &memfd_inode_subsys);
	int err = f->made ? 0 : make_memfd_file(r, f), fd;

	if (err)
		return err;
	fd = wants_original(f, flags) ? open_original(f, flags) : reopen_memfd(f->fd, flags);
	if (fd < 0)
		return log_errno(fd, "memfd %s: open with flags 0%o", f->entry->name, (unsigned)flags);
	if (all->all_mapped && f->left && --f->left == 0)
		close_memfd(f);
	return fd;
}

int memfd_inode_all_mapped(struct restore *r)
{
	struct memfd_inode_restore_state *all = restore_state(r, &memfd_inode_subsys);
	int err = 0;

	all->all_mapped = true;
	for (struct memfd_inode *f = all->by_id; !err && f; f = f->hh.next) {
		if (f->made && f->writable)
			err = add_seals(f, f->fd);
		if (!f->left)
			close_memfd(f);
	}
	return err;
}
