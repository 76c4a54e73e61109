/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "agent/code.h"
#include "arch/arch.h"
#include "arch/arch_start.h"
#include "lib/io.h"

/* Read at once: little at first, since what is searched for mostly lies near, and each page costs a fault. */
#define WINDOW_FIRST (16UL << 10)
#define WINDOW_MAX   (256UL << 10)
#define OVERLAP      32UL

int agent_read_task(pid_t pid, raddr_t at, void *buf, size_t len)
{
	return io_read_process(pid, buf, &(struct iovec) { (void *)(uintptr_t)at, len }, 1);
}

int agent_write_task(pid_t pid, raddr_t at, const void *buf, size_t len)
{
	return io_write_process(pid, buf, &(struct iovec) { (void *)(uintptr_t)at, len }, 1);
}

static ssize_t find_sigreturn_of(bool compat, const uint8_t *code, size_t len)
{
	size_t n;
	const uint8_t *wanted = arch_sigreturn_code(compat, &n), *at = memmem(code, len, wanted, n);

	return at ? at - code : -ENOENT;
}

static ssize_t match_sigreturn(const uint8_t *code, size_t len)
{
	return find_sigreturn_of(false, code, len);
}

static ssize_t match_compat_sigreturn(const uint8_t *code, size_t len)
{
	return find_sigreturn_of(true, code, len);
}

static raddr_t search_code(pid_t pid, raddr_t start, uint64_t len, ssize_t (*find)(const uint8_t *, size_t))
{
	_cleanup_free_ uint8_t *buf = malloc(WINDOW_MAX);
	size_t window = WINDOW_FIRST, n;

	for (uint64_t off = 0; buf && off < len; off += n - OVERLAP) {
		ssize_t at;

		n = MIN(window, len - off);
		at = agent_read_task(pid, start + off, buf, n) ? -ENOENT : find(buf, n);
		if (at >= 0)
			return start + off + (uint64_t)at;
		if (n < window)
			break;
		if (off >= WINDOW_MAX)
			window = WINDOW_MAX;
	}
	return 0;
}

raddr_t code_find_syscall(pid_t pid, bool compat, raddr_t start, uint64_t len)
{
	return search_code(pid, start, len, compat ? arch_find_syscall_compat : arch_find_syscall);
}

raddr_t code_find_sigreturn(pid_t pid, bool compat, raddr_t start, uint64_t len)
{
	return search_code(pid, start, len, compat ? match_compat_sigreturn : match_sigreturn);
}
