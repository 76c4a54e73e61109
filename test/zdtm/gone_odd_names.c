/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files whose names have newlines, bytes that are no UTF-8, backslashes, blanks and commas in them, or end in
 * "(deleted)"; open, mapped, as working directory, deleted, in other directories; one whose path is as long as a path
 * can be, and directories and files below that, which no path leads to: only a walk in several steps.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: allow fd 1[24][0-9]/ino  any  a new inode
 * zdtm: allow fd 143/link  any  no path of it can be shown
 */
#include <sys/mman.h>

#include "zdtm.h"

static const char *const names[] = { "new\nline",   "\xff\xfe\x01", "back\\slash\\012",  " blanks  ",
	                             "x (deleted)", "a,b;c=d",      "\xc3\x28 \xe2\x82", "//" };
#define N     (sizeof(names) / sizeof(*names) - 1)
#define OPEN  100 /* and so on: by their names */
#define GONE  120 /* deleted */
#define LONG  140 /* a file in the deepest folder that has a path */
#define DEEP  141 /* a directory far below */
#define FILE_ 142 /* a file in it */
#define LOST  143 /* a deleted one in it */
#define EDGE  144 /* a path of 4095 bytes */

static char *maps[N];

static void at(int number, int fd)
{
	zdtm_must(fd >= 0 && dup2(fd, number) == number && !close(fd));
}

static void put(int dir, const char *name, int number)
{
	at(number, openat(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600));
	zdtm_must(write(number, name, strlen(name)) == (ssize_t)strlen(name));
}

static void short_ones(void)
{
	for (size_t i = 0; i < N; i++) {
		char gone[300];

		put(AT_FDCWD, names[i], OPEN + (int)i);
		maps[i] = mmap(NULL, 4096, PROT_READ, MAP_SHARED, OPEN + (int)i, 0);
		zdtm_must(maps[i] != MAP_FAILED);
		snprintf(gone, sizeof(gone), "%s-", names[i]);
		put(AT_FDCWD, gone, GONE + (int)i);
		zdtm_must(!unlink(gone));
	}
}

/* A directory in which a name of this many bytes makes a path of 4095; then 2,000 bytes further down. */
static void long_ones(void)
{
	char name[251], edge[300];
	size_t len = strlen(zdtm_dir);
	int dir = open(".", O_RDONLY), next;

	memset(name, 'd', 250);
	name[250] = 0;
	for (int i = 0; i < 30; i++) {
		if (len <= 4095 - 2 && len + 256 > 4095) {
			memset(edge, 'e', sizeof(edge));
			edge[4095 - len - 1] = 0;
			put(dir, edge, EDGE);
		}
		zdtm_must(!mkdirat(dir, name, 0700) && (next = openat(dir, name, O_RDONLY)) >= 0 && !close(dir));
		len += 251;
		dir = next;
		if (len < 3500)
			at(LONG, openat(dir, "long", O_RDWR | O_CREAT, 0600));
	}
	put(dir, "file\n\xff", FILE_);
	put(dir, "lost", LOST);
	zdtm_must(!unlinkat(dir, "lost", 0) && write(LONG, "long", 4) == 4);
	at(DEEP, dir);
}

static void look(int number, const char *want, int links)
{
	char got[300] = "", path[32], link[PATH_MAX];
	struct stat st, named;
	ssize_t n = pread(number, got, sizeof(got) - 1, 0);

	zdtm_check(n == (ssize_t)strlen(want) && !strcmp(got, want), "fd %d: \"%s\", not \"%s\"", number, got, want);
	zdtm_check(!fstat(number, &st) && (int)st.st_nlink == links, "fd %d: %lu names", number, st.st_nlink);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", number);
	n = readlink(path, link, sizeof(link) - 1);
	if (!links || n < 0)
		return;
	link[n] = 0;
	zdtm_check(!stat(link, &named) && named.st_ino == st.st_ino, "fd %d: another file than %s", number, link);
}

int main(void)
{
	char edge[300];
	struct stat st, other;

	short_ones();
	long_ones();
	zdtm_must(!mkdir("cwd\n\xff (deleted)", 0700) && !chdir("cwd\n\xff (deleted)"));
	zdtm_ready();
	zdtm_wait();
	for (size_t i = 0; i < N; i++) {
		char gone[300];

		look(OPEN + (int)i, names[i], 1);
		snprintf(gone, sizeof(gone), "%s-", names[i]);
		look(GONE + (int)i, gone, 0);
		zdtm_check(!strcmp(maps[i], names[i]), "mapping %zu: \"%s\"", i, maps[i]);
	}
	look(LONG, "long", 1);
	look(LOST, "lost", 0);
	look(FILE_, "file\n\xff", 1);
	memset(edge, 'e', sizeof(edge));
	edge[lseek(EDGE, 0, SEEK_CUR)] = 0;
	look(EDGE, edge, 1);
	zdtm_check(!fstatat(DEEP, "file\n\xff", &st, 0) && !fstat(FILE_, &other) && st.st_ino == other.st_ino,
	           "the directory far below: %s", strerror(errno));
	zdtm_check(!stat(".", &st) && !stat(zdtm_path("cwd\n\xff (deleted)"), &other) && st.st_ino == other.st_ino,
	           "cwd");
	zdtm_pass();
}
