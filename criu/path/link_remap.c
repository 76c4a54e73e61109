/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>

#include "helper/foreign.h"
#include "path/file_names.h"
#include "path/link_remap.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "path/remap.h"
#include "lib/arena_hash.h"
#include "tree/subsys.h"

struct linked {
	struct {
		uint64_t dev, ino;
	} key;
	uint32_t id; /* of the file in files.img whose name is the link */
	UT_hash_handle hh;
};

/* Open until criu ends: the guardian removes links through it, wherever the directory is by then. */
struct link_dir {
	const char *path;
	int fd;
	UT_hash_handle hh;
};

struct link_remaps {
	struct linked *by_inode;
	struct link_dir *dirs;
	unsigned n;
};

const struct subsys link_remap_subsys = { .name = "link remaps", .state = { .dump = sizeof(struct link_remaps) } };

static struct link_dir *open_link_dir(struct dump *d, const char *path)
{
	struct link_remaps *links = dump_state(d, &link_remap_subsys);
	struct link_dir *dir;

	HASH_FIND(hh, links->dirs, path, strlen(path), dir);
	if (dir)
		return dir;
	dir = arena_new_of(d->arena, struct link_dir);
	dir->path = path;
	dir->fd = lookup_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (dir->fd < 0)
		return NULL;
	HASH_ADD_KEYPTR_IN(d->arena, hh, links->dirs, dir->path, strlen(dir->path), dir);
	return dir;
}

static int unlink_at(const struct undo *u)
{
	return unlinkat(u->fd, u->path, 0) ? -errno : 0;
}

/* The undo stays until the dump is committed. */
static int make_link(struct dump *d, const struct fd_info *info, int dir_fd, const char *name)
{
	struct undo u = { .type = UNDO_CALL, .call = unlink_at, .fd = dir_fd, .path = name };
	int number = guardian_note(d->guardian, &u), err;
	char path[32];

	if (number < 0)
		return number;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", info->fd);
	err = linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
	fault_point("link made");
	if (err)
		guardian_drop(d->guardian, number);
	return err;
}

static int write_link_entry(struct dump *d, const struct fd_info *info, char *path, uint32_t *id)
{
	RegFileEntry *link = arena_msg(d->arena, RegFileEntry, reg_file_entry);

	link->id = *id = files_new_id(d);
	link->name = path;
	link->has_mode = true;
	link->mode = info->st.st_mode;
	link->has_size = S_ISREG(link->mode);
	link->size = (uint64_t)info->st.st_size;
	link->fown = arena_msg(d->arena, FownEntry, fown_entry);
	return files_write_entry(d, kind_by_fd_type(FD_TYPES__REG), link->id, link);
}

static int new_link(struct dump *d, const struct fd_info *info, const char *old, uint32_t *id)
{
	struct link_remaps *links = dump_state(d, &link_remap_subsys);
	const char *near = file_names_near_dir(d, info, old);
	struct link_dir *dir = near ? open_link_dir(d, near) : NULL;
	char *name;
	int err;

	if (!dir) {
		log_refusal(-ENOTSUP,
		            "%s: %s: no directory of its file system was found along its old path in which "
		            "--link-remap could make a link",
		            fd_name(info), info->link);
		return DUMP_REFUSED;
	}
	name = arena_printf(d->arena, OUR_LINK "%s.%u", d->run_id, ++links->n);
	err = make_link(d, info, dir->fd, name);
	if (err == -ENOENT)
		return LINK_NO_NAME;
	if (err) {
		log_refusal(err, "%s: %s: linkat as %s/%s; give --ghost-links to save its contents instead",
		            fd_name(info), info->link, dir->path, name);
		return DUMP_REFUSED;
	}
	log_info("%s: %s: made the link %s/%s, which the checkpoint needs", fd_name(info), info->link, dir->path, name);
	return write_link_entry(d, info, arena_printf(d->arena, "%s/%s", strcmp(dir->path, "/") ? dir->path : "", name),
	                        id);
}

int link_remap_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	struct link_remaps *links = dump_state(d, &link_remap_subsys);
	struct linked *l, key = { .key = { info->st.st_dev, info->st.st_ino } };
	uint32_t id;
	int err;

	if (info->foreign) { /* the guardian would have to remove it, and must never wait */
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: --link-remap makes no links on a file system that may stop to answer (%s, mounted at "
		    "%s); give --ghost-links to save its contents instead",
		    fd_name(info), info->link, info->foreign->type, info->foreign->path);
		return DUMP_REFUSED;
	}
	HASH_FIND(hh, links->by_inode, &key.key, sizeof(key.key), l);
	if (!l) {
		err = new_link(d, info, m->name, &id);
		if (err)
			return err;
		l = arena_new_of(d->arena, struct linked);
		l->key = key.key;
		l->id = id;
		HASH_ADD_IN(d->arena, hh, links->by_inode, key, sizeof(l->key), l);
	}
	remap_note(d, m->id, l->id, REMAP_TYPE__LINKED);
	return 0;
}
