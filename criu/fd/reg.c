/* SPDX-License-Identifier: GPL-2.0-only */
/* Regular files, directories, symbolic links (O_PATH), memory devices: all that open() by the path brings back. */
#include <ctype.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "core/external.h"
#include "core/log.h"
#include "core/pathfile.h"
#include "uapi/mqueue.h"

#define MEM_MAJOR 1

/* null, zero, full, random, urandom. */
static bool is_plain_device(const struct stat *st)
{
	unsigned minor = minor(st->st_rdev);

	return S_ISCHR(st->st_mode) && major(st->st_rdev) == MEM_MAJOR &&
	       (minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9);
}

/* /proc/812/...: by the time of a restore that pid may be nobody, or somebody else. */
static bool is_of_process(const struct statfs *fs, const char *link)
{
	return fs->f_type == PROC_SUPER_MAGIC && !strncmp(link, "/proc/", 6) && isdigit((unsigned char)link[6]);
}

static bool reg_match(const struct fd_info *info)
{
	struct statfs fs;

	if (info->link[0] != '/' || fstatfs(info->fd, &fs) || is_of_process(&fs, info->link))
		return false;
	if (fs.f_type == MQUEUE_MAGIC || fs.f_type == NSFS_MAGIC || fs.f_type == SOCKFS_MAGIC ||
	    fs.f_type == SECRETMEM_MAGIC)
		return false;
	/* These lie in file systems of the kernel's own, and only look as if they had a path. */
	if (!strncmp(info->link, "/memfd:", 7) || !strncmp(info->link, "/dmabuf:", 8))
		return false;
	if (info->flags & O_PATH)
		return true;
	return S_ISREG(info->st.st_mode) || S_ISDIR(info->st.st_mode) || is_plain_device(&info->st);
}

static int reg_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	RegFileEntry *m = msg;
	char key[64];

	snprintf(key, sizeof(key), "file[%x:%lx]", info->mnt_id, (unsigned long)info->st.st_ino);
	if (external_named(d->opts, key)) {
		m->name = arena_strdup(d->arena, key);
		m->has_ext = m->ext = true;
		return 0;
	}
	if (external_named(d->opts, info->link) || external_named(d->opts, info->link + 1)) {
		m->name = arena_strdup(d->arena, info->link);
		m->has_ext = m->ext = true;
		return 0;
	}
	return pathfile_dump(d, info, msg);
}

static int reg_check(struct restore *r, const void *msg, const char **why)
{
	return pathfile_check(r, msg, why);
}

static int reg_open(struct restore *r, const void *msg)
{
	const RegFileEntry *m = msg;
	_cleanup_close_ int fd = pathfile_open(r, m, m->flags);

	if (fd < 0)
		return fd;
	/* Devices may refuse to seek; they had a position of 0 then. */
	if (!(m->flags & O_PATH) && m->pos && lseek(fd, (off_t)m->pos, SEEK_SET) < 0)
		return log_errno(-errno, "%s: setting its position to %llu", m->name, (unsigned long long)m->pos);
	return move_fd(&fd);
}

static void reg_resource(const void *msg, char *buf, size_t size, bool *marked)
{
	const RegFileEntry *m = msg;

	snprintf(buf, size, "%s", m->name);
	*marked = m->has_ext && m->ext;
}

const struct fd_kind reg_kind = {
	.name = "file",
	.type = FD_TYPES__REG,
	.field = 3,
	.pb = &reg_file_entry__descriptor,
	.match = reg_match,
	.dump = reg_dump,
	.check = reg_check,
	.resource = reg_resource,
	.open = reg_open,
	.where = IN_TOOL,
};
