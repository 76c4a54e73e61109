/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V shared memory (shmat(2)). The kernel shows a segment's number as the inode number of its mappings. What was
 * attached by one call is attached by one again, since one shmdt(2) has to find all parts of it.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "arch/arch_compat.h"
#include "agent/batch.h"
#include "arch_page.h"
#include "helper/sysv_object.h"
#include "lib/log.h"
#include "mm/shmem.h"
#include "mm/sysv_segment.h"
#include "mm/task_mm.h"
#include "tree/subsys.h"

extern const struct vma_kind sysv_shm_kind;
extern const struct subsys sysv_shm_subsys;

/* ---- dump ---- */

struct dumped_segment {
	IpcShmEntry entry;
	IpcDescEntry desc;
	uint64_t key;       /* in the table of shared objects */
	unsigned long here; /* mappings of it in the tree */
	unsigned long attached;
	struct dumped_segment *next;
};

struct sysv_shm_dump_state {
	struct dumped_segment *segments;
};

static bool sysv_shm_match(struct dump *d, const struct proc_map *m)
{
	return m->shared && !strncmp(m->name, "/SYSV", 5) && shmem_holds(d, m);
}

static void note_segment(struct dumped_segment *s, int id, const struct shmid_ds *ds)
{
	s->entry = (IpcShmEntry)IPC_SHM_ENTRY__INIT;
	s->desc = (IpcDescEntry)IPC_DESC_ENTRY__INIT;
	s->entry.desc = &s->desc;
	sysv_object_note(&s->desc, id, &ds->shm_perm);
	s->entry.size = ds->shm_segsz;
	s->entry.has_in_pagemaps = s->entry.in_pagemaps = true;
	s->entry.has_ctime = true;
	s->entry.ctime = ds->shm_ctime;
	s->attached = ds->shm_nattch;
}

static int find_segment(struct dump *d, const struct task *t, const struct proc_map *m, struct dumped_segment **sp)
{
	struct sysv_shm_dump_state *all = dump_state(d, &sysv_shm_subsys);
	struct dumped_segment *s = all->segments;
	struct shmid_ds ds;

	while (s && s->desc.id != m->ino)
		s = s->next;
	*sp = s;
	if (s)
		return 0;
	if (m->ino > INT32_MAX || shmctl((int)m->ino, IPC_STAT, &ds))
		return log_errno(-errno, "%s: mapping %" PRIx64 "-%" PRIx64 " %s: shmctl(%" PRIu64 ", IPC_STAT)",
		                 task_name(t), m->start, m->end, m->name, m->ino);
	*sp = s = arena_new_of(d->arena, struct dumped_segment);
	note_segment(s, (int)m->ino, &ds);
	s->key = m->ino | SHMEM_SEGMENT;
	s->next = all->segments;
	all->segments = s;
	return 0;
}

static int sysv_shm_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	struct dumped_segment *s;
	int err = find_segment(d, t, m, &s);

	if (err)
		return err;
	v->entry->status |= VMA_ANON_SHARED | VMA_SYSVIPC;
	v->entry->flags |= MAP_ANONYMOUS;
	v->entry->shmid = m->ino;
	v->entry->has_fdflags = true;
	v->entry->fdflags = m->flags & VMF_mw ? O_RDWR : O_RDONLY;
	s->here++;
	shmem_note_segment(d, t, m);
	return 0;
}

/* The number of its data is known when all objects are. */
static void name_data(struct dump *d, struct dumped_segment *s)
{
	const struct shmem_object *o = shmem_objects(d);

	while (o->ino != s->key)
		o = o->hh.next;
	s->entry.pages_id = shmem_object_id(d, o);
	s->entry.has_pages_id = s->entry.pages_id != s->desc.id;
	s->entry.attached_outside = s->entry.has_attached_outside = s->attached > s->here;
}

static int sysv_shm_write(struct dump *d)
{
	const struct sysv_shm_dump_state *all = dump_state(d, &sysv_shm_subsys);
	struct image *img = NULL;
	int err;

	if (!all->segments)
		return 0;
	err = image_create(d->dir, IMG_IPCNS_SHM, d->tree.tasks[0]->ids->ipc_ns_id, &img);
	for (struct dumped_segment *s = all->segments; !err && s; s = s->next) {
		name_data(d, s);
		err = image_write(img, &s->entry);
	}
	return image_close(img) ?: err;
}

/* ---- restore ---- */

static const char *why_missing(struct restore *r)
{
	const struct task *root = r->tree.tasks[0];

	return arena_printf(r->arena,
	                    "is of a System V segment that ipcns-shm-%u.img, which ids-%d.img names, does not have",
	                    root->ids ? root->ids->ipc_ns_id : 0, root->vpid.v);
}

static int sysv_shm_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	int err = vma_check_type(t, v) ?: sysv_segment_expect(r, v->shmid, v->pgoff + (v->end - v->start));

	if (err == -ENOENT)
		return vma_damaged(t, v, why_missing(r));
	if (err == -ERANGE)
		return vma_damaged(t, v, "ends behind its System V segment");
	return err;
}

/* Where the segment would begin, if all of it were attached. */
static raddr_t attached_at(const struct segment *s)
{
	return s->vma->start - s->vma->pgoff;
}

static bool is_same_attach(const struct segment *a, const struct segment *b)
{
	return a->row == b->row && a->kind == b->kind && a->vma->shmid == b->vma->shmid &&
	       attached_at(a) == attached_at(b);
}

static bool is_first_of_attach(const struct task_mm *m, const struct segment *s)
{
	for (const struct segment *before = s; before-- > m->segs;)
		if (is_same_attach(before, s))
			return false;
	return true;
}

static bool is_read_only(const VmaEntry *v)
{
	return v->has_fdflags && (v->fdflags & O_ACCMODE) == O_RDONLY;
}

/*
 * Attached where the kernel likes, from where each part moves into its place: nothing else is touched. What is left
 * over there is detached, which fails where nothing is. (For a 64-bit call that would be above 4 GiB.)
 */
static int attach_parts(struct batch *b, struct task_mm *m, const struct segment *first)
{
	const uint64_t arg[6] = { first->vma->shmid, 0, is_read_only(first->vma) ? SHM_RDONLY : 0 };
	int op = batch_add(b, m->compat ? COMPAT_NR_SHMAT : SYS_shmat,
	                   AGENT_OP_STOP | (m->compat ? AGENT_OP_COMPAT : 0), arg);
	int err = batch_run(b);
	raddr_t at = err ? 0 : (raddr_t)batch_ret(b, op);

	if (err)
		return err;
	if (at == attached_at(first)) /* where 32-bit calls look for room, the place may be the very one */
		return 0;
	for (const struct segment *s = first; s < m->segs + m->n_segs; s++) {
		uint64_t size = s->end - s->start;

		if (is_same_attach(first, s))
			batch_call(b, SYS_mremap, at + (s->start - attached_at(s)), size, size,
			           MREMAP_MAYMOVE | MREMAP_FIXED, s->start);
	}
	batch_ask(b, SYS_shmdt, at);
	return 0;
}

static int sysv_shm_map(struct batch *b, struct task_mm *m, struct segment *s)
{
	s->prot = PROT_READ | (is_read_only(s->vma) ? 0 : PROT_WRITE);
	return is_first_of_attach(m, s) ? attach_parts(b, m, s) : 0;
}

const struct vma_kind sysv_shm_kind = {
	.name = "System V shared memory",
	.status = VMA_SYSVIPC,
	.match = sysv_shm_match,
	.dump = sysv_shm_dump,
	.check = sysv_shm_check,
	.map = sysv_shm_map,
};

const struct subsys sysv_shm_subsys = {
	.name = "System V segments of a dump",
	.state = { .dump = sizeof(struct sysv_shm_dump_state) },
	.write_images = sysv_shm_write,
};
