/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "files/files.h"
#include "uapi/mqueue.h"

const char *fd_name(const struct fd_info *info)
{
	/* lint: global: a message's text, used up in the same expression */
	static _Thread_local char ring[4][160];
	/* lint: global: its place */
	static _Thread_local unsigned next;
	char *buf = ring[next++ % ARRAY_SIZE(ring)];

	if (info->number < 0)
		snprintf(buf, sizeof(ring[0]), "%s: %s", task_name(info->task), info->what);
	else
		snprintf(buf, sizeof(ring[0]), "%s: fd %d", task_name(info->task), info->number);
	return buf;
}

/* What /proc calls an object that has no path. */
static const struct {
	const char *prefix, *what;
} nameless[] = {
	{ "socket:[", "a socket" },
	{ "anon_inode:[eventfd]", "an eventfd" },
	{ "anon_inode:[eventpoll]", "an epoll instance" },
	{ "anon_inode:[signalfd]", "a signalfd" },
	{ "anon_inode:[timerfd]", "a timerfd" },
	{ "anon_inode:inotify", "an inotify instance" },
	{ "anon_inode:[fanotify]", "a fanotify group" },
	{ "anon_inode:[pidfd]", "a pidfd" },
	{ "pidfd:[", "a pidfd" },
	{ "anon_inode:[io_uring]", "an io_uring" },
	{ "anon_inode:[userfaultfd]", "a userfaultfd" },
	{ "anon_inode:bpf-map", "a BPF map" },
	{ "anon_inode:bpf-prog", "a BPF program" },
	{ "anon_inode:bpf", "a BPF object" },
	{ "anon_inode:btf", "BPF type information" },
	{ "anon_inode:[perf_event]", "a perf event" },
	{ "anon_inode:kvm", "a virtual machine" },
	{ "anon_inode:[landlock-ruleset]", "a Landlock ruleset" },
	{ "anon_inode:seccomp notify", "the listener of a seccomp filter" },
	{ "anon_inode:[fscontext]", "a file system that is being mounted" },
	{ "anon_inode:", "an anonymous object of the kernel" },
	{ "pipe:[", "a pipe opened by its path in /proc" },
	{ "/memfd:", "a memfd" },
	{ "/dmabuf:", "a DMA buffer" },
	{ "/secretmem", "a secret memory area (memfd_secret)" },
	{ "/dev/kvm", "the device of virtual machines (KVM)" },
	{ "/dev/fuse", "a FUSE server's side of a mount" },
	{ "/dev/tty", "a terminal" },
	{ "/dev/console", "a terminal" },
	{ "mnt:[", "a namespace" },
	{ "net:[", "a namespace" },
	{ "pid:[", "a namespace" },
	{ "user:[", "a namespace" },
	{ "ipc:[", "a namespace" },
	{ "uts:[", "a namespace" },
	{ "cgroup:[", "a namespace" },
	{ "time:[", "a namespace" },
};

static const char *device_name(const struct fd_info *info, const char *what)
{
	/* lint: global: a message's text, used up in the same expression */
	static _Thread_local char text[48];

	snprintf(text, sizeof(text), "%s, %u:%u", what, major(info->st.st_rdev), minor(info->st.st_rdev));
	return text;
}

const char *fd_what(const struct fd_info *info)
{
	struct statfs fs;

	for (size_t i = 0; i < ARRAY_SIZE(nameless); i++)
		if (!strncmp(info->link, nameless[i].prefix, strlen(nameless[i].prefix)))
			return nameless[i].what;
	if (!fstatfs(info->fd, &fs) && fs.f_type == MQUEUE_MAGIC)
		return "a POSIX message queue";
	if (!strncmp(info->link, "/proc/", 6) && isdigit((unsigned char)info->link[6]))
		return "a file of a process in /proc";
	switch (info->st.st_mode & S_IFMT) {
	case S_IFCHR:
		return device_name(info, "a character device");
	case S_IFBLK:
		return device_name(info, "a block device");
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFDIR:
		return "a directory";
	default:
		return "a file of a special file system";
	}
}
