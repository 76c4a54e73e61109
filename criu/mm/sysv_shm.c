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
#include "helper/ipc_ns.h"
#include "helper/sysv_object.h"
#include "lib/log.h"
#include "mm/hugetlb.h"
#include "mm/shmem.h"
#include "mm/sysv_segment.h"
#include "mm/task_mm.h"
#include "proc/proc.h"
#include "tree/subsys.h"

#define LARGEST_PAGE ((size_t)1 << 34)

extern const struct vma_kind sysv_shm_kind;
extern const struct subsys sysv_shm_subsys;

/* ---- dump ---- */

struct dumped_segment {
	struct ipc_ns *ns;
	IpcShmEntry entry;
	IpcDescEntry desc;
	uint64_t key;       /* in the table of shared objects */
	unsigned long here; /* mappings of it in the tree */
	unsigned long attached;
	const void *map; /* ours, of one that no task has attached */
	struct dumped_segment *next;
};

struct sysv_shm_dump_state {
	struct dumped_segment *segments;
};

static bool sysv_shm_match(struct dump *d, const struct proc_map *m)
{
	return m->shared && !strncmp(m->name, "/SYSV", 5) && (shmem_holds(d, m) || hugetlb_is_anonymous(d, m));
}

static struct dumped_segment *find_dumped(struct dump *d, const struct ipc_ns *ns, uint64_t id)
{
	const struct sysv_shm_dump_state *all = dump_state(d, &sysv_shm_subsys);
	struct dumped_segment *s = all->segments;

	while (s && (s->ns != ns || s->desc.id != id))
		s = s->next;
	return s;
}

/* huge: the size of its huge pages; 0: has none. */
static struct dumped_segment *note_segment(struct dump *d, struct ipc_ns *ns, int id, const struct shmid_ds *ds,
                                           uint64_t huge)
{
	struct sysv_shm_dump_state *all = dump_state(d, &sysv_shm_subsys);
	struct dumped_segment *s = arena_new_of(d->arena, struct dumped_segment);

	s->ns = ns;
	s->entry = (IpcShmEntry)IPC_SHM_ENTRY__INIT;
	s->desc = (IpcDescEntry)IPC_DESC_ENTRY__INIT;
	s->entry.desc = &s->desc;
	sysv_object_note(ns, &s->desc, id, &ds->shm_perm);
	s->entry.size = ds->shm_segsz;
	s->entry.has_in_pagemaps = s->entry.in_pagemaps = true;
	s->entry.has_ctime = true;
	s->entry.ctime = ds->shm_ctime;
	s->entry.has_hugetlb_flag = huge;
	s->entry.hugetlb_flag = huge ? SHM_HUGETLB | hugetlb_size_flag(huge) : 0;
	s->attached = ds->shm_nattch;
	s->key = shmem_key((uint32_t)id, huge) | SHMEM_SEGMENT | (uint64_t)ns->id << SHMEM_NS_SHIFT;
	s->next = all->segments;
	all->segments = s;
	return s;
}

static int stat_segment(struct ipc_ns *ns, uint64_t id, struct shmid_ds *ds)
{
	int err = ipc_ns_enter(ns);

	if (err)
		return err;
	if (id > INT32_MAX)
		err = -EINVAL;
	else if (shmctl((int)id, IPC_STAT, ds))
		err = -errno;
	return ipc_ns_leave(ns, err);
}

static int find_segment(struct dump *d, const struct task *t, const struct proc_map *m, struct dumped_segment **sp)
{
	struct ipc_ns *ns = ipc_ns_of_dumped(d, t);
	struct shmid_ds ds;
	int err;

	*sp = find_dumped(d, ns, m->ino);
	if (*sp)
		return 0;
	err = stat_segment(ns, m->ino, &ds);
	if (err == -EINVAL || err == -EIDRM)
		return log_refusal(-ENOTSUP,
		                   "%s: mapping %" PRIx64 "-%" PRIx64 " %s: System V segment %" PRIu64 " is not one of "
		                   "the ipc namespace that the task is in now: detach it (shmdt) before the dump",
		                   task_name(t), m->start, m->end, m->name, m->ino);
	if (err)
		return log_errno(err, "%s: mapping %" PRIx64 "-%" PRIx64 " %s: shmctl(%" PRIu64 ", IPC_STAT)",
		                 task_name(t), m->start, m->end, m->name, m->ino);
	*sp = note_segment(d, ns, (int)m->ino, &ds, m->flags & VMF_ht ? m->page_size : 0);
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
	shmem_note_segment(d, t, m, s->key);
	return 0;
}

/*
 * A mapping may be of a segment of another namespace, in which the task was when it attached that: nothing shows this
 * but that there are more, or fewer, than there ought to be.
 */
static int check_attached(const struct ipc_ns *ns, int id, uint32_t key, unsigned long attached, unsigned long here)
{
	if (attached == here)
		return 0;
	return log_refusal(
	    -EBUSY,
	    "System V segment %d (key 0x%08x) of %s is attached %lu times, but %lu times by tasks of the "
	    "tree that are in that namespace (see ipcs -m -p): end the other processes, or detach it "
	    "there",
	    id, key, ns->name, attached, here);
}

/*
 * The path that opens what is mapped here: the mapping ends with a page, which may be a huge one. *huge: its size; 0:
 * there are none (on tmpfs st_blksize may be large, too).
 */
static int find_own_mapping(const void *at, size_t size, char *path, size_t room, uint64_t *huge)
{
	uintptr_t start = (uintptr_t)at;
	struct stat st;

	for (size_t unit = PAGE_SIZE; unit <= LARGEST_PAGE; unit *= 2) {
		snprintf(path, room, "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, start,
		         start + round_up(size, unit));
		if (!stat(path, &st)) {
			*huge = (uint64_t)st.st_blksize;
			if (*huge <= PAGE_SIZE || !hugetlb_has_file(&st, *huge))
				*huge = 0;
			return 0;
		}
		if (errno != ENOENT)
			break;
	}
	return log_errno(-errno, "stat of %s", path);
}

/*
 * One that no task has attached: its data is read through a mapping of criu's. A segment that has been attached ends
 * when it is no longer, if kernel.shm_rmid_forced says so: then it may not be touched.
 */
static int take_unattached(struct dump *d, struct ipc_ns *ns, int id, const struct shmid_ds *ds)
{
	const void *at = shmat(id, NULL, SHM_RDONLY);
	struct dumped_segment *s;
	uint64_t huge = 0;
	char path[80];
	int err;

	if (at == (void *)-1)
		return log_errno(-errno, "System V segment %d: shmat", id);
	/* What is mapped is looked at from outside, where an ordinary user's criu has the rights for it. */
	ipc_ns_leave(ns, 0);
	err = find_own_mapping(at, ds->shm_segsz, path, sizeof(path), &huge);
	err = ipc_ns_enter(ns) ?: err;
	if (err) {
		shmdt(at);
		return err;
	}
	s = note_segment(d, ns, id, ds, huge);
	s->map = at;
	shmem_note_object(d, ns->task ?: d->tree.tasks[0], s->key, huge, path);
	return 0;
}

static bool ends_when_detached(void)
{
	int64_t forced = 0;

	return !proc_read_number(AT_FDCWD, "/proc/sys/kernel/shm_rmid_forced", &forced) && forced;
}

static int collect_one(struct dump *d, struct ipc_ns *ns, int id)
{
	const struct dumped_segment *s = find_dumped(d, ns, (uint64_t)id);
	struct shmid_ds ds;

	if (s)
		return check_attached(ns, id, s->desc.key, s->attached, s->here);
	if (shmctl(id, IPC_STAT, &ds))
		return errno == EINVAL || errno == EIDRM
		           ? 0
		           : log_errno(-errno, "System V segment %d: shmctl(IPC_STAT)", id);
	if (ds.shm_nattch)
		return check_attached(ns, id, (uint32_t)ds.shm_perm.__key, ds.shm_nattch, 0);
	if (!ends_when_detached())
		return take_unattached(d, ns, id, &ds);
	return log_refusal(-ENOTSUP,
	                   "System V segment %d (key 0x%08x) of %s is not attached, and would end "
	                   "with the next shmdt(2), since kernel.shm_rmid_forced is set: attach it, or set that to 0",
	                   id, (unsigned)ds.shm_perm.__key, ns->name);
}

static int collect_all(struct dump *d, struct ipc_ns *ns)
{
	size_t n = 0;
	int *ids = NULL, err = sysv_object_list(d->arena, "shm", &ids, &n), part;

	for (size_t i = 0; i < n; i++) {
		part = collect_one(d, ns, ids[i]);
		err = err ?: part;
	}
	return err;
}

/* All segments of a namespace of the tree's own are the tree's. */
static int sysv_shm_collect(struct dump *d)
{
	int err = 0;

	for (struct ipc_ns *ns = ipc_ns_dumped(d); !err && ns; ns = ns->next) {
		if (!ns->own)
			continue;
		err = ipc_ns_enter(ns);
		if (!err)
			err = ipc_ns_leave(ns, collect_all(d, ns));
	}
	return err;
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

static int write_segments(struct dump *d, const struct ipc_ns *ns)
{
	const struct sysv_shm_dump_state *all = dump_state(d, &sysv_shm_subsys);
	struct image *img = NULL;
	int err = 0;

	for (struct dumped_segment *s = all->segments; !err && s; s = s->next) {
		if (s->ns != ns)
			continue;
		if (!img)
			err = image_create(d->dir, IMG_IPCNS_SHM, ns->id, &img);
		name_data(d, s);
		err = err ?: image_write(img, &s->entry);
	}
	return image_close(img) ?: err;
}

static int sysv_shm_write(struct dump *d)
{
	int err = 0;

	for (const struct ipc_ns *ns = ipc_ns_dumped(d); !err && ns; ns = ns->next)
		err = write_segments(d, ns);
	return err;
}

static void sysv_shm_end(struct dump *d)
{
	const struct sysv_shm_dump_state *all = dump_state(d, &sysv_shm_subsys);

	for (struct dumped_segment *s = all->segments; s; s = s->next)
		if (s->map)
			shmdt(s->map);
}

/* ---- restore ---- */

static int sysv_shm_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	int err = vma_check_type(t, v) ?: sysv_segment_expect(r, t, v->shmid, v->pgoff + (v->end - v->start));
	uint32_t ns = t->ids ? t->ids->ipc_ns_id : 0;

	if (err == -ENOENT)
		return vma_damaged(t, v,
		                   arena_printf(r->arena,
		                                "is of a System V segment that ipcns-shm-%u.img, which ids-%d.img "
		                                "names, does not have",
		                                ns, t->vpid.v));
	if (err == -ERANGE)
		return vma_damaged(t, v,
		                   arena_printf(r->arena, "ends behind its System V segment in ipcns-shm-%u.img", ns));
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
	.collect = sysv_shm_collect,
	.write_images = sysv_shm_write,
	.end = sysv_shm_end,
};
