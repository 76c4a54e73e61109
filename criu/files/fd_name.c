/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "files/device_name.h"
#include "files/files.h"
#include "proc/fdinfo.h"
#include "proc/mountinfo.h"
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

/* What /proc calls an object that has no path; what the user can do, where that is not to close it. */
static const struct {
	const char *prefix, *what, *way_out;
} nameless[] = {
	{ "anon_inode:[eventfd]", "an eventfd", NULL },
	{ "anon_inode:[eventpoll]", "an epoll instance", NULL },
	{ "anon_inode:[signalfd]", "a signalfd", NULL },
	{ "anon_inode:[timerfd]", "a timerfd", NULL },
	{ "anon_inode:inotify", "an inotify instance", NULL },
	{ "anon_inode:[fanotify]", "a fanotify group", NULL },
	{ "anon_inode:[pidfd]", "a pidfd", NULL },
	{ "pidfd:[", "a pidfd", NULL },
	{ "anon_inode:[io_uring]", "an io_uring", NULL },
	{ "anon_inode:[userfaultfd]", "a userfaultfd", NULL },
	{ "anon_inode:bpf-map", "a BPF map", NULL },
	{ "anon_inode:bpf-prog", "a BPF program",
	  "it ends with its last descriptor: let the program close it, or pin it in a bpf file system (BPF_OBJ_PIN)" },
	{ "anon_inode:bpf_link", "a BPF link",
	  "what it attaches would be detached meanwhile: let the program close it, or pin it in a bpf file system" },
	{ "anon_inode:bpf_iter", "a BPF iterator", "let the program read it to its end and close it" },
	{ "anon_inode:bpf", "a BPF object", NULL },
	{ "anon_inode:btf", "BPF type information",
	  "it is needed for loading programs only: let the program close it" },
	{ "anon_inode:[perf_event]", "a perf event",
	  "the kernel does not show what it counts: let the program (perf, a profiler) end what it measures" },
	{ "anon_inode:kvm-vcpu", "a processor of a virtual machine (KVM)", "save the machine with its own means" },
	{ "anon_inode:kvm", "a virtual machine (KVM)", "save the machine with its own means, as QEMU's savevm" },
	{ "anon_inode:[landlock-ruleset]", "a Landlock ruleset",
	  "the kernel does not show its rules: let the program apply it (landlock_restrict_self) and close it" },
	{ "anon_inode:seccomp notify", "the listener of a seccomp filter",
	  "the kernel does not make it again for a filter that is there: end the supervised processes, or the "
	  "supervisor" },
	{ "anon_inode:[fscontext]", "a file system that is being mounted",
	  "let the program finish the mount (fsmount, move_mount), or close it" },
	{ "anon_inode:sync_file", "a fence of a device (sync_file)", "let the device finish its work" },
	{ "anon_inode:[iommufd]", "an address space of devices (iommufd)", "give the devices back" },
	{ "anon_inode:[vfio-device]", "a device that a program drives (VFIO)", "give the device back" },
	{ "anon_inode:[vfio", "a device that a program drives (VFIO)", "give the device back" },
	{ "anon_inode:[mshv", "a virtual machine (Hyper-V)", NULL },
	{ "anon_inode:gpio", "lines of a GPIO chip", "let the program release them" },
	{ "anon_inode:i915", "an object of a graphics device", NULL },
	{ "anon_inode:drm", "an object of a graphics device", NULL },
	{ "anon_inode:[uverbs", "an object of an RDMA device", NULL },
	{ "anon_inode:[infinibandevent", "events of an RDMA device", NULL },
	{ "anon_inode:", "an anonymous object of the kernel", NULL },
	{ "pipe:[", "a pipe opened by its path in /proc", NULL },
	{ "/memfd:", "a memfd", NULL },
	{ "/dmabuf:", "a DMA buffer of a device", "let the program release what it has of the device" },
	{ "/secretmem", "a secret memory area (memfd_secret)", NULL },
	{ "/dev/tty", "a terminal", NULL },
	{ "/dev/console", "a terminal", NULL },
	{ "mnt:[", "a namespace", NULL },
	{ "net:[", "a namespace", NULL },
	{ "pid:[", "a namespace", NULL },
	{ "user:[", "a namespace", NULL },
	{ "ipc:[", "a namespace", NULL },
	{ "uts:[", "a namespace", NULL },
	{ "cgroup:[", "a namespace", NULL },
	{ "time:[", "a namespace", NULL },
};

/* Address families of which there is no kind. */
static const struct {
	int family;
	const char *what, *way_out;
} families[] = {
	{ AF_XDP, "an AF_XDP socket", "its rings and memory are the device's too: let the program close it" },
	{ AF_ALG, "a socket of the kernel's cryptography (AF_ALG)",
	  "let the program close it: its keys are not shown" },
	{ AF_CAN, "a CAN socket", NULL },
	{ AF_TIPC, "a TIPC socket", NULL },
	{ AF_RDS, "an RDS socket", NULL },
	{ AF_KEY, "a socket of IPsec keys (AF_KEY)", NULL },
	{ AF_KCM, "a KCM socket", NULL },
	{ AF_QIPCRTR, "a Qualcomm IPC router socket", NULL },
	{ AF_BLUETOOTH, "a Bluetooth socket", NULL },
	{ AF_NFC, "an NFC socket", NULL },
	{ AF_PHONET, "a Phonet socket", NULL },
	{ AF_PPPOX, "a PPP socket (PPPoE, L2TP)", NULL },
	{ AF_RXRPC, "an RxRPC socket", NULL },
	{ AF_SMC, "an SMC socket", NULL },
	{ AF_MCTP, "an MCTP socket", NULL },
};

/* The number of a FUSE connection is the device number of its file system. False: not a server's side, or not seen. */
static bool find_fuse_mount(const struct fd_info *info, char *path, size_t size)
{
	struct arena *a = arena_new();
	struct mount_at *mounts = NULL;
	uint64_t connection;
	size_t n = 0, i = 0;
	bool found = false;

	if (a && !fdinfo_number(info->info, "fuse_connection", 10, &connection) && !mountinfo_read(a, &mounts, &n)) {
		while (i < n && mounts[i].s_dev != connection)
			i++;
		found = i < n;
		snprintf(path, size, "%s", found ? mounts[i].path : "");
	}
	arena_free(a);
	return found;
}

static const char *device_name(const struct fd_info *info, const char *what)
{
	/* lint: global: a message's text, used up in the same expression */
	static _Thread_local char text[600];
	char mount[400];

	if (info->info && find_fuse_mount(info, mount, sizeof(mount)))
		snprintf(text, sizeof(text), "%s: %s", what, mount);
	else
		snprintf(text, sizeof(text), "%s, %u:%u", what, major(info->st.st_rdev), minor(info->st.st_rdev));
	return text;
}

static size_t nameless_of(const struct fd_info *info)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(nameless) && strncmp(info->link, nameless[i].prefix, strlen(nameless[i].prefix)))
		i++;
	return i;
}

static size_t family_of(const struct fd_info *info)
{
	int family = -1;
	socklen_t len = sizeof(family);
	size_t i = 0;

	if (!S_ISSOCK(info->st.st_mode) || getsockopt(info->fd, SOL_SOCKET, SO_DOMAIN, &family, &len))
		return ARRAY_SIZE(families);
	while (i < ARRAY_SIZE(families) && families[i].family != family)
		i++;
	return i;
}

const char *fd_way_out(const struct fd_info *info)
{
	const struct device_text *device = device_text(info->link, info->st.st_mode, info->st.st_rdev);
	const char *way_out = device ? device->way_out : NULL;
	size_t i = nameless_of(info);

	if (i < ARRAY_SIZE(nameless))
		way_out = nameless[i].way_out;
	else if ((i = family_of(info)) < ARRAY_SIZE(families))
		way_out = families[i].way_out;
	return way_out ?: "close it before the dump";
}

const char *fd_what(const struct fd_info *info)
{
	const struct device_text *device = device_text(info->link, info->st.st_mode, info->st.st_rdev);
	size_t i = nameless_of(info);
	struct statfs fs;

	if (device)
		return device_name(info, device->what);

	if (i < ARRAY_SIZE(nameless))
		return nameless[i].what;
	i = family_of(info);
	if (i < ARRAY_SIZE(families))
		return families[i].what;
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
