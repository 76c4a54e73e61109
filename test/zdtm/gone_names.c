/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files whose name was deleted while others are left, open and mapped: another name in the same directory, one that the
 * kernel has in mind, one that a search finds, a POSIX semaphore (glibc maps it by a name that it then deletes), and
 * one shared by two tasks by different names. They are the same files afterwards.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 2
 * zdtm: allow fd 3[0-9]/link  any  another name of it is shown
 * zdtm: allow maps  any  another name of it is shown
 */
#include <semaphore.h>
#include <sys/mman.h>

#include "zdtm.h"

#define BESIDE    30 /* another name in its directory */
#define ELSEWHERE 31 /* in another directory */
#define DEEP      32 /* below another directory, after whose name it was not asked any more */
#define PATH      33 /* O_PATH */
#define APPEND    34

static char sem_name[64];

static void name_sem(void)
{
	snprintf(sem_name, sizeof(sem_name), "/zdtm-gone-%d", (int)getpid());
}

static ino_t made(int number, const char *name, int flags)
{
	int fd = open(name, flags | O_CREAT, 0640);
	struct stat st;

	zdtm_must(fd >= 0 && write(fd, name, strlen(name)) == (ssize_t)strlen(name));
	zdtm_must(dup2(fd, number) == number && !close(fd) && !fstat(number, &st));
	return st.st_ino;
}

static ino_t inos[5];

static void setup(void)
{
	int fd;

	zdtm_must(!mkdir("other", 0700) && !mkdir("other/deep", 0700) && !mkdir("other/deep/er", 0700));
	inos[0] = made(BESIDE, "beside", O_RDWR);
	zdtm_must(!link("beside", "beside.2") && !unlink("beside"));
	inos[1] = made(ELSEWHERE, "elsewhere", O_RDWR);
	zdtm_must(!link("elsewhere", "other/elsewhere") && !unlink("elsewhere"));
	inos[2] = made(DEEP, "deep", O_WRONLY);
	zdtm_must(!link("deep", "other/deep/er/it") && !unlink("deep"));
	inos[3] = made(PATH, "path", O_RDWR);
	zdtm_must((fd = open("path", O_PATH)) >= 0 && dup2(fd, PATH) == PATH && !close(fd));
	zdtm_must(!link("path", "path.2") && !unlink("path"));
	inos[4] = made(APPEND, "append", O_RDWR | O_APPEND | O_NONBLOCK);
	zdtm_must(!link("append", "append.2") && !link("append", "append.3") && !unlink("append"));
}

static void same_file(int fd, const char *name, ino_t ino, nlink_t links)
{
	struct stat st, named;

	zdtm_must(!fstat(fd, &st));
	zdtm_check(!stat(zdtm_path(name), &named), "%s: %s", name, strerror(errno));
	zdtm_check(st.st_ino == named.st_ino && st.st_dev == named.st_dev && st.st_ino == ino,
	           "%s: inode %lu, by its name %lu, it was %lu", name, st.st_ino, named.st_ino, ino);
	zdtm_check(st.st_nlink == links, "%s: %lu names", name, st.st_nlink);
}

static void has(const char *name, const char *text)
{
	char got[100] = "";
	int fd = open(zdtm_path(name), O_RDONLY);

	zdtm_check(fd >= 0 && read(fd, got, 99) == (ssize_t)strlen(text) && !strcmp(got, text),
	           "%s: \"%s\", not \"%s\"", name, got, text);
	close(fd);
}

static void look(void)
{
	same_file(BESIDE, "beside.2", inos[0], 1);
	same_file(ELSEWHERE, "other/elsewhere", inos[1], 1);
	same_file(DEEP, "other/deep/er/it", inos[2], 1);
	same_file(PATH, "path.2", inos[3], 1);
	same_file(APPEND, "append.3", inos[4], 2);
	zdtm_check(fcntl(PATH, F_GETFL) & O_PATH, "flags of the O_PATH one");
	zdtm_check((fcntl(APPEND, F_GETFL) & (O_APPEND | O_NONBLOCK)) == (O_APPEND | O_NONBLOCK), "flags");
	zdtm_check(lseek(BESIDE, 0, SEEK_CUR) == 6 && lseek(APPEND, 0, SEEK_CUR) == 6, "positions");
	zdtm_check(access(zdtm_path("beside"), F_OK) && access(zdtm_path("deep"), F_OK), "a deleted name is there");
	zdtm_check(write(BESIDE, "+", 1) == 1 && write(DEEP, "+", 1) == 1 && write(APPEND, "+", 1) == 1, "writing");
	has("beside.2", "beside+");
	has("other/deep/er/it", "deep+");
	has("append.2", "append+");
	has("other/elsewhere", "Elsewhere");
}

int main(void)
{
	sem_t *sem, *again, *gone;
	char *map;
	int status, value;
	pid_t kid;

	name_sem();
	setup();
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ELSEWHERE, 0);
	zdtm_must(map != MAP_FAILED);
	sem = sem_open(sem_name, O_CREAT | O_EXCL, 0600, 3);
	strcat(sem_name, "-x");
	gone = sem_open(sem_name, O_CREAT | O_EXCL, 0600, 7);
	zdtm_must(sem != SEM_FAILED && gone != SEM_FAILED && !sem_unlink(sem_name));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_wait();
		for (int i = 0; i < 4; i++) /* the fourth is posted by the parent */
			sem_wait(sem);
		sem_post(gone);
		_exit(0);
	}
	zdtm_ready();
	zdtm_wait();
	name_sem();
	map[0] = 'E';
	look();
	zdtm_check(!sem_getvalue(gone, &value) && value >= 7, "the nameless semaphore: %d", value);
	again = sem_open(sem_name, 0);
	zdtm_check(again != SEM_FAILED && !sem_post(again), "the semaphore by its name: %s", strerror(errno));
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(!sem_getvalue(sem, &value) && value == 0, "the semaphore: %d", value);
	zdtm_check(!sem_getvalue(gone, &value) && value == 8, "the nameless semaphore afterwards: %d", value);
	sem_unlink(sem_name);
	zdtm_pass();
}
