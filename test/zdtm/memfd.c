/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memfds: data with holes, an odd size, an odd name, positions, several descriptions of one file (reading, appending,
 * O_PATH), sharing with a child, mapped shared (one whose descriptor is closed) and private, sealed in every way (also
 * under a mapping that still writes), owner and mode, 1 GiB with two pages of data, an empty one; and the program
 * itself runs from one.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <sys/mman.h>

#include "zdtm.h"

#define NOEXEC    8    /* MFD_NOEXEC_SEAL */
#define SEAL_EXEC 0x20 /* F_SEAL_EXEC */
#define GIB       (1UL << 30)

static int in_user_namespace(void)
{
	unsigned first = 0, outer = 0, count = 0;
	FILE *f = fopen("/proc/self/uid_map", "r");

	if (f && fscanf(f, "%u %u %u", &first, &outer, &count) != 3)
		count = 0;
	if (f)
		fclose(f);
	return count < 65536;
}

static int make(const char *name, unsigned flags, off_t size)
{
	int fd = memfd_create(name, flags);

	zdtm_must(fd >= 0 && !ftruncate(fd, size));
	return fd;
}

static int again(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, flags);
	zdtm_must(fd >= 0);
	return fd;
}

static char *map(int fd, size_t size, int prot, int flags)
{
	char *p = mmap(NULL, size, prot, flags, fd, 0);

	zdtm_must(p != MAP_FAILED);
	return p;
}

static struct stat st_of(int fd)
{
	struct stat st;

	zdtm_must(!fstat(fd, &st));
	return st;
}

static int name_is(int fd, const char *name)
{
	char path[40], link[400];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	return !strcmp(link, name);
}

/* The program copies itself into a memfd and goes on from there. */
static void run_from_memfd(char **argv)
{
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), fd = memfd_create("itself", MFD_CLOEXEC);
	static char buf[65536];
	int n;

	zdtm_must(self >= 0 && fd >= 0);
	while ((n = read(self, buf, sizeof(buf))) > 0)
		zdtm_must(write(fd, buf, n) == n);
	/* Nobody may have it open for writing when it is executed. */
	n = again(fd, O_RDONLY | O_CLOEXEC);
	close(fd);
	setenv("FROM_MEMFD", "1", 1);
	fexecve(n, argv, environ);
	zdtm_must(errno == EACCES); /* vm.memfd_noexec */
}

/* ---- one group of files each: set up, and after the checkpoint ---- */

static int data, reader, appender, path_only, odd;

static void make_plain(void)
{
	data = make("data (deleted)", 0, 10 * 4096);
	zdtm_must(pwrite(data, "start", 5, 0) == 5 && pwrite(data, "middle", 6, 5 * 4096 + 7) == 6);
	zdtm_must(lseek(data, 12345, SEEK_SET) == 12345);
	reader = again(data, O_RDONLY | O_CLOEXEC);
	zdtm_must(lseek(reader, 5 * 4096 + 7, SEEK_SET) > 0);
	appender = again(data, O_WRONLY | O_APPEND);
	path_only = again(data, O_PATH);
	odd = make("odd \n/name\\ \x80", MFD_CLOEXEC, 4097);
	zdtm_must(pwrite(odd, "!", 1, 4096) == 1 && !fchmod(odd, 0640));
	if (!geteuid() && fchown(odd, 1, 2)) /* a user namespace may have no such ids */
		zdtm_must(errno == EINVAL || errno == EPERM);
}

static void check_plain(struct stat was)
{
	char buf[16] = "";
	struct stat st = st_of(odd);

	zdtm_check(name_is(data, "/memfd:data (deleted) (deleted)"), "its name");
	zdtm_check(st_of(data).st_size == 10 * 4096 && st_of(data).st_blocks <= 16, "size or holes: %ld blocks",
	           (long)st_of(data).st_blocks);
	zdtm_check(pread(data, buf, 5, 0) == 5 && !memcmp(buf, "start", 5), "its first bytes: %.5s", buf);
	zdtm_check(lseek(data, 0, SEEK_CUR) == 12345, "its position");
	zdtm_check(read(reader, buf, 6) == 6 && !memcmp(buf, "middle", 6), "what the reader reads: %.6s", buf);
	zdtm_check(write(reader, "x", 1) == -1 && errno == EBADF, "the reader writes");
	zdtm_check(write(appender, "end", 3) == 3 && pread(data, buf, 9, 10 * 4096) == 3 && !memcmp(buf, "end", 3),
	           "what was appended");
	zdtm_check(!ftruncate(data, 10 * 4096) && lseek(reader, -6, SEEK_CUR) > 0, "as it was, for the next round");
	zdtm_check(st_of(path_only).st_ino == st_of(data).st_ino && fcntl(path_only, F_GETFL) & O_PATH, "O_PATH");
	/* In the namespace flavour that owner is nobody. */
	zdtm_check(st.st_size == 4097 && st.st_mode == was.st_mode &&
	               ((st.st_uid == was.st_uid && st.st_gid == was.st_gid) || in_user_namespace()),
	           "size, mode %o, owner %d:%d", st.st_mode, st.st_uid, st.st_gid);
	zdtm_check(pread(odd, buf, 2, 4096) == 1 && *buf == '!', "its last byte");
	zdtm_check(name_is(odd, "/memfd:odd \n/name\\ \x80 (deleted)"), "the odd name");
	zdtm_check(fcntl(odd, F_GETFD) == FD_CLOEXEC && !fcntl(data, F_GETFD), "close-on-exec");
}

static int shared;
static char *shared_map, *private_map, *only_map;

static void make_mapped(void)
{
	int fd = make("only mapped", MFD_ALLOW_SEALING, 3 * 4096);

	shared = make("shared", 0, 4 * 4096);
	shared_map = map(shared, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
	strcpy(shared_map + 4096, "from the map");
	private_map = map(shared, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	strcpy(private_map + 2 * 4096, "mine alone");
	only_map = map(fd, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
	strcpy(only_map + 2 * 4096, "no descriptor");
	zdtm_must(!fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_FUTURE_WRITE));
	close(fd);
}

static void check_mapped(void)
{
	char buf[16] = "";

	zdtm_check(pread(shared, buf, 13, 4096) == 13 && !strcmp(buf, "from the map"), "through the descriptor");
	zdtm_check(!strcmp(private_map + 4096, "from the map"), "a page that is the file's still");
	zdtm_check(!strcmp(private_map + 2 * 4096, "mine alone") && !shared_map[2 * 4096], "a page that is not");
	zdtm_check(pwrite(shared, "x", 1, 0) == 1 && shared_map[0] == 'x' && private_map[0] == 'x', "they are one");
	zdtm_check(pwrite(shared, "", 1, 0) == 1, "as it was, for the next round");
	zdtm_check(!strcmp(only_map + 2 * 4096, "no descriptor"), "one that is mapped only");
}

static int sealed_write, sealed_future, sealed_seal, not_sealed, noexec;
static char *future_map, *read_map;

static void make_sealed(void)
{
	sealed_write = make("write", MFD_ALLOW_SEALING, 4096);
	zdtm_must(pwrite(sealed_write, "w", 1, 0) == 1);
	zdtm_must(!fcntl(sealed_write, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW));
	read_map = map(again(sealed_write, O_RDONLY), 4096, PROT_READ, MAP_SHARED);
	sealed_future = make("future", MFD_ALLOW_SEALING, 4096);
	future_map = map(sealed_future, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
	zdtm_must(!fcntl(sealed_future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	sealed_seal = make("seal", MFD_ALLOW_SEALING, 4096);
	zdtm_must(!fcntl(sealed_seal, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_GROW));
	not_sealed = make("open", MFD_ALLOW_SEALING, 0);
	noexec = memfd_create("noexec", NOEXEC);
	zdtm_must(noexec >= 0 || errno == EINVAL);
}

static void check_sealed(void)
{
	zdtm_check(fcntl(sealed_write, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), "seals: %x",
	           fcntl(sealed_write, F_GET_SEALS));
	zdtm_check(pwrite(sealed_write, "x", 1, 0) == -1 && errno == EPERM && read_map[0] == 'w', "F_SEAL_WRITE");
	zdtm_check(fcntl(sealed_future, F_GET_SEALS) == F_SEAL_FUTURE_WRITE, "seals: %x",
	           fcntl(sealed_future, F_GET_SEALS));
	future_map[5]++;
	zdtm_check(pwrite(sealed_future, "x", 1, 0) == -1 && errno == EPERM, "F_SEAL_FUTURE_WRITE");
	zdtm_check(fcntl(sealed_seal, F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_GROW) &&
	               fcntl(sealed_seal, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EPERM,
	           "F_SEAL_SEAL");
	zdtm_check(fcntl(data, F_GET_SEALS) == F_SEAL_SEAL, "made without seals: %x", fcntl(data, F_GET_SEALS));
	zdtm_check(!fcntl(not_sealed, F_GET_SEALS) && !st_of(not_sealed).st_size, "empty, without a seal");
	if (noexec >= 0)
		zdtm_check(fcntl(noexec, F_GET_SEALS) == SEAL_EXEC && !(st_of(noexec).st_mode & 0111) &&
		               fchmod(noexec, 0777) == -1,
		           "F_SEAL_EXEC: %x, %o", fcntl(noexec, F_GET_SEALS), st_of(noexec).st_mode);
}

static pid_t child(void)
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (pid)
		return pid;
	zdtm_wait();
	while (shared_map[3 * 4096] != 'p')
		zdtm_nap();
	zdtm_check(pwrite(shared, "c", 1, 3 * 4096 + 1) == 1, "the child cannot write");
	zdtm_check(!strcmp(private_map + 2 * 4096, "mine alone"), "the child's private pages");
	_exit(0);
}

int main(int argc, char **argv)
{
	char buf[8] = "", exe[64] = "";
	int sparse, status;
	struct stat was, st;
	pid_t kid;

	if (!getenv("FROM_MEMFD"))
		run_from_memfd(argv);
	else
		zdtm_must(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	make_plain();
	make_mapped();
	make_sealed();
	sparse = make("sparse", 0, GIB);
	zdtm_must(pwrite(sparse, "one", 3, GIB / 3) == 3 && pwrite(sparse, "two", 3, GIB - 3) == 3);
	was = st_of(odd);
	kid = child();
	zdtm_ready();
	zdtm_wait();
	check_plain(was);
	check_mapped();
	check_sealed();
	st = st_of(sparse);
	zdtm_check(st.st_size == (off_t)GIB && st.st_blocks <= 32, "the sparse one has %ld blocks", (long)st.st_blocks);
	zdtm_check(pread(sparse, buf, 3, GIB / 3) == 3 && !strcmp(buf, "one"), "its first data: %s", buf);
	zdtm_check(pread(sparse, buf, 4, GIB - 3) == 3 && !strcmp(buf, "two"), "its last data: %s", buf);
	shared_map[3 * 4096] = 'p';
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "the child: %x", status);
	zdtm_check(shared_map[3 * 4096 + 1] == 'c', "the child's write");
	zdtm_check(
	    !*exe || (readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0 && !strcmp(exe, "/memfd:itself (deleted)")),
	    "the executable is %s", exe);
	zdtm_pass();
}
