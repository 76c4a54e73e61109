/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What cannot be made again is refused by its name, and with what the user can do: perf events, virtual machines and
 * their processors, FUSE servers, Landlock rulesets, half-made file systems, BPF programs that are not pinned, BPF
 * iterators and links, type information, maps that are neither array nor hash, listeners of seccomp filters, AF_XDP
 * sockets. What this kernel does not make is left out.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 101: .*perf event.*does not show what it counts
 * zdtm: refuse fd 102: .*virtual machine.*save the machine
 * zdtm: refuse fd 103: .*FUSE
 * zdtm: refuse fd 104: .*Landlock.*landlock_restrict_self
 * zdtm: refuse fd 105: .*file system that is being mounted.*fsmount
 * zdtm: refuse fd 106: .*BPF program.*BPF_OBJ_PIN
 * zdtm: refuse fd 107: .*lru_hash
 * zdtm: refuse fd 108: .*memfd_secret
 * zdtm: refuse fd 109: .*processor of a virtual machine
 * zdtm: refuse fd 110: .*type information.*for loading programs only
 * zdtm: refuse fd 111: .*listener of a seccomp filter
 * zdtm: refuse fd 112: .*AF_XDP socket
 */
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "zdtm.h"

#define FIRST 101
#define LAST  112

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

/* An empty one: a header, and a string table of one zero. */
static int type_information(void)
{
	static struct {
		uint16_t magic;
		uint8_t version, flags;
		uint32_t hdr_len, type_off, type_len, str_off, str_len, type[4];
		char str[8];
	} btf = { 0xeB9F, 1, 0, 24, 0, 16, 16, 8, { 1, 1 << 24, 4, 32 | 1 << 24 }, "\0int" };
	union bpf_attr a = { 0 };

	a.btf = (uint64_t)(uintptr_t)&btf;
	a.btf_size = sizeof(btf);
	return bpf(BPF_BTF_LOAD, &a);
}

static int listener(void)
{
	struct sock_filter allow = { .code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW };
	struct sock_fprog program = { 1, &allow };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static int machine(void)
{
	int dev = open("/dev/kvm", O_RDWR), fd = dev < 0 ? -1 : ioctl(dev, 0xAE01 /* KVM_CREATE_VM */, 0);

	close(dev);
	return fd;
}

int main(void)
{
	struct perf_event_attr perf = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(perf), .exclude_kernel = 1 };
	struct landlock_ruleset_attr landlock = { .handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE };

	perf.config = PERF_COUNT_SW_TASK_CLOCK;
	at(101, syscall(SYS_perf_event_open, &perf, 0, -1, -1, 0), "perf events");
	at(102, machine(), "KVM");
	at(103, open("/dev/fuse", O_RDWR), "FUSE");
	at(104, syscall(SYS_landlock_create_ruleset, &landlock, sizeof(landlock.handled_access_fs), 0), "Landlock");
	at(105, syscall(SYS_fsopen, "tmpfs", 0), "fsopen()");
	at(106, program(), "BPF programs");
	at(107, map(), "BPF maps");
	at(108, syscall(SYS_memfd_secret, 0), "memfd_secret()");
	zdtm_must(!ftruncate(108, 8192)); /* and no task has it mapped */
	at(109, ioctl(102, 0xAE41 /* KVM_CREATE_VCPU */, 0), "processors of virtual machines");
	at(110, type_information(), "BTF");
	at(111, listener(), "seccomp listeners");
	at(112, socket(AF_XDP, SOCK_RAW, 0), "AF_XDP");
	zdtm_ready();
	zdtm_wait();
	for (int i = FIRST; i <= LAST; i++)
		zdtm_check(fcntl(i, F_GETFD) >= 0, "descriptor %d is gone", i);
	zdtm_pass();
}
