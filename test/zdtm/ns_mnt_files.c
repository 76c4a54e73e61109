/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files in a mount namespace of the tree's own, on a tmpfs that nobody else sees: open, deleted, without a name,
 * mapped, the cwd, a FIFO, a socket file that is connected to later, a watch; a child in another namespace; a file of
 * the host's.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: victim points
 * zdtm: allow fd [0-9]*mnt_id  any  mounts are numbered by the kernel
 * zdtm: allow fd [0-9]*ino  any  the files of a new tmpfs are numbered by the kernel
 * zdtm: allow fd [0-9]*link  any  the files of a new tmpfs are numbered by the kernel
 * zdtm: allow fd [0-9]*watched  any  the files of a new tmpfs are numbered by the kernel
 * zdtm: allow maps  any  the files of a new tmpfs are numbered by the kernel
 */
#include <poll.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#include "zdtm.h"

#define TOP "/mnt"

static int pos_fd, gone_fd, tmp_fd, dir_fd, fifo_fd, path_fd, listener, watch, host_fd;
static char *shared, *private, *gone_map;

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	zdtm_must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void check_text(int fd, off_t at, const char *text, const char *what)
{
	char buf[64] = "";

	zdtm_check(pread(fd, buf, sizeof(buf) - 1, at) >= 0 && !strcmp(buf, text), "%s: is %s, not %s", what, buf,
	           text);
}

static char *map_file(int fd, int how)
{
	char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, how, fd, 0);

	zdtm_must(at != MAP_FAILED);
	return at;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, path);
	return a;
}

static void listen_at(const char *path)
{
	struct sockaddr_un a = address(path);

	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	zdtm_must(listener >= 0 && !bind(listener, (struct sockaddr *)&a, sizeof(a)) && !listen(listener, 5));
}

static void check_listener(void)
{
	struct sockaddr_un a = address(TOP "/dir/sock");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), got;

	zdtm_check(!connect(fd, (struct sockaddr *)&a, sizeof(a)), "connect: %s", strerror(errno));
	got = accept(listener, NULL, NULL);
	zdtm_check(got >= 0, "accept: %s", strerror(errno));
	close(got);
	close(fd);
}

static void check_watch(void)
{
	char buf[512];
	struct inotify_event *e = (struct inotify_event *)buf;
	int n;

	put_file(TOP "/dir/watched", "w");
	n = (int)read(watch, buf, sizeof(buf));
	zdtm_check(n > 0 && e->wd == 1 && e->mask & IN_CREATE, "inotify: %d bytes, %s", n, strerror(errno));
	unlink(TOP "/dir/watched");
	while (read(watch, buf, sizeof(buf)) > 0)
		;
}

static void set_up(void)
{
	zdtm_must(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	host_fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	zdtm_must(!mount("it", TOP, "tmpfs", MS_NOSUID | MS_NOATIME, "size=4m,mode=1755"));
	zdtm_must(!mkdir(TOP "/dir", 0750) && !mkfifo(TOP "/fifo", 0600));
	put_file(TOP "/dir/f", "0123456789");
	put_file(TOP "/dir/gone", "gone");
	put_file(TOP "/big", "big");
	zdtm_must(!truncate(TOP "/big", 8192));
	pos_fd = open(TOP "/dir/f", O_RDWR | O_APPEND | O_CLOEXEC);
	zdtm_must(lseek(pos_fd, 4, SEEK_SET) == 4);
	gone_fd = open(TOP "/dir/gone", O_RDWR | O_CLOEXEC);
	gone_map = map_file(gone_fd, MAP_SHARED);
	zdtm_must(!unlink(TOP "/dir/gone"));
	tmp_fd = open(TOP "/dir", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	zdtm_must(tmp_fd >= 0 && write(tmp_fd, "tmp", 3) == 3);
	dir_fd = open(TOP "/dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	path_fd = open(TOP "/big", O_PATH | O_CLOEXEC);
	fifo_fd = open(TOP "/fifo", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	zdtm_must(fifo_fd >= 0 && write(fifo_fd, "fifo", 4) == 4);
	shared = map_file(open(TOP "/big", O_RDWR | O_CLOEXEC), MAP_SHARED);
	private = map_file(open(TOP "/big", O_RDWR | O_CLOEXEC), MAP_PRIVATE);
	strcpy(private, "mine");
	listen_at(TOP "/dir/sock");
	watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	zdtm_must(inotify_add_watch(watch, TOP "/dir", IN_CREATE) == 1);
	zdtm_must(!chdir(TOP "/dir"));
}

static void check_all(int round)
{
	struct statfs fs;
	struct stat st, at;
	char buf[PATH_MAX] = "", text[32] = "";
	int big;

	zdtm_check(!statfs(TOP, &fs) && fs.f_type == TMPFS_MAGIC && fs.f_blocks == 1024, "statfs of the tmpfs");
	zdtm_check((fs.f_flags & (ST_NOSUID | ST_NOATIME)) == (ST_NOSUID | ST_NOATIME), "mount flags %lx", fs.f_flags);
	zdtm_check(getcwd(buf, sizeof(buf)) && !strcmp(buf, TOP "/dir"), "cwd is %s", buf);
	zdtm_check(lseek(pos_fd, 0, SEEK_CUR) == 4 && fcntl(pos_fd, F_GETFL) & O_APPEND, "position or flags");
	check_text(pos_fd, 0, "0123456789", "a file");
	zdtm_check(!fstat(gone_fd, &st) && st.st_nlink == 0 && S_ISREG(st.st_mode), "deleted: %d links",
	           (int)st.st_nlink);
	check_text(gone_fd, 0, "gone", "a deleted file");
	zdtm_check(!strncmp(gone_map, "gone", 4), "a deleted file's mapping");
	check_text(tmp_fd, 0, "tmp", "O_TMPFILE");
	zdtm_check(!fstat(dir_fd, &st) && !stat(".", &at) && st.st_ino == at.st_ino && st.st_dev == at.st_dev,
	           "directory");
	zdtm_check(!fstat(path_fd, &st) && !stat(TOP "/big", &at) && st.st_ino == at.st_ino, "O_PATH");
	snprintf(text, sizeof(text), "big%d", round);
	strcpy(shared, text);
	big = open(TOP "/big", O_RDONLY | O_CLOEXEC);
	check_text(big, 0, text, "a shared mapping's file");
	close(big);
	zdtm_check(!strcmp(private, "mine"), "private mapping: %s", private);
	zdtm_check(read(fifo_fd, buf, 4) == 4 && !memcmp(buf, "fifo", 4) && write(fifo_fd, "fifo", 4) == 4, "FIFO");
	check_listener();
	check_watch();
	zdtm_check(!fstat(host_fd, &st) && !stat("/etc/passwd", &at) && st.st_ino == at.st_ino, "/etc/passwd");
}

int main(void)
{
	int round = 0;

	set_up();
	zdtm_ready();
	while (zdtm_asked()) {
		check_all(round++);
		zdtm_answer();
	}
	check_all(round);
	zdtm_pass();
}
