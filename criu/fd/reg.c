/* SPDX-License-Identifier: GPL-2.0-only */
/* Regular files, directories, symbolic links (O_PATH), memory devices: all that open(2) of the path brings back. */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <poll.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "arch_page.h"
#include "fd/dnotify.h"
#include "fd/psi.h"
#include "files/foreign_restore.h"
#include "options/external.h"
#include "path/ghost.h"
#include "lib/log.h"
#include "path/pathfile.h"
#include "path/procfile.h"
#include "path/remap.h"
#include "uapi/mqueue.h"

#define MEM_MAJOR  1
#define KMSG_MINOR 11

static bool is_memory_device(uint32_t mode, dev_t rdev, unsigned minor)
{
	return S_ISCHR(mode) && major(rdev) == MEM_MAJOR && minor(rdev) == minor;
}

/* Devices whose descriptors have no state of their own: what is made with them has others. */
static bool is_plain_misc(const struct stat *st)
{
	static const char *const names[] = { "userfaultfd",   "kvm",    "vsock",    "loop-control",
		                             "btrfs-control", "autofs", "hw_random" };
	_cleanup_fclose_ FILE *f = fopen("/proc/misc", "re");
	char line[128], name[64];
	unsigned number;

	while (f && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (sscanf(line, "%u %63s", &number, name) == 2 && number == minor(st->st_rdev) &&
			    !strcmp(name, names[i]))
				return true;
	return false;
}

static bool is_plain_device(const struct stat *st)
{
	static const unsigned minors[] = { 3, 5, 7, 8, 9, KMSG_MINOR }; /* null, zero, full, random, urandom */

	for (size_t i = 0; i < ARRAY_SIZE(minors); i++)
		if (is_memory_device(st->st_mode, st->st_rdev, minors[i]))
			return true;
	return S_ISCHR(st->st_mode) && major(st->st_rdev) == MISC_MAJOR && is_plain_misc(st);
}

static bool reg_match(const struct fd_info *info)
{
	struct statfs fs = { .f_type = info->fs_type };
	long type;

	if (info->link[0] != '/')
		return false;
	if (info->foreign)
		return !S_ISBLK(info->st.st_mode);
	if (!fs.f_type && fstatfs(info->fd, &fs)) /* no answer: a FUSE without its server */
		fs.f_type = FUSE_SUPER_MAGIC;
	type = (long)fs.f_type;
	if (type == MQUEUE_MAGIC || type == SOCKFS_MAGIC || type == SECRETMEM_MAGIC)
		return false;
	/* These are in internal file systems of the kernel, and only look as if they had a path. */
	if (!strncmp(info->link, "/memfd:", 7) || !strncmp(info->link, "/dmabuf:", 8))
		return false;
	if (info->flags & O_PATH || type == PROC_SUPER_MAGIC) /* a process that is gone tells no type */
		return true;
	if (type == FUSE_SUPER_MAGIC && !info->st.st_mode)
		return true;
	return S_ISREG(info->st.st_mode) || S_ISDIR(info->st.st_mode) || is_plain_device(&info->st);
}

/*
 * Only reading tells which record of the kernel's log is next, and consumes it. But poll(2) tells whether there is a
 * next one.
 */
static void dump_log_position(const struct fd_info *info, RegFileEntry *m)
{
	struct pollfd p = { .fd = info->fd, .events = POLLIN };

	if ((info->flags & O_ACCMODE) == O_WRONLY || info->flags & O_PATH)
		return;
	m->has_at_end = true;
	m->at_end = poll(&p, 1, 0) == 0;
	if (!m->at_end)
		log_warn(
		    "%s: %s: not all of the kernel's log has been read: it will be read again from its oldest record",
		    fd_name(info), info->link);
}

static int reg_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	RegFileEntry *m = msg;
	struct proc_path p;
	int err = dnotify_dump(d, info, m) ?: psi_dump(d, info, m);

	if (err)
		return err;
	pathfile_note_key(info, m);
	if (pathfile_external(d, info, m))
		return 0;
	if (procfile_parse_path(info->link, &p))
		return procfile_dump(d, info, &p, m);
	if (is_memory_device(info->st.st_mode, info->st.st_rdev, KMSG_MINOR))
		dump_log_position(info, m);
	return pathfile_dump(d, info, m);
}

static int reg_check(struct restore *r, const void *msg, const char **why)
{
	int err = procfile_check(r, msg, why);

	return err == 1 ? pathfile_check(r, msg, why) : err;
}

/*
 * File systems whose files the kernel writes when they are read. Those of which it keeps a text have no size, or that
 * of a page (sysfs).
 */
static bool is_text_of_kernel(const RegFileEntry *m, int fd)
{
	struct statfs fs;

	if (m->has_size && m->size && m->size != PAGE_SIZE)
		return false;
	return !fstatfs(fd, &fs) && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == CGROUP_SUPER_MAGIC ||
	                             fs.f_type == CGROUP2_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC);
}

/* Devices may refuse to seek; they had a position of 0 then. */
static int set_position(struct restore *r, const RegFileEntry *m, int fd)
{
	char byte;

	if (foreign_restore_is(r, m->id)) /* the helper has set it */
		return 0;
	if (m->at_end && lseek(fd, 0, SEEK_END) < 0)
		return log_errno(-errno, "%s: lseek(SEEK_END)", m->name);
	if (m->flags & O_PATH || !m->pos)
		return 0;
	if (lseek(fd, (off_t)m->pos, SEEK_SET) < 0)
		return log_errno(-errno, "%s: lseek to %llu", m->name, (unsigned long long)m->pos);
	/*
	 * The kernel has now written the text up to there, and keeps the rest of a line for the next read; but it
	 * describes a task that is not restored yet. Reading elsewhere makes the kernel forget it.
	 */
	if (is_text_of_kernel(m, fd) && pread(fd, &byte, 1, 0) < 0)
		log_debug("%s: cannot be read from the start", m->name);
	return 0;
}

static int open_with_position(struct restore *r, const RegFileEntry *m)
{
	_cleanup_close_ int fd = pathfile_open(r, m, m->flags);
	int err = fd < 0 ? fd : set_position(r, m, fd) ?: psi_restore(m, fd);

	return err ?: move_fd(&fd);
}

static int reg_open(struct restore *r, const void *msg)
{
	return procfile_open(r, msg, open_with_position);
}

static void reg_resource(struct restore *r, const void *msg, char *buf, size_t size, bool *is_external)
{
	const RegFileEntry *m = msg;

	snprintf(buf, size, "%s", m->name);
	*is_external = m->has_ext && m->ext;
}

static bool reg_accepts(struct restore *r, const void *msg, const struct fd_info *ours)
{
	return pathfile_accepts(msg, ours);
}

static int reg_read_images(struct restore *r)
{
	return procfile_read_images(r) ?: ghost_read_images(r);
}

static int reg_write_images(struct dump *d)
{
	return ghost_write_images(d) ?: remap_write(d);
}

const struct fd_kind reg_kind = {
	.name = "file",
	.type = FD_TYPES__REG,
	.is_content = true,
	.field = 3,
	.pb = &reg_file_entry__descriptor,
	.match = reg_match,
	.dump = reg_dump,
	.check = reg_check,
	.resource = reg_resource,
	.accepts_inherited = reg_accepts,
	.open = reg_open,
	.all_collected = ghost_collected,
	.read_images = reg_read_images,
	.write_images = reg_write_images,
};
