/* SPDX-License-Identifier: GPL-2.0-only */
/* What only this architecture has of a process, is seldom used and cannot be saved. */
#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "arch/arch.h"
#include "arch/arch_odd.h"
#include "uapi/x86_regset.h"

#define LDT_READ 0 /* of modify_ldt(2) */

bool arch_odd_ask(unsigned i, raddr_t out, struct arch_call *call)
{
	static const struct arch_call calls[] = {
		{ .nr = SYS_modify_ldt, .arg = { LDT_READ, 0, ARCH_ODD_SIZE } },
		{ .nr = SYS_arch_prctl, .arg = { ARCH_GET_UNTAG_MASK } },
	};

	if (i >= ARRAY_SIZE(calls))
		return false;
	*call = calls[i];
	call->arg[1] = out;
	return true;
}

const char *arch_odd_refused(unsigned i, int64_t ret, const void *out)
{
	uint64_t mask;

	if (i == 0)
		return ret > 0 ? "has a local descriptor table (modify_ldt)" : NULL;
	memcpy(&mask, out, sizeof(mask));
	return !ret && mask != UINT64_MAX ? "uses tagged addresses (ARCH_ENABLE_TAGGED_ADDR)" : NULL;
}

/* The bitmap of ioperm(2); iopl(2) shows nowhere. */
const char *arch_odd_refused_thread(pid_t tid)
{
	uint8_t bits[64];
	struct iovec iov = { bits, sizeof(bits) };

	return ptrace(PTRACE_GETREGSET, tid, NT_386_IOPERM, &iov) ? NULL : "may use I/O ports (ioperm)";
}
