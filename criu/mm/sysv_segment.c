/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/sysv_segment.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "arch_page.h"
#include "helper/sysv_object.h"
#include "lib/arena_hash.h"
#include "lib/io.h"
#include "lib/log.h"
#include "pages/pages.h"
#include "tree/subsys.h"
#include "uapi/sysv_shm_bits.h"

struct sysv_segment {
	uint64_t id;
	const IpcShmEntry *entry;
	uint8_t *raw;          /* its data, where the image has that beside the entry */
	struct pagemap *pages; /* where it is stored as pages */
	size_t mappings;       /* of the tree */
	bool exists;           /* on this host, and is to be used again */
	bool keeps_data;       /* others have it attached: what is in it is theirs too */
	void *map;
	UT_hash_handle hh;
};

struct sysv_restore_state {
	struct sysv_segment *by_id;
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

static int add_segment(struct restore *r, struct image *img, const IpcShmEntry *e)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	struct sysv_segment *s = arena_new_of(r->arena, struct sysv_segment);

	s->id = e->desc->id;
	s->entry = e;
	if (e->desc->id > INT32_MAX || !e->size || e->size > INT64_MAX - PAGE_SIZE)
		return log_errno(-EBADMSG, "%s: segment %" PRIu64 " of %" PRIu64 " bytes is impossible",
		                 image_name(img), s->id, e->size);
	if (e->hugetlb_flag)
		log_refusal(-ENOTSUP, "%s: segment %" PRIu64 " has huge pages (SHM_HUGETLB), which are not supported",
		            image_name(img), s->id);
	HASH_ADD_IN(r->arena, hh, all->by_id, id, sizeof(s->id), s);
	return e->in_pagemaps ? pages_read_object(r, e->has_pages_id ? e->pages_id : e->desc->id, &s->pages)
	                      : read_raw_data(r, img, s);
}

static int sysv_read_images(struct restore *r)
{
	const TaskKobjIdsEntry *ids = r->tree.tasks[0]->ids;
	IpcShmEntry *e;
	struct image *img;
	int err = ids ? image_open(r->dir, IMG_IPCNS_SHM, ids->ipc_ns_id, &img) : -ENOENT, more = 1;

	if (err)
		return err == -ENOENT ? 0 : err;
	while (!err && (more = image_read(img, &ipc_shm_entry__descriptor, r->arena, &e)) > 0)
		err = add_segment(r, img, e);
	image_close(img);
	return err ?: more;
}

static struct sysv_segment *find_segment_of(struct restore *r, uint64_t id)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	struct sysv_segment *s;

	HASH_FIND(hh, all->by_id, &id, sizeof(id), s);
	return s;
}

int sysv_segment_expect(struct restore *r, uint64_t id, uint64_t end)
{
	struct sysv_segment *s = find_segment_of(r, id);

	if (!s)
		return -ENOENT;
	if (end > round_up(s->entry->size, PAGE_SIZE))
		return -ERANGE;
	s->mappings++;
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
	return !ds->shm_nattch && tree_find(&r->tree, (vpid_t) { ds->shm_lpid });
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

static int sysv_check(struct restore *r)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	int err = 0;

	if (!all->by_id)
		return 0;
	log_about("ipcns-shm-%lu.img", r->tree.tasks[0]->ids->ipc_ns_id);
	for (struct sysv_segment *s = all->by_id; s; s = s->hh.next) {
		int part = s->mappings ? check_segment(r, s) : 0;

		err = err ?: part;
	}
	log_about(NULL, 0);
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

	if (shmctl(made->id, IPC_STAT, &ds))
		return errno == EINVAL || errno == EIDRM ? -ENOENT : -errno;
	if (ds.shm_segsz != made->size || (uint32_t)ds.shm_perm.__key != made->key)
		return -ENOENT;
	return shmctl(made->id, IPC_RMID, NULL) ? -errno : 0;
}

static int create_segment(struct restore *r, const struct sysv_segment *s)
{
	const struct made_segment made = { s->entry->size, s->entry->desc->key, (int)s->id };
	const struct undo undo = {
		.type = UNDO_CALL, .call = remove_made, .fd = -1, .data = &made, .data_len = sizeof(made)
	};
	int err = guardian_note(r->guardian, &undo);

	err = err < 0 ? err : sysv_object_create(&segment_type, s->entry->desc, s->entry->size);
	if (!err && s->entry->desc->mode & SHM_LOCKED && shmctl((int)s->id, SHM_LOCK, NULL))
		err = log_errno(-errno, "System V shared memory %" PRIu64 ": shmctl(SHM_LOCK)", s->id);
	return err;
}

/* Stays attached here until all tasks have it: a segment without mappings may end (kernel.shm_rmid_forced). */
static int fill_segment(struct restore *r, struct sysv_segment *s)
{
	size_t size = round_up(s->entry->size, PAGE_SIZE);
	void *at = shmat((int)s->id, NULL, 0);

	if (at == (void *)-1)
		return log_errno(-errno, "System V shared memory %" PRIu64 ": shmat", s->id);
	s->map = at;
	if (s->keeps_data)
		return 0;
	if (s->exists && madvise(at, size, MADV_REMOVE))
		return log_errno(-errno, "System V shared memory %" PRIu64 ": madvise(MADV_REMOVE)", s->id);
	if (s->raw)
		memcpy(at, s->raw, s->entry->size);
	return s->raw ? 0 : pages_fill_object(r, s->pages, at, size);
}

static int sysv_before_start(struct restore *r)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);
	int err = 0;

	for (struct sysv_segment *s = all->by_id; !err && s; s = s->hh.next) {
		if (!s->mappings)
			continue;
		if (!s->exists)
			err = create_segment(r, s);
		err = err ?: fill_segment(r, s);
	}
	return err;
}

static int sysv_prepare(struct restore *r)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);

	for (struct sysv_segment *s = all->by_id; s; s = s->hh.next)
		if (s->map)
			shmdt(s->map);
	return 0;
}

/* Those that were removed while they were attached: they have no number that others can use any more. */
static int sysv_all_standing(struct restore *r)
{
	struct sysv_restore_state *all = restore_state(r, &sysv_segment_subsys);

	for (struct sysv_segment *s = all->by_id; s; s = s->hh.next)
		if (s->mappings && s->entry->desc->mode & SHM_DEST && shmctl((int)s->id, IPC_RMID, NULL))
			return log_errno(-errno, "System V shared memory %" PRIu64 ": shmctl(IPC_RMID)", s->id);
	return 0;
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
