/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/sysv_segment.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "arch_page.h"
#include "helper/ipc_ns.h"
#include "helper/sysv_object.h"
#include "lib/arena_hash.h"
#include "lib/io.h"
#include "lib/log.h"
#include "mm/hugetlb.h"
#include "pages/pages.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"
#include "uapi/sysv_shm_bits.h"

struct sysv_segment {
	struct ipc_ns *ns;
	uint64_t id;
	uint64_t where; /* number of the namespace and of the segment */
	const IpcShmEntry *entry;
	uint64_t page_size;    /* of huge pages, or the usual one */
	uint8_t *raw;          /* its data, where the image has that beside the entry */
	struct pagemap *pages; /* where it is stored as pages */
	size_t mappings;       /* of the tree */
	bool exists;           /* on this host, and is to be used again */
	bool keeps_data;       /* others have it attached: what is in it is theirs too */
	void *map;
	UT_hash_handle hh;
};

struct sysv_restore_state {
	struct sysv_segment *all;
};

extern const struct subsys sysv_segment_subsys;

/* ---- the type ---- */

static int get_segment(key_t key, uint64_t size, int flags)
{
	return shmget(key, size, flags);
}

static int set_segment(int id, const struct ipc_perm *p)
{
	struct shmid_ds ds = { .shm_perm = *p };

	return shmctl(id, IPC_SET, &ds);
}

static int remove_segment(int id)
{
	return shmctl(id, IPC_RMID, NULL);
}

static const struct sysv_type segment_type = {
	.name = "System V shared memory",
	.noun = "segment",
	.call = "shmget",
	.next_id = "shm_next_id",
	.remove_letter = 'm',
	.get = get_segment,
	.set = set_segment,
	.remove = remove_segment,
};

/* ---- images ---- */

static int read_raw_data(struct restore *r, struct image *img, struct sysv_segment *s)
{
	uint64_t size = round_up(s->entry->size, 4);

	if (size > image_left(img))
		return log_errno(-EBADMSG, "%s: segment %" PRIu64 " is cut short", image_name(img), s->id);
	s->raw = arena_alloc(r->arena, size);
	return image_read_raw(img, s->raw, size);
}

static uint64_t segment_where(const struct ipc_ns *ns, uint64_t id)
{
	return (uint64_t)ns->id << 32 | id;
}

static uint64_t segment_size(const struct sysv_segment *s)
{
	return round_up(s->entry->size, s->page_size);
}

/* Huge pages are set aside when a segment is made. */
static void need_huge(struct restore *r, const struct sysv_segment *s)
{
	if (s->page_size > PAGE_SIZE)
		hugetlb_need(r, s->page_size, segment_size(s) / s->page_size);
}

static int add_segment(struct restore *r, struct ipc_ns *ns, struct image *img, const IpcShmEntry *e)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	struct sysv_segment *s = arena_new_of(r->arena, struct sysv_segment);

	s->ns = ns;
	s->id = e->desc->id;
	s->where = segment_where(ns, s->id);
	s->entry = e;
	if (e->desc->id > INT32_MAX || !e->size || e->size > INT64_MAX - PAGE_SIZE)
		return log_errno(-EBADMSG, "%s: segment %" PRIu64 " of %" PRIu64 " bytes is impossible",
		                 image_name(img), s->id, e->size);
	s->page_size = e->hugetlb_flag ? hugetlb_page_size(e->hugetlb_flag & HUGETLB_SIZE_BITS) : PAGE_SIZE;
	if (!s->page_size || e->size > INT64_MAX - s->page_size)
		return log_errno(-EBADMSG, "%s: segment %" PRIu64 " has huge pages of an impossible size",
		                 image_name(img), s->id);
	HASH_ADD_IN(r->arena, hh, all->all, where, sizeof(s->where), s);
	if (ns->own)
		need_huge(r, s);
	return e->in_pagemaps ? pages_read_object(r, e->has_pages_id ? e->pages_id : e->desc->id, &s->pages)
	                      : read_raw_data(r, img, s);
}

static int read_segments(struct restore *r, struct ipc_ns *ns)
{
	IpcShmEntry *e;
	struct image *img;
	int err = image_open(r->dir, IMG_IPCNS_SHM, ns->id, &img), more = 1;

	if (err)
		return err == -ENOENT ? 0 : err;
	while (!err && (more = image_read(img, &ipc_shm_entry__descriptor, r->arena, &e)) > 0)
		err = add_segment(r, ns, img, e);
	image_close(img);
	return err ?: more;
}

static int sysv_read_images(struct restore *r)
{
	int err = 0;

	for (struct ipc_ns *ns = ipc_ns_restored(r); !err && ns; ns = ns->next)
		err = read_segments(r, ns);
	return err;
}

static struct sysv_segment *find_segment_of(struct restore *r, const struct task *t, uint64_t id)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	const struct ipc_ns *ns = ipc_ns_of_restored(r, t);
	struct sysv_segment *s = NULL;
	uint64_t where = ns ? segment_where(ns, id) : 0;

	if (ns && id <= INT32_MAX)
		HASH_FIND(hh, all->all, &where, sizeof(where), s);
	return s;
}

/* In a namespace of the tree's own, segments without mappings too; in criu's they are not in the images. */
static bool is_wanted(const struct sysv_segment *s)
{
	return s->mappings || s->ns->own;
}

static bool is_missing(struct sysv_segment *s)
{
	struct shmid_ds ds;
	int err = ipc_ns_enter(s->ns);

	return err || ipc_ns_leave(s->ns, shmctl((int)s->id, IPC_STAT, &ds));
}

int sysv_segment_expect(struct restore *r, const struct task *t, uint64_t id, uint64_t end)
{
	struct sysv_segment *s = find_segment_of(r, t, id);

	if (!s)
		return -ENOENT;
	if (end > segment_size(s))
		return -ERANGE;
	if (!s->mappings++ && !s->ns->own && is_missing(s))
		need_huge(r, s);
	return 0;
}

/* ---- what is on this host ---- */

/* Whether it is the one of the dump, or one that an earlier restore of these images has left. */
static bool is_same_segment(struct restore *r, const struct shmid_ds *ds, const IpcShmEntry *e)
{
	if (!sysv_object_is_like(&ds->shm_perm, e->desc) || ds->shm_segsz != e->size)
		return false;
	if (e->has_ctime && ds->shm_ctime == e->ctime)
		return true;
	return !ds->shm_nattch && ns_ids_was_of_tree(r, ds->shm_lpid);
}

static int refuse_segment(const struct sysv_segment *s, const char *why)
{
	return sysv_object_refuse(&segment_type, s->entry->desc, why);
}

static int check_existing(struct restore *r, struct sysv_segment *s, const struct shmid_ds *ds)
{
	if (!is_same_segment(r, ds, s->entry))
		return refuse_segment(s, "is another one's on this host: end what uses that one and remove it "
		                         "(ipcrm -m), or restore in a new ipc namespace");
	if (ds->shm_nattch && !s->entry->attached_outside)
		return refuse_segment(s, "is in use by processes that are not in the images (see ipcs -p -m): end "
		                         "them first");
	s->exists = true;
	s->keeps_data = ds->shm_nattch;
	return 0;
}

static int check_missing(const struct sysv_segment *s)
{
	int err = sysv_object_check_missing(&segment_type, s->entry->desc);

	if (!err && s->entry->attached_outside)
		log_warn("System V shared memory %" PRIu64 " was in use by processes outside of the tree too, and is "
		         "gone: it is made with the data of the dump, for the tree alone",
		         s->id);
	return err;
}

static int check_segment(struct restore *r, struct sysv_segment *s)
{
	struct shmid_ds ds;

	if (!shmctl((int)s->id, IPC_STAT, &ds))
		return check_existing(r, s, &ds);
	if (errno == EACCES)
		return refuse_segment(s,
		                      "is another one's on this host, which may not be looked at (shmctl: Permission "
		                      "denied)");
	if (errno != EINVAL && errno != EIDRM)
		return log_errno(-errno, "System V shared memory %" PRIu64 ": shmctl(IPC_STAT)", s->id);
	return check_missing(s);
}

static int check_in_place(struct restore *r, struct sysv_segment *s)
{
	int err = ipc_ns_enter(s->ns);

	return err ?: ipc_ns_leave(s->ns, check_segment(r, s));
}

static int sysv_check(struct restore *r)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	int err = 0;

	for (struct sysv_segment *s = all->all; s; s = s->hh.next) {
		int part;

		if (!is_wanted(s))
			continue;
		log_about("ipcns-shm-%lu.img", s->ns->id);
		part = s->ns->own ? 0 : check_in_place(r, s);
		log_about(NULL, 0);
		err = err ?: part;
	}
	return err;
}

/* ---- making ---- */

struct made_segment {
	uint64_t size;
	uint32_t key;
	int id;
};

/* Not one that another process has made under this number: its size or key is another. */
static int remove_made(const struct undo *u)
{
	const struct made_segment *made = u->data;
	struct shmid_ds ds;
	int home, err = ipc_ns_undo_enter(u->fd, &home);

	if (err)
		return err;
	if (shmctl(made->id, IPC_STAT, &ds))
		err = errno == EINVAL || errno == EIDRM ? -ENOENT : -errno;
	else if (ds.shm_segsz != made->size || (uint32_t)ds.shm_perm.__key != made->key)
		err = -ENOENT;
	else if (shmctl(made->id, IPC_RMID, NULL))
		err = -errno;
	ipc_ns_undo_leave(u->fd, home);
	return err;
}

static int note_made(struct restore *r, const struct sysv_segment *s)
{
	const struct made_segment made = { s->entry->size, s->entry->desc->key, (int)s->id };
	const struct undo undo = { .type = UNDO_CALL,
		                   .call = remove_made,
		                   .fd = ipc_ns_undo_fd(s->ns),
		                   .data = &made,
		                   .data_len = sizeof(made) };

	return guardian_note(r->guardian, &undo);
}

/* In a namespace of the tree's own: that vanishes, if the restore fails. */
static int create_segment(struct restore *r, const struct sysv_segment *s)
{
	int err = s->ns->own ? 0 : note_made(r, s);

	err = err < 0 ? err
	              : sysv_object_create(s->ns, &segment_type, s->entry->desc, s->entry->size,
	                                   (int)s->entry->hugetlb_flag);
	if (!err && s->entry->desc->mode & SHM_LOCKED && shmctl((int)s->id, SHM_LOCK, NULL))
		err = log_errno(-errno, "System V shared memory %" PRIu64 ": shmctl(SHM_LOCK)", s->id);
	return err;
}

static int attach_here(struct sysv_segment *s)
{
	void *at = shmat((int)s->id, NULL, 0);

	if (at == (void *)-1)
		return log_errno(-errno, "System V shared memory %" PRIu64 ": shmat", s->id);
	s->map = at;
	return 0;
}

/* Stays attached here until all tasks have it: a segment without mappings may end (kernel.shm_rmid_forced). */
static int fill_segment(struct restore *r, struct sysv_segment *s)
{
	size_t size = segment_size(s);

	if (s->keeps_data)
		return 0;
	if (s->exists && madvise(s->map, size, MADV_REMOVE))
		return log_errno(-errno, "System V shared memory %" PRIu64 ": madvise(MADV_REMOVE)", s->id);
	if (s->raw)
		memcpy(s->map, s->raw, s->entry->size);
	return s->raw ? 0 : pages_fill_object(r, s->pages, s->map, size);
}

static int make_segment(struct restore *r, struct sysv_segment *s)
{
	int err = ipc_ns_enter(s->ns);

	if (err)
		return err;
	if (!s->exists)
		err = create_segment(r, s);
	return ipc_ns_leave(s->ns, err ?: attach_here(s)) ?: fill_segment(r, s);
}

static int sysv_before_start(struct restore *r)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	int err = 0;

	for (struct sysv_segment *s = all->all; !err && s; s = s->hh.next)
		err = is_wanted(s) ? make_segment(r, s) : 0;
	return err;
}

static int sysv_prepare(struct restore *r)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);

	for (struct sysv_segment *s = all->all; s; s = s->hh.next)
		if (s->map)
			shmdt(s->map);
	return 0;
}

static int remove_segment_again(struct sysv_segment *s)
{
	int err = ipc_ns_enter(s->ns);

	if (err)
		return err;
	if (shmctl((int)s->id, IPC_RMID, NULL))
		err = log_errno(-errno, "System V shared memory %" PRIu64 ": shmctl(IPC_RMID)", s->id);
	return ipc_ns_leave(s->ns, err);
}

/* Those that were removed while they were attached: they have no number that others can use any more. */
static int sysv_all_standing(struct restore *r)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	int err = 0;

	for (struct sysv_segment *s = all->all; !err && s; s = s->hh.next)
		if (s->mappings && s->entry->desc->mode & SHM_DEST)
			err = remove_segment_again(s);
	return err;
}

const struct subsys sysv_segment_subsys = {
	.name = "System V segments",
	.state = { .restore = sizeof(struct sysv_restore_state) },
	.read_images = sysv_read_images,
	.check = sysv_check,
	.before_start = sysv_before_start,
	.prepare = sysv_prepare,
	.all_standing = sysv_all_standing,
};
