/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BPF maps: arrays and hash tables, with their elements. Descriptions of one map are opened by its new id, which also
 * gives those that may only read or only write. Programs, links, and maps that refer to others are refused.
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#include "bpfmap-data.pb-c.h"
#include "lib/fd_flags.h"
#include "proc/fdinfo.h"
#include "files/files.h"
#include "lib/log.h"
#include "lib/arena_hash.h"

#define CONTENTS_MAX (1UL << 32) /* of keys and values: their counts in the image have 32 bits */

extern const struct fd_kind bpfmap_kind;

/* A map in a dump (seen) or a restore. */
struct bpfmap {
	uint32_t id; /* in the kernel at the dump */
	int fd;      /* restore: ours, -1 before it is made and after the last description */
	unsigned left;
	const BpfmapDataEntry *data;
	const uint8_t *keys, *values;
	UT_hash_handle hh;
};

struct bpfmap_table {
	struct bpfmap *maps;
	struct image *img;
};

static int bpf(int cmd, union bpf_attr *a)
{
	return (int)syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static uint64_t attr_address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static struct bpfmap *bpfmap_of(struct bpfmap_table *t, struct arena *a, uint32_t id, bool *is_new)
{
	struct bpfmap *m;

	HASH_FIND(hh, t->maps, &id, sizeof(id), m);
	if (is_new)
		*is_new = !m;
	if (m)
		return m;
	m = arena_new_of(a, struct bpfmap);
	m->id = id;
	m->fd = -1;
	HASH_ADD_IN(a, hh, t->maps, id, sizeof(m->id), m);
	return m;
}

static bool bpfmap_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:bpf-map");
}

/* ---- dump ---- */

static const char *map_type_name(uint32_t type)
{
	static const char *const names[] = {
		[BPF_MAP_TYPE_PROG_ARRAY] = "prog_array",
		[BPF_MAP_TYPE_PERF_EVENT_ARRAY] = "perf_event_array",
		[BPF_MAP_TYPE_PERCPU_HASH] = "percpu_hash",
		[BPF_MAP_TYPE_PERCPU_ARRAY] = "percpu_array",
		[BPF_MAP_TYPE_STACK_TRACE] = "stack_trace",
		[BPF_MAP_TYPE_CGROUP_ARRAY] = "cgroup_array",
		[BPF_MAP_TYPE_LRU_HASH] = "lru_hash",
		[BPF_MAP_TYPE_LRU_PERCPU_HASH] = "lru_percpu_hash",
		[BPF_MAP_TYPE_LPM_TRIE] = "lpm_trie",
		[BPF_MAP_TYPE_ARRAY_OF_MAPS] = "array_of_maps",
		[BPF_MAP_TYPE_HASH_OF_MAPS] = "hash_of_maps",
		[BPF_MAP_TYPE_QUEUE] = "queue",
		[BPF_MAP_TYPE_STACK] = "stack",
		[BPF_MAP_TYPE_RINGBUF] = "ringbuf",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "special";
}

static int refuse_map(const struct fd_info *info, const char *name, const char *why)
{
	log_refusal(-EOPNOTSUPP, "%s: the BPF map \"%s\" %s; close it before the dump", fd_name(info), name, why);
	return DUMP_REFUSED;
}

static int check_map_info(const struct fd_info *info, const struct bpf_map_info *mi)
{
	char why[80];

	if (mi->type != BPF_MAP_TYPE_ARRAY && mi->type != BPF_MAP_TYPE_HASH) {
		snprintf(why, sizeof(why), "is of type %u (%s); only arrays and hash tables are supported", mi->type,
		         map_type_name(mi->type));
		return refuse_map(info, mi->name, why);
	}
	if (mi->ifindex)
		return refuse_map(info, mi->name, "lies in a network device, which is not supported");
	if ((uint64_t)mi->max_entries * ((uint64_t)mi->key_size + mi->value_size) > CONTENTS_MAX)
		return refuse_map(info, mi->name, "is larger than an image can hold");
	if (mi->btf_id || mi->btf_value_type_id)
		log_warn("%s: the BPF map \"%s\" has type information (BTF), which it loses", fd_name(info), mi->name);
	if (mi->map_flags & BPF_F_NUMA_NODE)
		log_warn("%s: the kernel does not show the NUMA node of the BPF map \"%s\"; it may move", fd_name(info),
		         mi->name);
	return 0;
}

/* A new description of ours: the task's may be for writing alone. */
static int open_map_by_id(uint32_t id, uint32_t flags)
{
	union bpf_attr a = { .map_id = id, .open_flags = flags };
	int fd = bpf(BPF_MAP_GET_FD_BY_ID, &a);

	return fd < 0 ? -errno : fd;
}

/* One by one: with the tree frozen, the key that was read last stays, so that the next one is found. */
static int read_elements(int fd, const struct bpf_map_info *mi, uint8_t *keys, uint8_t *values, uint32_t *count)
{
	union bpf_attr a = { .map_fd = (uint32_t)fd };
	uint8_t *key = keys, *value = values;

	for (*count = 0;; ++*count, key += mi->key_size, value += mi->value_size) {
		a.key = *count ? attr_address(key - mi->key_size) : 0;
		a.next_key = attr_address(key);
		if (*count == mi->max_entries)
			return 0;
		if (bpf(BPF_MAP_GET_NEXT_KEY, &a))
			return errno == ENOENT ? 0 : -errno;
		a.key = attr_address(key);
		a.value = attr_address(value);
		if (bpf(BPF_MAP_LOOKUP_ELEM, &a))
			return -errno;
	}
}

static int write_elements(struct bpfmap_table *t, const struct fd_info *info, const struct bpf_map_info *mi, int fd)
{
	_cleanup_free_ uint8_t *keys = malloc((size_t)mi->max_entries * mi->key_size + 1);
	_cleanup_free_ uint8_t *values = malloc((size_t)mi->max_entries * mi->value_size + 1);
	BpfmapDataEntry e = BPFMAP_DATA_ENTRY__INIT;
	int err;

	if (!keys || !values)
		return log_errno(-ENOMEM, "%s: out of memory for the elements of a BPF map", fd_name(info));
	err = read_elements(fd, mi, keys, values, &e.count);
	if (err)
		return log_errno(err, "%s: bpf(BPF_MAP_LOOKUP_ELEM) of the BPF map \"%s\"", fd_name(info), mi->name);
	e.map_id = mi->id;
	e.keys_bytes = e.count * mi->key_size;
	e.values_bytes = e.count * mi->value_size;
	err = image_write(t->img, &e);
	err = err ?: image_write_raw(t->img, keys, e.keys_bytes);
	return err ?: image_write_raw(t->img, values, e.values_bytes);
}

static int dump_elements(struct dump *d, const struct fd_info *info, const struct bpf_map_info *mi)
{
	struct bpfmap_table *t = dump_state(d, &bpfmap_kind);
	_cleanup_close_ int reader = -1;
	bool is_new;
	int err = 0;

	bpfmap_of(t, d->arena, mi->id, &is_new);
	if (!is_new)
		return 0;
	if (!t->img)
		err = image_create(d->dir, IMG_BPFMAP_DATA, 0, &t->img);
	if (!err && (info->flags & O_ACCMODE) == O_WRONLY) {
		reader = open_map_by_id(mi->id, 0);
		if (reader < 0)
			return log_errno(reader, "%s: bpf(BPF_MAP_GET_FD_BY_ID) of the BPF map \"%s\"", fd_name(info),
			                 mi->name);
	}
	return err ?: write_elements(t, info, mi, reader >= 0 ? reader : info->fd);
}

static int bpfmap_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	BpfmapFileEntry *m = msg;
	struct bpf_map_info mi = { 0 };
	union bpf_attr a = { .info = {
		                 .bpf_fd = (uint32_t)info->fd, .info_len = sizeof(mi), .info = attr_address(&mi) } };
	uint64_t frozen = 0;
	int err;

	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &a))
		return log_errno(-errno, "%s: bpf(BPF_OBJ_GET_INFO_BY_FD)", fd_name(info));
	err = check_map_info(info, &mi);
	if (err)
		return err;
	m->map_type = mi.type;
	m->key_size = mi.key_size;
	m->value_size = mi.value_size;
	m->map_id = mi.id;
	m->max_entries = mi.max_entries;
	m->map_flags = mi.map_flags;
	m->map_name = arena_strdup(d->arena, mi.name);
	m->ifindex = mi.ifindex;
	m->has_map_extra = mi.map_extra;
	m->map_extra = mi.map_extra;
	fdinfo_number(info->info, "memlock", 10, &m->memlock);
	fdinfo_number(info->info, "frozen", 10, &frozen);
	m->frozen = frozen;
	return dump_elements(d, info, &mi);
}

static int bpfmap_write_images(struct dump *d)
{
	struct bpfmap_table *t = dump_state(d, &bpfmap_kind);

	return t->img ? image_close(move_ptr(t->img)) : 0;
}

/* ---- restore ---- */

static int count_description(struct restore *r, const void *msg, void *arg)
{
	const BpfmapFileEntry *m = msg;

	bpfmap_of(arg, r->arena, m->map_id, NULL)->left++;
	return 0;
}

static int read_map_data(struct restore *r, struct image *img, struct bpfmap_table *t, const BpfmapDataEntry *e)
{
	struct bpfmap *map = bpfmap_of(t, r->arena, e->map_id, NULL);
	uint8_t *bytes;

	if (map->data)
		return log_errno(-EINVAL, "%s: map %u stands in it twice", image_name(img), e->map_id);
	if ((uint64_t)e->keys_bytes + e->values_bytes > image_left(img))
		return log_errno(-EINVAL, "%s: map %u: the image ends before the last of its elements", image_name(img),
		                 e->map_id);
	bytes = arena_alloc(r->arena, (size_t)e->keys_bytes + e->values_bytes + 1);
	map->data = e;
	map->keys = bytes;
	map->values = bytes + e->keys_bytes;
	return image_read_raw(img, bytes, (size_t)e->keys_bytes + e->values_bytes);
}

static int bpfmap_read_images(struct restore *r)
{
	struct bpfmap_table *t = restore_state(r, &bpfmap_kind);
	_cleanup_image_ struct image *img = NULL;
	BpfmapDataEntry *e;
	int err = image_open(r->dir, IMG_BPFMAP_DATA, 0, &img);

	if (err && err != -ENOENT)
		return err;
	while (img && (err = image_read(img, &bpfmap_data_entry__descriptor, r->arena, &e)) > 0) {
		err = read_map_data(r, img, t, e);
		if (err)
			return err;
	}
	return img && err ? err : files_each(r, &bpfmap_kind, count_description, t);
}

static int create_map(const BpfmapFileEntry *m)
{
	union bpf_attr a = {
		.map_type = m->map_type,
		.key_size = m->key_size,
		.value_size = m->value_size,
		.max_entries = m->max_entries,
		.map_flags = m->map_flags & ~(uint32_t)BPF_F_NUMA_NODE,
		.map_extra = m->map_extra,
	};
	int fd;

	snprintf(a.map_name, sizeof(a.map_name), "%s", m->map_name);
	fd = bpf(BPF_MAP_CREATE, &a);
	return fd < 0 ? -errno : fd;
}

static int bpfmap_check(struct restore *r, const void *msg, const char **why)
{
	struct bpfmap_table *t = restore_state(r, &bpfmap_kind);
	const BpfmapFileEntry *m = msg;
	const struct bpfmap *map = bpfmap_of(t, r->arena, m->map_id, NULL);
	uint64_t count = map->data ? map->data->count : 0;
	_cleanup_close_ int fd = -1;

	if ((m->map_type != BPF_MAP_TYPE_ARRAY && m->map_type != BPF_MAP_TYPE_HASH) || m->ifindex) {
		*why = arena_printf(r->arena, "BPF maps of type %u are not supported", m->map_type);
		return -EOPNOTSUPP;
	}
	if (map->data &&
	    (count * m->key_size != map->data->keys_bytes || count * m->value_size != map->data->values_bytes)) {
		*why = arena_printf(r->arena, "the elements of BPF map %u are not as many bytes as they should be",
		                    m->map_id);
		return -EINVAL;
	}
	fd = create_map(m);
	if (fd < 0)
		*why = arena_printf(r->arena, "a BPF map cannot be created here: %s", strerror(-fd));
	return fd < 0 ? fd : 0;
}

static int fill_map(int fd, const BpfmapFileEntry *m, const struct bpfmap *map)
{
	union bpf_attr a = { .map_fd = (uint32_t)fd };

	for (uint32_t i = 0; map->data && i < map->data->count; i++) {
		a.key = attr_address(map->keys + (size_t)i * m->key_size);
		a.value = attr_address(map->values + (size_t)i * m->value_size);
		a.flags = BPF_ANY;
		if (bpf(BPF_MAP_UPDATE_ELEM, &a))
			return log_errno(-errno, "bpf(BPF_MAP_UPDATE_ELEM) of element %u of the BPF map \"%s\"", i,
			                 m->map_name);
	}
	a = (union bpf_attr) { .map_fd = (uint32_t)fd };
	if (m->frozen && bpf(BPF_MAP_FREEZE, &a))
		return log_errno(-errno, "bpf(BPF_MAP_FREEZE) of the BPF map \"%s\"", m->map_name);
	return 0;
}

/* The new id of a map of ours. */
static int read_map_id(int fd, uint32_t *id)
{
	struct bpf_map_info mi = { 0 };
	union bpf_attr a = { .info = { .bpf_fd = (uint32_t)fd, .info_len = sizeof(mi), .info = attr_address(&mi) } };

	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &a))
		return -errno;
	*id = mi.id;
	return 0;
}

/* A new description of a map of ours. */
static int reopen_map(int fd, const BpfmapFileEntry *m)
{
	static const uint32_t modes[] = { [O_RDONLY] = BPF_F_RDONLY, [O_WRONLY] = BPF_F_WRONLY, [O_RDWR] = 0, [3] = 0 };
	uint32_t id = 0;
	int err = read_map_id(fd, &id);

	return err ?: open_map_by_id(id, modes[m->flags & O_ACCMODE]);
}

static int make_map(const BpfmapFileEntry *m, struct bpfmap *map)
{
	int err;

	map->fd = create_map(m);
	if (map->fd < 0)
		return log_errno(map->fd, "bpf(BPF_MAP_CREATE) of the BPF map \"%s\"", m->map_name);
	err = fill_map(map->fd, m, map);
	if (err) {
		close(map->fd);
		map->fd = -1;
	}
	return err;
}

static int bpfmap_open(struct restore *r, const void *msg)
{
	struct bpfmap_table *t = restore_state(r, &bpfmap_kind);
	const BpfmapFileEntry *m = msg;
	struct bpfmap *map = bpfmap_of(t, r->arena, m->map_id, NULL);
	_cleanup_close_ int fd = -1;
	int err = map->fd < 0 ? make_map(m, map) : 0;

	if (err)
		return err;
	if (map->left <= 1 && (m->flags & O_ACCMODE) == O_RDWR) {
		fd = move_fd(&map->fd);
	} else {
		fd = reopen_map(map->fd, m);
		if (map->left <= 1)
			close(move_fd(&map->fd));
	}
	if (map->left > 1)
		map->left--;
	if (fd < 0)
		return log_errno(fd, "bpf(BPF_MAP_GET_FD_BY_ID) of the BPF map \"%s\"", m->map_name);
	err = fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

const struct fd_kind bpfmap_kind = {
	.name = "BPF map",
	.state = { .dump = sizeof(struct bpfmap_table), .restore = sizeof(struct bpfmap_table) },
	.type = FD_TYPES__BPFMAP,
	.field = 21,
	.pb = &bpfmap_file_entry__descriptor,
	.match = bpfmap_match,
	.dump = bpfmap_dump,
	.check = bpfmap_check,
	.open = bpfmap_open,
	.read_images = bpfmap_read_images,
	.write_images = bpfmap_write_images,
};
