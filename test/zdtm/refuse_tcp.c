/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connected TCP sockets, connections that nobody has accepted, data that was not sent yet, eBPF filters: refused by
 * name.
 *
 * zdtm: exclusive
 * zdtm: refuse fd 100: .*the connection 127\.0\.0\.1:[0-9]+ - 127\.0\.0\.1:[0-9]+: give --tcp-established
 * zdtm: refuse fd 101: .*with 2 connections .*from 127\.0\.0\.1:[0-9]+, 127.*--skip-in-flight
 * zdtm: refuse fd 102: .*not sent yet \(UDP_CORK
 * zdtm: refuse fd 103: .*eBPF program
 * zdtm: no-userns loads programs into the kernel
 */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "zdtm.h"

static int at(int number, int fd)
{
	zdtm_must(fd >= 0 && dup2(fd, number) == number && !close(fd));
	return number;
}

static int client(int listener)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	zdtm_must(!getsockname(listener, (struct sockaddr *)&a, &len) && !connect(fd, (struct sockaddr *)&a, len));
	return fd;
}

/* return 1000 */
static int program(void)
{
	struct bpf_insn insns[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1000 },
		                    { .code = BPF_JMP | BPF_EXIT } };
	union bpf_attr a = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2 };

	a.insns = (uintptr_t)insns;
	a.license = (uintptr_t) "GPL";
	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
}

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = at(101, socket(AF_INET, SOCK_STREAM, 0)), one, two, child, udp, on = 1, prog, filtered;
	char buf[10];

	zdtm_must(!bind(listener, (struct sockaddr *)&a, sizeof(a)) && !listen(listener, 10));
	at(100, client(listener));
	zdtm_must((child = accept(listener, NULL, NULL)) >= 0);
	one = client(listener);
	two = client(listener);
	udp = at(102, socket(AF_INET, SOCK_DGRAM, 0));
	zdtm_must(!setsockopt(udp, IPPROTO_UDP, UDP_CORK, &on, sizeof(on)));
	a.sin_port = htons(9);
	zdtm_must(!connect(udp, (struct sockaddr *)&a, sizeof(a)) && send(udp, "corked", 6, 0) == 6);
	filtered = at(103, socket(AF_INET, SOCK_DGRAM, 0));
	prog = program();
	zdtm_must(prog >= 0 && !setsockopt(filtered, SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof(prog)) && !close(prog));

	zdtm_ready();
	zdtm_wait();

	zdtm_check(write(100, "hello", 5) == 5 && read(child, buf, 10) == 5 && !memcmp(buf, "hello", 5), "connection");
	for (int i = 0; i < 2; i++)
		zdtm_check((child = accept(listener, NULL, NULL)) >= 0 && write(i ? two : one, "x", 1) == 1 &&
		               read(child, buf, 10) == 1,
		           "waiting connection %d", i);
	zdtm_pass();
}
