/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of memory that has no file, opened through /proc/self/map_files: shared anonymous memory, /dev/zero that
 * is mapped shared, a System V segment (also for reading only). What is written through them is in the mappings. And
 * the device of userfaultfd, with what it makes.
 *
 * zdtm: iters 3
 * zdtm: needs-root
 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "zdtm.h"

#define SIZE 8192UL
#define N    4

static struct {
	const char *name;
	char *at;
	int flags, fd;
} file[N] = { { "anonymous", NULL, O_RDWR, -1 },
	      { "/dev/zero", NULL, O_RDWR | O_APPEND, -1 },
	      { "a segment", NULL, O_RDWR, -1 },
	      { "a segment, read-only", NULL, O_RDONLY, -1 } };

static void open_at(int i)
{
	char path[80];

	zdtm_must(file[i].at != MAP_FAILED);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)file[i].at, (long)file[i].at + (long)SIZE);
	file[i].fd = open(path, file[i].flags);
	if (file[i].fd < 0)
		zdtm_skip("%s: %s", path, strerror(errno));
	strcpy(file[i].at + 100, file[i].name);
	zdtm_must(lseek(file[i].fd, 100, SEEK_SET) == 100);
}

static void check_device(int dev)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = ioctl(dev, _IO(0xAA, 0), O_CLOEXEC); /* USERFAULTFD_IOC_NEW */

	zdtm_check(fd >= 0 && !ioctl(fd, UFFDIO_API, &api), "/dev/userfaultfd: %s", strerror(errno));
	close(fd);
}

int main(void)
{
	int zero = open("/dev/zero", O_RDWR), id = shmget(IPC_PRIVATE, SIZE, 0600),
	    dev = open("/dev/userfaultfd", O_RDWR);
	char buf[64];

	zdtm_must(zero >= 0 && id >= 0);
	file[0].at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	file[1].at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
	file[2].at = file[3].at = shmat(id, NULL, 0);
	zdtm_must(!shmctl(id, IPC_RMID, NULL));
	for (int i = 0; i < N; i++)
		open_at(i);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++) {
		zdtm_check(lseek(file[i].fd, 0, SEEK_CUR) == 100, "%s: another position", file[i].name);
		zdtm_check(pread(file[i].fd, buf, sizeof(buf), 100) == sizeof(buf) &&
		               !strcmp(buf, file[i == 2 ? 3 : i].name),
		           "%s: reads %.20s", file[i].name, buf);
		zdtm_check((fcntl(file[i].fd, F_GETFL) & (O_ACCMODE | O_APPEND)) == file[i].flags, "%s: flags",
		           file[i].name);
	}
	for (int i = 0; i < 3; i++) {
		fcntl(file[i].fd, F_SETFL, 0);
		zdtm_check(pwrite(file[i].fd, "new", 4, 4096) == 4 && !strcmp(file[i].at + 4096, "new"),
		           "%s: is another object than what is mapped", file[i].name);
	}
	zdtm_check(write(file[3].fd, "x", 1) < 0 && errno == EBADF, "the read-only one can be written to");
	if (dev >= 0)
		check_device(dev);
	zdtm_pass();
}
