/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "files/fd_info.h"
#include "files/files.h"
#include "files/long_path.h"
#include "helper/foreign.h"
#include "lib/log.h"

int fd_info_look(int fd, struct stat *st)
{
	struct statx x;
	int err;

	if (!fstat(fd, st))
		return 0;
	err = -errno;
	memset(st, 0, sizeof(*st));
	if (err != -ENOENT && err != -ENOTCONN && err != -EPERM && err != -EACCES && err != -EIO && err != -ESTALE)
		return err;
	/* Of a file system that answers with errors (FUSE) the kernel may have cached them. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &x))
		return 0;
	st->st_dev = makedev(x.stx_dev_major, x.stx_dev_minor);
	st->st_ino = x.stx_ino;
	st->st_mode = x.stx_mode;
	st->st_nlink = x.stx_nlink;
	st->st_uid = x.stx_uid;
	st->st_gid = x.stx_gid;
	st->st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor);
	st->st_size = (off_t)x.stx_size;
	st->st_blocks = (blkcnt_t)x.stx_blocks;
	return 0;
}

int fd_info_stat(struct fd_info *info)
{
	int err = fd_info_look(info->fd, &info->st);

	return err ? log_errno(err, "%s: fstat", fd_name(info)) : 0;
}

int fd_info_read_link(struct dump *d, struct fd_info *info, int dir_fd, const char *path, char *link, size_t size)
{
	ssize_t n = readlinkat(dir_fd, path, link, size - 1);

	if (n < 0 && errno != ENAMETOOLONG)
		return log_errno(-errno, "%s: readlinkat of %s", fd_name(info), path);
	link[n < 0 ? 0 : n] = 0;
	if (n < 0 && info->foreign) {
		log_refusal(-ENAMETOOLONG,
		            "%s: its path is too long to be shown, on a file system that may not answer (%s, "
		            "mounted at %s); close it before the dump",
		            fd_name(info), info->foreign->type, info->foreign->path);
		return DUMP_REFUSED;
	}
	info->link = n < 0 ? long_path_link(d, info) : link;
	return 0;
}

int fd_info_read(struct dump *d, struct fd_info *info, int proc_fd, int number, struct text_buf *text, bool *cloexec)
{
	struct fdinfo fi;
	char path[32];

	snprintf(path, sizeof(path), "fdinfo/%d", number);
	if (!info->info)
		info->info = proc_read_text(proc_fd, path, d->arena, text);
	if (!info->info)
		return log_errno(-errno, "%s: read of its fdinfo", fd_name(info));
	if (fdinfo_parse(info->info, &fi))
		return log_errno(-EINVAL, "%s: no position or flags in its fdinfo", fd_name(info));
	info->flags = fi.flags;
	info->pos = fi.pos;
	info->mnt_id = fi.mnt_id;
	*cloexec = fi.cloexec;
	return 0;
}

int fd_info_name(struct dump *d, struct fd_info *info, int proc_fd, int number, char *link, size_t size)
{
	char path[32];

	if (info->link)
		return 0;
	/* Of sockets without readlink(2), which would make 10,000 inodes in /proc. One of O_PATH has a name. */
	if (S_ISSOCK(info->st.st_mode) && !(info->flags & O_PATH)) {
		snprintf(link, size, "socket:[%llu]", (unsigned long long)info->st.st_ino);
		info->link = link;
		return 0;
	}
	snprintf(path, sizeof(path), "fd/%d", number);
	return fd_info_read_link(d, info, proc_fd, path, link, size);
}

const char *fd_info_way_out(int err)
{
	if (err == EPERM)
		return " (criu needs cap_checkpoint_restore or cap_sys_admin in the first user namespace: run it as "
		       "root, or "
		       "setcap cap_checkpoint_restore,...+ep criu)";
	if (err == EACCES)
		return " (a task that is not dumpable, as one whose file has capabilities or that changed its ids, "
		       "shows its "
		       "files to root alone: dump it as root, or setcap cap_dac_override,cap_sys_ptrace,...+ep criu)";
	return "";
}
