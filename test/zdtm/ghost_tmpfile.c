/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * O_TMPFILE: its contents and flags, given a name after the restore (as it could have been before), opened a second
 * time through /proc, and one that may never have a name.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 2
 * zdtm: allow fd [3456]/ino  any  a new inode
 * zdtm: allow fd [3456]/link  any  shown as "#" and the number of the inode
 */
#include "zdtm.h"

static int in_dir(int flags)
{
	int fd = open(".", O_TMPFILE | flags, 0644);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		zdtm_skip("no O_TMPFILE here");
	zdtm_must(fd >= 0);
	return fd;
}

static int give_name(int fd, const char *name)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

static const char *content(int fd)
{
	static char buf[64];
	ssize_t n = pread(fd, buf, 63, 0);

	buf[n > 0 ? n : 0] = 0;
	return buf;
}

int main(void)
{
	char path[40];
	int plain, again, never, append, fd;
	struct stat st;

	unlink("later");
	plain = in_dir(O_RDWR);
	never = in_dir(O_RDWR | O_EXCL);
	append = in_dir(O_WRONLY | O_APPEND);
	zdtm_must(plain == 3 && never == 4 && append == 5);
	zdtm_must(write(plain, "plain", 5) == 5 && write(never, "never", 5) == 5);
	zdtm_must(write(append, "one,", 4) == 4);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", append);
	zdtm_must((again = open(path, O_RDONLY)) == 6);
	zdtm_ready();
	zdtm_wait();
	zdtm_check((fcntl(plain, F_GETFL) & O_TMPFILE) == O_TMPFILE, "flags %o", fcntl(plain, F_GETFL));
	zdtm_check((fcntl(append, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY), "flags of the second");
	zdtm_check((fcntl(again, F_GETFL) & (O_TMPFILE | O_ACCMODE)) == O_RDONLY, "flags of the one opened again");
	zdtm_check(!strcmp(content(plain), "plain") && !strcmp(content(never), "never"), "contents");
	zdtm_check(write(append, "two", 3) == 3 && !strcmp(content(again), "one,two"), "\"%s\"", content(again));
	zdtm_check(!fstat(plain, &st) && st.st_nlink == 0 && (st.st_mode & 0777) == 0644, "%lu names, mode %o",
	           st.st_nlink, st.st_mode);
	zdtm_check(!give_name(plain, "later"), "giving it a name: %s", strerror(errno));
	zdtm_check((fd = open("later", O_RDONLY)) >= 0 && !strcmp(content(fd), "plain"), "by its name");
	unlink("later");
	zdtm_pass();
}
