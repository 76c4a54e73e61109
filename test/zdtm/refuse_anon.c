/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What cannot be made again is refused by its name: userfaultfd, perf events, virtual machines, FUSE servers,
 * Landlock rulesets, half-made file systems, BPF programs and maps that are neither array nor hash.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 100: .*userfaultfd
 * zdtm: refuse fd 101: .*perf event
 * zdtm: refuse fd 102: .*virtual machine
 * zdtm: refuse fd 103: .*FUSE
 * zdtm: refuse fd 104: .*Landlock
 * zdtm: refuse fd 105: .*file system
 * zdtm: refuse fd 106: .*BPF program
 * zdtm: refuse fd 107: .*lru_hash
 * zdtm: refuse fd 108: .*memfd_secret
 */
#include <linux/bpf.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>

#include "zdtm.h"

#define FIRST 100
#define LAST  108

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

	at(100, syscall(SYS_userfaultfd, 1), "userfaultfd");
	perf.config = PERF_COUNT_SW_TASK_CLOCK;
	at(101, syscall(SYS_perf_event_open, &perf, 0, -1, -1, 0), "perf events");
	at(102, open("/dev/kvm", O_RDWR), "KVM");
	at(103, open("/dev/fuse", O_RDWR), "FUSE");
	at(104, syscall(SYS_landlock_create_ruleset, &landlock, sizeof(landlock.handled_access_fs), 0), "Landlock");
	at(105, syscall(SYS_fsopen, "tmpfs", 0), "fsopen()");
	at(106, program(), "BPF programs");
	at(107, map(), "BPF maps");
	at(108, syscall(SYS_memfd_secret, 0), "memfd_secret()");
	zdtm_must(!ftruncate(108, 8192)); /* and no task has it mapped */
	zdtm_ready();
	zdtm_wait();
	for (int i = FIRST; i <= LAST; i++)
		zdtm_check(fcntl(i, F_GETFD) >= 0, "descriptor %d is gone", i);
	zdtm_pass();
}
