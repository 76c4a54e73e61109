/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A BPF program that is pinned, open twice: it is the same one, and works.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 */
#include <linux/bpf.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "zdtm.h"

static int bpf(int cmd, union bpf_attr *a)
{
	return (int)syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static int load(void)
{
	/* r0 = 0; exit: a filter that lets nothing through */
	struct bpf_insn code[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT } };
	union bpf_attr a = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		             .insn_cnt = 2,
		             .insns = (uintptr_t)code,
		             .license = (uintptr_t) "GPL" };

	return bpf(BPF_PROG_LOAD, &a);
}

static unsigned id_of(int fd)
{
	struct bpf_prog_info info = { 0 };
	union bpf_attr a = { .info = { .bpf_fd = (uint32_t)fd, .info_len = sizeof(info), .info = (uintptr_t)&info } };

	return bpf(BPF_OBJ_GET_INFO_BY_FD, &a) ? 0 : info.id;
}

static int filters(int prog)
{
	int sk[2], ok;
	char byte = 'x';

	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sk));
	ok = !setsockopt(sk[1], SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof(prog));
	ok = ok && (write(sk[0], &byte, 1) < 0 || (read(sk[1], &byte, 1) < 0 && errno == EAGAIN));
	close(sk[0]);
	close(sk[1]);
	return ok;
}

int main(void)
{
	union bpf_attr a = { 0 };
	int prog = load(), two;
	unsigned id;

	if (prog < 0)
		zdtm_skip("no BPF programs here: %s", strerror(errno));
	zdtm_must(!mkdir("pins", 0700));
	if (mount("bpf", "pins", "bpf", 0, NULL))
		zdtm_skip("mount of a bpf file system: %s", strerror(errno));
	zdtm_must(!mkdir("pins/dir", 0700));
	a.pathname = (uintptr_t) "pins/dir/program";
	a.bpf_fd = (uint32_t)prog;
	zdtm_must(!bpf(BPF_OBJ_PIN, &a));
	id = id_of(prog);
	two = fcntl(prog, F_DUPFD, 50);
	zdtm_must(id && two == 50 && filters(prog));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(id_of(prog) == id && id_of(two) == id, "program %u is %u and %u", id, id_of(prog), id_of(two));
	zdtm_check(filters(two), "it does not filter");
	zdtm_check(!unlink(zdtm_path("pins/dir/program")) && !umount2(zdtm_path("pins"), MNT_DETACH), "umount: %s",
	           strerror(errno));
	zdtm_pass();
}
