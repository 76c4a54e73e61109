/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A plugin that does what the environment says: PLUGIN_DO is a list of HOOK:WHAT (ok, fail, crash, hang, exit0,
 * retry, fork); what is not in it is -ENOTSUP. Every call is a line in the file PLUGIN_LOG. Built with NAME and
 * VERSION by test/zdtm/lib/plugins.py.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "criu/criu-plugin.h"
#define LOG_PREFIX "test plugin: "
#include "criu/criu-log.h"
#include "criu/version.h"

static void note(const char *fmt, ...)
{
	char line[256];
	const char *path = getenv("PLUGIN_LOG");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1, n;
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	if (fd < 0 || write(fd, line, n) != n)
		abort();
	close(fd);
}

/* "ok" of "PAUSE_DEVICES:ok", "" if it is not in the list. */
static const char *what_of(const char *hook)
{
	static char what[32];
	const char *list = getenv("PLUGIN_DO");
	size_t len = strlen(hook);

	what[0] = 0;
	for (const char *at = list; at && (at = strstr(at, hook)); at += len)
		if (at[len] == ':' && (at == list || at[-1] == ' ')) {
			sscanf(at + len + 1, "%31[^ ]", what);
			break;
		}
	return what;
}

static int answer(const char *hook)
{
	const char *what = what_of(hook);

	if (!strcmp(what, "ok") || !strcmp(what, "retry") || !strcmp(what, "fork"))
		return 0;
	if (!strcmp(what, "fail"))
		return -EIO;
	if (!strcmp(what, "crash"))
		*(volatile int *)8 = 0; /* raise() would only be noted, where the signal is blocked */
	if (!strcmp(what, "exit0"))
		exit(0);
	if (!strcmp(what, "kill"))
		kill(getpid(), SIGKILL);
	while (!strcmp(what, "hang"))
		pause();
	return -ENOTSUP;
}

/* Of the leader: R or S, t. */
static char state_of(int pid)
{
	char path[32], text[256] = "", *at;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		abort();
	close(fd);
	at = strrchr(text, ')');
	return at[2] == 'R' ? 'S' : at[2];
}

/* The first task that is paused has a child by then that it did not have before. */
static void have_it_fork(int pid)
{
	static int done;
	char path[64], text[16] = "";

	if (done++ || kill(pid, SIGUSR1))
		return;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	while (!text[0]) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
			abort();
		close(fd);
		usleep(1000);
	}
}

static int plugin_init(int stage)
{
	int ret;

	note("init %d", stage);
	ret = answer("init");
	pr_info("has been called at stage %d of CRIU %s, timeout %u\n", stage, CRIU_VERSION, criu_get_timeout());
	if (!strcmp(what_of("inventory"), "ok") && stage == CR_PLUGIN_STAGE__DUMP && add_inventory_plugin(NAME))
		return -ENOMEM;
	if (stage == CR_PLUGIN_STAGE__RESTORE)
		note("wanted %d", check_and_remove_inventory_plugin(NAME, strlen(NAME)));
	return ret == -ENOTSUP ? 0 : ret;
}

static void plugin_exit(int stage, int ret)
{
	note("exit %d %d", stage, ret ? -1 : 0);
	answer("exit");
}

cr_plugin_desc_t CR_PLUGIN_DESC = {
	.name = NAME, .init = plugin_init, .exit = plugin_exit, .version = VERSION, .max_hooks = CR_PLUGIN_HOOK__MAX
};

#define DEVICES_HOOK(function, hook)                                                                                   \
	static int function(int pid)                                                                                   \
	{                                                                                                              \
		note(#hook " %d %c", pid, state_of(pid));                                                              \
		if (!strcmp(what_of(#hook), "fork"))                                                                   \
			have_it_fork(pid);                                                                             \
		return answer(#hook);                                                                                  \
	}                                                                                                              \
	CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__##hook, function)

DEVICES_HOOK(pause_devices, PAUSE_DEVICES)
DEVICES_HOOK(checkpoint_devices, CHECKPOINT_DEVICES)
DEVICES_HOOK(resume_devices, RESUME_DEVICES_LATE)

static int post_forking(void)
{
	note("POST_FORKING");
	return answer("POST_FORKING");
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__POST_FORKING, post_forking)

static int restore_init(void)
{
	note("RESTORE_INIT");
	return answer("RESTORE_INIT");
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESTORE_INIT, restore_init)

static int devices_late(int id)
{
	note("DUMP_DEVICES_LATE %d", id);
	return answer("DUMP_DEVICES_LATE");
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__DUMP_DEVICES_LATE, devices_late)

/* ---- files ---- */

/* Its device number goes into a file of the plugin's own among the images. */
static int dump_file(int fd, int id)
{
	int ret = answer("DUMP_EXT_FILE"), out;
	char name[32], text[32];
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	note("DUMP_EXT_FILE %u:%u", (unsigned)(st.st_rdev >> 8), (unsigned)(st.st_rdev & 0xff));
	snprintf(name, sizeof(name), "test-ext-%x.img", id);
	out = openat(criu_get_image_dir(), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)st.st_rdev);
	if (out < 0 || write(out, text, strlen(text)) < 0)
		return -errno;
	close(out);
	return ret;
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__DUMP_EXT_FILE, dump_file)

static int restore_file(int id, bool *retry)
{
	static int first = -1, asked;
	char name[32], text[32] = "", path[64];
	int ret = answer("RESTORE_EXT_FILE"), in;

	note("RESTORE_EXT_FILE %d", ++asked);
	if (ret)
		return ret;
	if (first < 0)
		first = id;
	if (!strcmp(what_of("RESTORE_EXT_FILE"), "retry") && (asked <= 1 || getenv("PLUGIN_FOREVER"))) {
		*retry = true;
		return -EAGAIN;
	}
	snprintf(name, sizeof(name), "test-ext-%x.img", id);
	in = openat(criu_get_image_dir(), name, O_RDONLY | O_CLOEXEC);
	if (in < 0 || read(in, text, sizeof(text) - 1) <= 0)
		return -ENOENT;
	close(in);
	snprintf(path, sizeof(path), "/dev/loop%llu", strtoull(text, NULL, 10) & 0xff);
	return open(path, O_RDONLY);
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESTORE_EXT_FILE, restore_file)

static int dump_unix(int fd, int id)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	note("DUMP_UNIX_SK %d %d", getpeername(fd, (struct sockaddr *)&a, &len), id > 0);
	return answer("DUMP_UNIX_SK");
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__DUMP_UNIX_SK, dump_unix)

static int restore_unix(int id)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int ret = answer("RESTORE_UNIX_SK"), fd;

	note("RESTORE_UNIX_SK %d", id > 0);
	if (ret)
		return ret;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", getenv("PLUGIN_SOCKET"));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : fd;
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESTORE_UNIX_SK, restore_unix)

/* ---- mappings ---- */

static int device_vma(int fd, const struct stat *st)
{
	note("HANDLE_DEVICE_VMA %d %d", fcntl(fd, F_GETFD) >= 0, S_ISBLK(st->st_mode));
	return answer("HANDLE_DEVICE_VMA");
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__HANDLE_DEVICE_VMA, device_vma)

/* Another page of the device. */
static int update_vma(const char *path, const uint64_t addr, const uint64_t old, uint64_t *new, int *fd)
{
	int ret = answer("UPDATE_VMA_MAP");

	note("UPDATE_VMA_MAP %s %d %llu", path, addr != 0, (unsigned long long)old);
	if (ret)
		return ret;
	*new = old + 4096;
	*fd = -1;
	return 1;
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__UPDATE_VMA_MAP, update_vma)

/* ---- mounts and links ---- */

static int dump_mount(char *mountpoint, int id)
{
	note("DUMP_EXT_MOUNT %s %d", mountpoint, id > 0);
	return strcmp(mountpoint, getenv("PLUGIN_MOUNT") ?: "") ? -ENOTSUP : answer("DUMP_EXT_MOUNT");
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__DUMP_EXT_MOUNT, dump_mount)

static int restore_mount(int id, char *mountpoint, char *old_root, int *is_file)
{
	int ret = answer("RESTORE_EXT_MOUNT"), fd;
	char path[256];

	note("RESTORE_EXT_MOUNT %d %s %d", id > 0, old_root, *is_file);
	if (ret || getenv("PLUGIN_NOTHING"))
		return ret;
	if (mount("plugin", mountpoint, "tmpfs", 0, NULL))
		return -errno;
	snprintf(path, sizeof(path), "%s/made", mountpoint);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	return fd < 0 || write(fd, "plugin\n", 7) != 7 || close(fd) ? -errno : 0;
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESTORE_EXT_MOUNT, restore_mount)

static int dump_link(int index, int type, char *kind)
{
	note("DUMP_EXT_LINK %d %d %s", index > 0, type > 0, kind);
	return answer("DUMP_EXT_LINK");
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__DUMP_EXT_LINK, dump_link)
