/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What cannot be made again is refused by its name: userfaultfd, io_uring, perf events, virtual machines, FUSE servers,
 * Landlock rulesets, half-made file systems, BPF programs and maps that are neither array nor hash.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 100: .*userfaultfd
 * zdtm: refuse fd 101: .*io_uring
 * zdtm: refuse fd 102: .*perf event
 * zdtm: refuse fd 103: .*virtual machine
 * zdtm: refuse fd 104: .*FUSE
 * zdtm: refuse fd 105: .*Landlock
 * zdtm: refuse fd 106: .*file system
 * zdtm: refuse fd 107: .*BPF program
 * zdtm: refuse fd 108: .*lru_hash
 * zdtm: refuse fd 109: .*memfd_secret
 */
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>

#include "zdtm.h"

#define FIRST 100
#define LAST  109

static void at(int number, int fd, const char *what)
{
	if (fd < 0)
		zdtm_skip("no %s here: %s", what, strerror(errno));
	zdtm_must(dup2(fd, number) == number);
	close(fd);
}

static int bpf(int cmd, union bpf_attr *a)
{
	return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static int program(void)
{
	/* r0 = 0; exit */
	struct bpf_insn code[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT } };
	union bpf_attr a = { 0 };

	a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a.insn_cnt = 2;
	a.insns = (uint64_t)(uintptr_t)code;
	a.license = (uint64_t)(uintptr_t) "GPL";
	return bpf(BPF_PROG_LOAD, &a);
}

static int map(void)
{
	union bpf_attr a = { 0 };

	a.map_type = BPF_MAP_TYPE_LRU_HASH;
	a.key_size = a.value_size = a.max_entries = 4;
	return bpf(BPF_MAP_CREATE, &a);
}

int main(void)
{
	struct perf_event_attr perf = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(perf), .exclude_kernel = 1 };
	struct landlock_ruleset_attr landlock = { .handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE };
	struct io_uring_params ring = { 0 };

	at(100, syscall(SYS_userfaultfd, 1), "userfaultfd");
	at(101, syscall(SYS_io_uring_setup, 4, &ring), "io_uring");
	perf.config = PERF_COUNT_SW_TASK_CLOCK;
	at(102, syscall(SYS_perf_event_open, &perf, 0, -1, -1, 0), "perf events");
	at(103, open("/dev/kvm", O_RDWR), "KVM");
	at(104, open("/dev/fuse", O_RDWR), "FUSE");
	at(105, syscall(SYS_landlock_create_ruleset, &landlock, sizeof(landlock.handled_access_fs), 0), "Landlock");
	at(106, syscall(SYS_fsopen, "tmpfs", 0), "fsopen()");
	at(107, program(), "BPF programs");
	at(108, map(), "BPF maps");
	at(109, syscall(SYS_memfd_secret, 0), "memfd_secret()");
	zdtm_must(!ftruncate(109, 8192)); /* and no task has it mapped */
	zdtm_ready();
	zdtm_wait();
	for (int i = FIRST; i <= LAST; i++)
		zdtm_check(fcntl(i, F_GETFD) >= 0, "descriptor %d is gone", i);
	zdtm_pass();
}
