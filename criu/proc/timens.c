/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "proc/timens.h"
#include "uapi/timens.h"

#define NSEC 1000000000L

static void proc_path(char *path, size_t size, pid_t pid, const char *file)
{
	if (pid)
		snprintf(path, size, "/proc/%d/%s", pid, file);
	else
		snprintf(path, size, "/proc/self/%s", file);
}

static int inode_of(pid_t pid, const char *file, uint64_t *ino)
{
	char path[64];
	struct stat st;

	*ino = 0;
	proc_path(path, sizeof(path), pid, file);
	if (!stat(path, &st))
		*ino = st.st_ino;
	else if (errno != ENOENT)
		return -errno;
	return 0;
}

int timens_inode(pid_t pid, uint64_t *ino)
{
	return inode_of(pid, "ns/time", ino);
}

int timens_inode_childrens(pid_t pid, uint64_t *ino)
{
	return inode_of(pid, "ns/time_for_children", ino);
}

static int parse_offsets(FILE *f, struct timens_offsets *o)
{
	int64_t sec, nsec;
	char clock[16];
	int found = 0;

	while (fscanf(f, "%15s %" SCNd64 " %" SCNd64, clock, &sec, &nsec) == 3) {
		int64_t *to = !strcmp(clock, "monotonic")  ? &o->monotonic
		              : !strcmp(clock, "boottime") ? &o->boottime
		                                           : NULL;

		if (to)
			*to = sec * NSEC + nsec;
		found += to != NULL;
	}
	return found == 2 ? 0 : -EBADMSG;
}

int timens_parse(char *text, struct timens_offsets *o)
{
	_cleanup_fclose_ FILE *f = fmemopen(text, strlen(text), "r");

	return f ? parse_offsets(f, o) : -errno;
}

int timens_read_childrens(pid_t pid, struct timens_offsets *o)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64];

	proc_path(path, sizeof(path), pid, "timens_offsets");
	f = fopen(path, "re");
	return f ? parse_offsets(f, o) : -errno;
}

int timens_read(pid_t pid, struct timens_offsets *o)
{
	uint64_t own, childrens;
	int err = inode_of(pid, "ns/time", &own) ?: timens_inode_childrens(pid, &childrens);

	*o = (struct timens_offsets) { 0 };
	if (err || !own || own == FIRST_TIME_NS_INODE)
		return err;
	return own == childrens ? timens_read_childrens(pid, o) : -EOPNOTSUPP;
}

/* Nanoseconds are never negative in that file, seconds may be. */
static void split_offset(int64_t offset, int64_t *sec, int64_t *nsec)
{
	*sec = offset / NSEC - (offset % NSEC < 0);
	*nsec = offset - *sec * NSEC;
}

int timens_open(pid_t pid)
{
	char path[64];
	int fd;

	proc_path(path, sizeof(path), pid, "timens_offsets");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int timens_write(int fd, const struct timens_offsets *o)
{
	int64_t sec[2], nsec[2];
	char text[128];
	int len;

	split_offset(o->monotonic, &sec[0], &nsec[0]);
	split_offset(o->boottime, &sec[1], &nsec[1]);
	len = snprintf(text, sizeof(text), "monotonic %" PRId64 " %" PRId64 "\nboottime %" PRId64 " %" PRId64 "\n",
	               sec[0], nsec[0], sec[1], nsec[1]);
	return write(fd, text, (size_t)len) == len ? 0 : -errno;
}
