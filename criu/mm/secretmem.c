/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/secretmem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "files/files.h"
#include "lib/arena_hash.h"
#include "lib/io.h"
#include "lib/log.h"
#include "mm/memfd_inode.h"
#include "mm/shmem.h"
#include "pages/pages.h"
#include "tree/subsys.h"

#define SECRETMEM_LINK "/secretmem (deleted)"
#define PIECE          (32UL << 10) /* that the agent copies at once */

extern const struct subsys secretmem_subsys;
extern const struct vma_kind secretmem_vma_kind;

/* ---- dump ---- */

struct secret {
	uint64_t ino;
	MemfdInodeEntry *entry;
	const char *who; /* the first descriptor or mapping, for messages */
	uint64_t have;   /* bytes from the start that have been copied */
	int data;        /* a memfd of ours that has them */
	UT_hash_handle hh;
};

struct secret_map {
	const struct task *task;
	struct secret *secret;
	raddr_t start;
	uint64_t off, len;
};

struct secretmem_dump_state {
	struct secret *by_ino;
	struct secret_map *maps;
	size_t n_maps;
	dev_t dev; /* 0: not asked for yet */
};

static int make_data(struct secret *s)
{
	struct stat st;

	s->data = memfd_create("criu-secret", MFD_CLOEXEC);
	if (s->data < 0 || fstat(s->data, &st) || ftruncate(s->data, (off_t)s->entry->size))
		return log_errno(-errno, "%s: memfd_create and ftruncate to %" PRIu64 " bytes", s->who, s->entry->size);
	s->entry->shmid = (uint32_t)st.st_ino;
	return 0;
}

static int secret_of(struct dump *d, const struct task *t, const struct stat *st, const char *who, struct secret **sp)
{
	struct secretmem_dump_state *all = dump_state(d, &secretmem_subsys);
	uint64_t ino = st->st_ino;
	struct secret *s;
	char path[40];
	int err;

	HASH_FIND(hh, all->by_ino, &ino, sizeof(ino), s);
	*sp = s;
	if (s)
		return 0;
	*sp = s = arena_new_of(d->arena, struct secret);
	s->ino = ino;
	s->who = arena_strdup(d->arena, who);
	s->entry = arena_msg(d->arena, MemfdInodeEntry, memfd_inode_entry);
	s->entry->name = (char *)"secretmem";
	s->entry->uid = st->st_uid;
	s->entry->gid = st->st_gid;
	s->entry->size = (uint64_t)st->st_size;
	s->entry->has_mode = s->entry->has_secret = s->entry->secret = true;
	s->entry->mode = st->st_mode;
	err = make_data(s);
	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->data);
	shmem_note_object(d, t, s->entry->shmid, false, path);
	HASH_ADD_IN(d->arena, hh, all->by_ino, ino, sizeof(s->ino), s);
	memfd_inode_add(d, s->entry->shmid, s->entry);
	log_warn("%s: memory of memfd_secret is written to the images", who);
	return 0;
}

bool secretmem_match(const struct fd_info *info)
{
	struct statfs fs;

	return !strcmp(info->link, SECRETMEM_LINK) && !fstatfs(info->fd, &fs) && fs.f_type == SECRETMEM_MAGIC;
}

int secretmem_dump(struct dump *d, const struct fd_info *info, uint32_t *inode_id)
{
	struct secret *s;
	int err = secret_of(d, info->task, &info->st, fd_name(info), &s);

	*inode_id = err ? 0 : (uint32_t)s->entry->inode_id;
	return err;
}

static void map_files_path(const struct task *t, const struct proc_map *m, char *path, size_t size)
{
	snprintf(path, size, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start, m->end);
}

/* All of it is on one device, of the kernel's own. */
static bool is_on_secretmem(struct dump *d, const struct proc_map *m)
{
	struct secretmem_dump_state *all = dump_state(d, &secretmem_subsys);
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!all->dev) {
		fd = secretmem_create();
		if (fd >= 0 && !fstat(fd, &st))
			all->dev = st.st_dev;
	}
	return all->dev && makedev(m->major, m->minor) == all->dev;
}

static bool secretmem_vma_match(struct dump *d, const struct proc_map *m)
{
	return m->shared && !strcmp(m->name, SECRETMEM_LINK) && is_on_secretmem(d, m);
}

static int secretmem_vma_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	struct secretmem_dump_state *all = dump_state(d, &secretmem_subsys);
	struct secret_map map = { .task = t, .start = m->start, .off = m->pgoff, .len = m->end - m->start };
	char path[80], who[120];
	struct stat st;
	int err;

	map_files_path(t, m, path, sizeof(path));
	snprintf(who, sizeof(who), "%s: mapping %" PRIx64 "-%" PRIx64, task_name(t), m->start, m->end);
	if (stat(path, &st))
		return log_errno(-errno, "%s: stat of %s", who, path);
	err = secret_of(d, t, &st, who, &map.secret);
	if (err)
		return err;
	arena_push(d->arena, &all->maps, &all->n_maps, map);
	v->entry->status |= VMA_SECRETMEM;
	v->entry->shmid = map.secret->entry->shmid;
	return 0;
}

/*
 * By the task's own right to read it: from its memory into the agent's. While its agent works another task's may copy
 * the same piece.
 */
static int copy_piece(struct task *t, struct secret *s, raddr_t from, size_t n)
{
	uint64_t at = s->have;
	struct batch *b = agent_batch(t->threads[0].dump->agent, "memory of memfd_secret");
	struct iovec iov[2] = { { (void *)(uintptr_t)from, n }, { NULL, n } };
	void *local;
	raddr_t to, iov_at;
	int pid, op, err;

	batch_reserve(b, 2, n + sizeof(iov) + 32);
	to = batch_space(b, n, &local);
	iov[1].iov_base = (void *)(uintptr_t)to;
	iov_at = batch_data(b, iov, sizeof(iov));
	pid = batch_ask(b, SYS_getpid);
	op = batch_ask(b, SYS_process_vm_writev, 0, iov_at, 1, iov_at + sizeof(*iov), 1, 0);
	batch_ref(b, 0, pid);
	err = batch_run(b);
	if (err)
		return err;
	if (batch_ret(b, op) != (int64_t)n)
		return log_errno(batch_ret(b, op) < 0 ? (int)batch_ret(b, op) : -EFAULT,
		                 "%s: process_vm_writev of %zu bytes at %" PRIx64 " by the task itself", s->who, n,
		                 from);
	err = io_pwrite_all(s->data, local, n, (off_t)at);
	if (err)
		return log_errno(err, "%s: pwrite to a memfd", s->who);
	s->have = MAX(s->have, at + n);
	return 0;
}

/* Without access the task cannot read either. */
static bool can_read(const struct task *t, raddr_t at)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->start <= at && at < t->mm->vmas[i]->end)
			return t->mm->vmas[i]->prot & PROT_READ;
	return false;
}

static int secretmem_inside(struct dump *d, struct task *t)
{
	struct secretmem_dump_state *all = dump_state(d, &secretmem_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < all->n_maps; i++) {
		const struct secret_map *m = &all->maps[i];
		struct secret *s = m->secret;
		uint64_t end = MIN(m->off + m->len, s->entry->size);

		if (m->task != t || !can_read(t, m->start))
			continue;
		while (!err && m->off <= s->have && s->have < end)
			err = copy_piece(t, s, m->start + (s->have - m->off), MIN(PIECE, end - s->have));
	}
	return err;
}

static int secretmem_collect(struct dump *d)
{
	struct secretmem_dump_state *all = dump_state(d, &secretmem_subsys);

	for (const struct secret *s = all->by_ino; s; s = s->hh.next)
		if (s->have < s->entry->size)
			log_refusal(
			    -ENOTSUP,
			    "%s: memory of memfd_secret, of which no task has all %" PRIu64
			    " bytes mapped for reading: nothing else can read it; map it, or close it, before the dump",
			    s->who, s->entry->size);
	return 0;
}

static void secretmem_end(struct dump *d)
{
	struct secretmem_dump_state *all = dump_state(d, &secretmem_subsys);

	for (struct secret *s = all->by_ino; s; s = s->hh.next)
		cleanup_close(&s->data);
}

const struct subsys secretmem_subsys = {
	.name = "memory of memfd_secret",
	.state = { .dump = sizeof(struct secretmem_dump_state) },
	.inside = secretmem_inside,
	.collect = secretmem_collect,
	.end = secretmem_end,
};

/* ---- restore ---- */

int secretmem_create(void)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

#define FILL_STEP (256 * PAGE_SIZE)

/* Through memory of our own: whatever reads a file, need not be able to write into such memory. */
static int fill_run(const struct pagemap *pages, const struct page_run *run, uint8_t *map, uint64_t size)
{
	_cleanup_free_ uint8_t *bytes = malloc(FILL_STEP);
	raddr_t end = MIN(page_run_end(run), size);
	int err = bytes ? 0 : log_errno(-ENOMEM, "memory of memfd_secret: malloc");

	for (raddr_t at = run->at; !err && at < end; at += FILL_STEP) {
		struct page_run part = page_run_part(run, at, MIN(at + FILL_STEP, end));

		err = pages_read_run(pages, &part, bytes);
		if (!err)
			memcpy(map + at, bytes, part.n * PAGE_SIZE);
	}
	return err;
}

int secretmem_fill(struct restore *r, const MemfdInodeEntry *m, const struct pagemap *pages, int fd)
{
	uint64_t size = round_up(m->size, PAGE_SIZE);
	uint8_t *map = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
	int err = 0;

	if (map == MAP_FAILED)
		return log_errno(-errno, "memory of memfd_secret: mmap of %" PRIu64 " bytes (RLIMIT_MEMLOCK)", size);
	for (size_t i = 0; !err && i < pages->n_runs; i++)
		err = fill_run(pages, &pages->runs[i], map, size);
	if (map)
		munmap(map, size);
	return err;
}

static struct memfd_inode *secret_file(struct restore *r, const VmaEntry *v)
{
	return memfd_inode_find_secret(r, v->shmid);
}

static int secretmem_vma_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	struct memfd_inode *f = secret_file(r, v);
	const char *why = NULL;

	if (!f || !(v->flags & MAP_SHARED))
		return vma_damaged(t, v, "is of a memfd_secret that memfd.img does not have");
	return memfd_inode_check(r, f, &why) ? vma_refuse(t, v, why) : 0;
}

static int secretmem_vma_open(struct restore *r, const VmaEntry *v, bool *own)
{
	*own = true;
	return memfd_inode_open(r, secret_file(r, v), O_RDWR);
}

const struct vma_kind secretmem_vma_kind = {
	.name = "memory of memfd_secret",
	.status = VMA_SECRETMEM,
	.match = secretmem_vma_match,
	.dump = secretmem_vma_dump,
	.check = secretmem_vma_check,
	.open = secretmem_vma_open,
};
