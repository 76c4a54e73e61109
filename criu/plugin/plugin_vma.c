/* SPDX-License-Identifier: GPL-2.0-only */
/* Mappings of devices that a plugin knows: criu saves their place, and maps what the plugin says. */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "files/files.h"
#include "lib/log.h"
#include "plugin/plugin.h"
#include "regfile.pb-c.h"
#include "tree/vma_kind.h"

extern const struct vma_kind plugin_vma_kind;

static bool is_device(mode_t mode)
{
	return S_ISCHR(mode) || S_ISBLK(mode);
}

/* By the flags that drivers set, or by what its path is. */
static bool plugin_vma_match(struct dump *d, const struct proc_map *m)
{
	struct stat st;

	if (*m->name != '/' || !plugin_any_has(dump_state(d, &plugin_subsys), CR_PLUGIN_HOOK__HANDLE_DEVICE_VMA))
		return false;
	if (m->flags & (VMF_io | VMF_pf))
		return true;
	return strcmp(m->name, "/dev/zero") && !stat(m->name, &st) && is_device(st.st_mode) && st.st_ino == m->ino &&
	       st.st_dev == makedev(m->major, m->minor);
}

/* Each mapping has an entry of its own: they are never opened together, since the plugin is told the address. */
static int write_file(struct dump *d, const struct proc_map *m, const struct stat *st, VmaEntry *v)
{
	RegFileEntry e = REG_FILE_ENTRY__INIT;
	FownEntry fown = FOWN_ENTRY__INIT;

	e.id = files_new_id(d);
	e.flags = v->fdflags;
	e.fown = &fown;
	e.name = arena_strdup(d->arena, m->name);
	e.has_mode = true;
	e.mode = st->st_mode;
	v->shmid = e.id;
	return files_write_entry(d, kind_by_fd_type(FD_TYPES__REG), e.id, &e);
}

static int plugin_vma_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	struct plugins *ps = dump_state(d, &plugin_subsys);
	const char *path = arena_printf(d->arena, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start, m->end);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct plugin *who = NULL;
	struct stat st;
	int ret;

	if (fd < 0 || fstat(fd, &st))
		return log_errno(-errno, "%s: open, or fstat, of %s (%s)", task_name(t), path, m->name);
	ret = plugin_call_who(ps, HANDLE_DEVICE_VMA, &who, fd, &st);
	if (ret == -ENOTSUP) {
		log_refusal(ret,
		            "%s: mapping %" PRIx64 "-%" PRIx64 " of %s: memory of a device is not supported, and no "
		            "plugin takes it; unmap it before the dump",
		            task_name(t), m->start, m->end, m->name);
		return VMA_LEFT_OUT;
	}
	if (ret < 0)
		return ret;
	who->saved = true;
	v->pages = VMA_PAGES_NONE;
	v->entry->status |= VMA_EXT_PLUGIN | (m->shared ? VMA_FILE_SHARED : VMA_FILE_PRIVATE);
	v->entry->has_fdflags = true;
	v->entry->fdflags = m->shared && (m->flags & VMF_mw) ? O_RDWR : O_RDONLY;
	return write_file(d, m, &st, v->entry);
}

/* ---- restore ---- */

static const RegFileEntry *file_of(struct restore *r, const VmaEntry *v)
{
	const struct fd_kind *kind = NULL;
	const RegFileEntry *m = v->shmid > UINT32_MAX ? NULL : files_message(r, (uint32_t)v->shmid, &kind);

	return m && kind == kind_by_fd_type(FD_TYPES__REG) ? m : NULL;
}

static int plugin_vma_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	int err = vma_check_type(t, v);

	if (err)
		return err;
	if (!(v->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED)) || !v->has_fdflags || !file_of(r, v))
		return vma_damaged(t, v, "is of a device that files.img does not have");
	return 0;
}

static int plugin_vma_open(struct restore *r, const VmaEntry *v, bool *own)
{
	struct plugins *ps = restore_state(r, &plugin_subsys);
	const RegFileEntry *m = file_of(r, v);
	uint64_t offset = v->pgoff;
	int fd = -1, ret;

	ret = plugin_call(ps, UPDATE_VMA_MAP, m->name, v->start, v->pgoff, &offset, &fd);
	if (ret < 0 && ret != -ENOTSUP)
		return ret;
	if (ret == 1)
		((VmaEntry *)v)->pgoff = offset;
	*own = ret != 1 || fd < 0; /* what a plugin gives is the plugin's: it may be for several mappings */
	if (!*own)
		return fd;
	fd = open(m->name, (int)(v->fdflags & O_ACCMODE) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? log_errno(-errno, "%s: open of a device, to map it", m->name) : fd;
}

const struct vma_kind plugin_vma_kind = {
	.name = "device",
	.status = VMA_EXT_PLUGIN,
	.match = plugin_vma_match,
	.dump = plugin_vma_dump,
	.check = plugin_vma_check,
	.open = plugin_vma_open,
};
