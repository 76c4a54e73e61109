/* SPDX-License-Identifier: GPL-2.0-only */
/* Registers of a stopped thread: ptrace(2), and what the kernel does with a call that a signal interrupts. */
#include <elf.h>
#include <linux/ipc.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "compat.h"
#include "lib/log.h"
#include "regs.h"
#include "uapi/x86_regset.h"

/* Kernel: linux/include/linux/errno.h. Seen by a tracer in the result register of an interrupted call. */
enum { RESTART_SYS = 512, RESTART_NOINTR = 513, RESTART_NOHAND = 514, RESTART_BLOCK = 516 };

#define SYSCALL_LEN  2U
#define NO_CALL      (-1L)
#define EFLAGS_TF    (1ULL << 8)
#define EFLAGS_DF    (1ULL << 10)
#define EFLAGS_NT    (1ULL << 14)
#define EFLAGS_AC    (1ULL << 18)
#define SELECTOR_LDT 4U
#define MOV_TO_EAX   0xb8

static int get_regset(pid_t tid, unsigned note, void *buf, size_t *len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = *len };

	if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)note, &iov))
		return -errno;
	*len = iov.iov_len;
	return 0;
}

static int set_regset(pid_t tid, unsigned note, const void *buf, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };

	return ptrace(PTRACE_SETREGSET, tid, (void *)(uintptr_t)note, &iov) ? -errno : 0;
}

/* ---- reading ---- */

/* EINVAL: 32-bit code, or this kernel or processor knows of none, whichever thread is asked; ENODEV: it has none. */
static bool has_shadow_stack(pid_t tid, bool code_64)
{
	static bool unknown; /* lint: global: of the machine, asked once */
	uint64_t ssp = 0;
	size_t ssp_len = sizeof(ssp);
	int err = unknown ? -EINVAL : get_regset(tid, NT_X86_SHSTK, &ssp, &ssp_len);

	if (err == -EINVAL && code_64)
		unknown = true;
	return !err && ssp;
}

/* 32-bit tasks (CS_32BIT) too: ptrace(2) shows a 64-bit tracer all in the same form. */
static int check_kind(pid_t tid, const struct user_regs_struct *g)
{
	if (g->cs != CS_64BIT && g->cs != CS_32BIT)
		return log_refusal(
		    -EOPNOTSUPP,
		    "thread %d runs code of another segment (cs %llx), which is not supported; try again when it "
		    "has left that",
		    tid, (unsigned long long)g->cs);
	if ((g->ds | g->es | g->fs | g->gs) & SELECTOR_LDT)
		return log_refusal(-EOPNOTSUPP,
		                   "thread %d uses a segment of modify_ldt(2), which is not supported; "
		                   "have it take that off before the dump",
		                   tid);
	if (has_shadow_stack(tid, g->cs == CS_64BIT))
		return log_refusal(
		    -EOPNOTSUPP,
		    "thread %d has a user shadow stack, which is not supported; start the program without it "
		    "(GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)",
		    tid);
	return 0;
}

static int get_tls(pid_t tid, struct thread_regs *regs)
{
	for (unsigned i = 0; i < TLS_SLOTS; i++) {
		struct user_desc *desc = &regs->tls[i];

		if (ptrace(PTRACE_GET_THREAD_AREA, tid, (void *)(uintptr_t)(TLS_FIRST + i), desc))
			return -errno;
		desc->entry_number = TLS_FIRST + i;
		if (desc->base_addr || desc->limit || desc->useable || !desc->seg_not_present)
			regs->has_tls = true;
	}
	return 0;
}

/* As the kernel shows a slot with nothing in it. */
static void set_no_tls(struct thread_regs *regs)
{
	for (unsigned i = 0; i < TLS_SLOTS; i++)
		regs->tls[i] =
		    (struct user_desc) { .entry_number = TLS_FIRST + i, .read_exec_only = 1, .seg_not_present = 1 };
}

/*
 * The kernel keeps PKRU beside the rest (its value here is the thread's, its bit may not be): a value that is not the
 * initial one counts as used, so that it is not taken for 0 on the way back.
 */
static void mark_pkru(uint8_t *state, size_t len)
{
	size_t offset, size;
	uint32_t pkru = 0;

	if (!xstate_component(XSTATE_PKRU, &offset, &size) || offset + size > len)
		return;
	memcpy(&pkru, state + offset, sizeof(pkru));
	if (pkru)
		xstate_header(state)->bv |= XSTATE_BIT(XSTATE_PKRU);
}

static int get_state(struct arena *a, pid_t tid, struct thread_regs *regs)
{
	uint8_t buf[XSTATE_MAX] __attribute__((aligned(64)));
	size_t len = sizeof(buf);
	int err = get_regset(tid, NT_X86_XSTATE, buf, &len);

	if (err)
		return err;
	if (len < XSTATE_MIN || len == sizeof(buf) || len < xstate_size())
		return -ENOBUFS;
	mark_pkru(buf, len);
	regs->len = xstate_used(xstate_header(buf)->bv);
	regs->state = arena_memdup(a, buf, regs->len);
	return 0;
}

/* 0 where no restart is pending; else one of RESTART_*. */
static int pending_restart(const struct thread_regs *regs)
{
	int64_t err = -(int64_t)regs->g.rax;

	if ((int64_t)regs->g.orig_rax < 0)
		return 0;
	return err == RESTART_SYS || err == RESTART_NOINTR || err == RESTART_NOHAND || err == RESTART_BLOCK ? (int)err
	                                                                                                    : 0;
}

/*
 * A thread that was interrupted in a call and continues has it as restart_syscall, which does not tell what the call
 * was. A C library has the number in the instruction before: mov $nr,%eax; syscall.
 */
static void find_restarted(pid_t tid, struct thread_regs *regs)
{
	uint8_t code[sizeof(long)];
	uint32_t nr;
	long word;

	if (regs->compat || pending_restart(regs) != RESTART_BLOCK || regs->g.orig_rax != SYS_restart_syscall)
		return;
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, tid, (void *)(uintptr_t)(regs->g.rip - sizeof(word)), NULL);
	if (errno)
		return;
	memcpy(code, &word, sizeof(code));
	memcpy(&nr, code + 2, sizeof(nr));
	if (code[1] == MOV_TO_EAX && nr == SYS_poll)
		regs->g.orig_rax = nr;
}

static struct thread_regs *read_regs(struct arena *a, pid_t tid, bool tls)
{
	struct thread_regs *regs = arena_new_of(a, struct thread_regs);
	int err = ptrace(PTRACE_GETREGS, tid, NULL, &regs->g) ? -errno : 0;

	if (!err) {
		if (check_kind(tid, &regs->g))
			return NULL;
		regs->compat = regs->g.cs == CS_32BIT;
		if (tls)
			err = get_tls(tid, regs);
		else
			set_no_tls(regs);
	}
	if (!err)
		err = get_state(a, tid, regs);
	if (!err)
		find_restarted(tid, regs);
	if (err)
		log_errno(err, "thread %d: reading its registers", tid);
	return err ? NULL : regs;
}

struct thread_regs *arch_regs_get(struct arena *a, pid_t tid)
{
	return read_regs(a, tid, true);
}

struct thread_regs *arch_regs_get_plain(struct arena *a, pid_t tid)
{
	return read_regs(a, tid, false);
}

struct thread_regs *arch_regs_dup(struct arena *a, const struct thread_regs *regs)
{
	struct thread_regs *copy = arena_memdup(a, regs, sizeof(*regs));

	copy->state = arena_memdup(a, regs->state, regs->len);
	return copy;
}

/* ---- writing ---- */

int arch_regs_set_general(pid_t tid, const struct thread_regs *regs)
{
	return ptrace(PTRACE_SETREGS, tid, NULL, &regs->g) ? -errno : 0;
}

int arch_regs_set(pid_t tid, const struct thread_regs *regs)
{
	uint8_t buf[XSTATE_MAX] __attribute__((aligned(64)));
	int err = 0;

	if (regs->len > xstate_size())
		return -EINVAL;
	memcpy(buf, regs->state, regs->len);
	memset(buf + regs->len, 0, xstate_size() - regs->len);
	for (unsigned i = 0; !err && regs->has_tls && i < TLS_SLOTS; i++)
		if (ptrace(PTRACE_SET_THREAD_AREA, tid, (void *)(uintptr_t)(TLS_FIRST + i), &regs->tls[i]))
			err = -errno;
	if (!err)
		err = set_regset(tid, NT_X86_XSTATE, buf, xstate_size());
	return err ?: arch_regs_set_general(tid, regs);
}

/* ---- looking and changing ---- */

raddr_t arch_regs_ip(const struct thread_regs *regs)
{
	return regs->g.rip;
}

raddr_t arch_regs_sp(const struct thread_regs *regs)
{
	return regs->g.rsp;
}

void arch_regs_set_ip(struct thread_regs *regs, raddr_t ip)
{
	regs->g.rip = ip;
}

int64_t arch_regs_result(const struct thread_regs *regs)
{
	return (int64_t)regs->g.rax;
}

long arch_regs_syscall(const struct thread_regs *regs)
{
	return pending_restart(regs) ? (long)regs->g.orig_rax : -1;
}

bool arch_regs_is_compat(const struct thread_regs *regs)
{
	return regs->compat;
}

void arch_regs_set_compat(struct thread_regs *regs, bool compat)
{
	regs->compat = compat;
}

/* The 64-bit number of a call that ipc(2) makes (linux/ipc.h), or NO_CALL. */
static long called_by_ipc(uint16_t call)
{
	switch (call) {
	case SEMOP:
		return SYS_semop;
	case SEMTIMEDOP:
		return SYS_semtimedop;
	case MSGSND:
		return SYS_msgsnd;
	case MSGRCV:
		return SYS_msgrcv;
	default:
		return NO_CALL;
	}
}

/* Calls of System V IPC, as their 64-bit numbers; others are NO_CALL. */
static long interrupted_compat(const struct user_regs_struct *g, uint64_t *arg)
{
	*arg = g->rbx;
	switch (g->orig_rax) {
	case COMPAT_NR_IPC:
		*arg = g->rcx;
		return called_by_ipc((uint16_t)g->rbx);
	case COMPAT_NR_SEMTIMEDOP:
		return SYS_semtimedop;
	case COMPAT_NR_MSGSND:
		return SYS_msgsnd;
	case COMPAT_NR_MSGRCV:
		return SYS_msgrcv;
	default:
		return NO_CALL;
	}
}

long arch_regs_interrupted(const struct thread_regs *regs, uint64_t *arg)
{
	bool in_call = (int64_t)regs->g.orig_rax >= 0 && (int64_t)regs->g.rax == -EINTR;

	*arg = regs->g.rdi;
	if (!in_call && !pending_restart(regs))
		return NO_CALL;
	return regs->compat ? interrupted_compat(&regs->g, arg) : (long)regs->g.orig_rax;
}

/* The kernel uses its restart block for a poll() without a timeout, too, which may as well begin anew. */
static bool may_begin_anew(const struct thread_regs *regs)
{
	return regs->g.orig_rax == (regs->compat ? COMPAT_NR_POLL : SYS_poll) && (int)regs->g.rdx < 0;
}

/* What only its restart block could continue. */
static bool needs_its_block(const struct thread_regs *regs, int restart)
{
	return restart == RESTART_BLOCK && !may_begin_anew(regs);
}

static unsigned long long restart_number(const struct thread_regs *regs)
{
	return regs->compat ? COMPAT_NR_RESTART_SYSCALL : SYS_restart_syscall;
}

void arch_regs_settle_restart(struct thread_regs *regs)
{
	int restart = pending_restart(regs);

	if (!restart)
		return;
	if (needs_its_block(regs, restart) || regs->g.orig_rax == restart_number(regs)) {
		regs->g.rax = (uint64_t)-EINTR;
	} else {
		regs->g.rax = regs->g.orig_rax;
		regs->g.rip -= SYSCALL_LEN;
	}
}

/* What may begin anew does: the next dump sees then what it is. */
void arch_regs_to_resume(const struct thread_regs *regs, uint64_t out[AGENT_REGS])
{
	struct user_regs_struct g = regs->g;
	int restart = pending_restart(regs);

	if (restart) {
		g.rax = needs_its_block(regs, restart) ? restart_number(regs) : g.orig_rax;
		g.rip -= SYSCALL_LEN;
	}
	memcpy(out,
	       (const uint64_t[AGENT_REGS]) { g.r15, g.r14, g.r13, g.r12, g.rbp, g.rbx, g.r11,    g.r10, g.r9, g.r8,
	                                      g.rax, g.rcx, g.rdx, g.rsi, g.rdi, g.rip, g.eflags, g.rsp, g.cs, g.ss },
	       AGENT_REGS * sizeof(*out));
}

/* Flags with which the calling convention and a system call are at ease. */
static void calm_flags(struct user_regs_struct *g)
{
	g->eflags &= ~(EFLAGS_TF | EFLAGS_DF | EFLAGS_NT | EFLAGS_AC);
}

/* The calls that are injected, as a 32-bit program makes them: the same arguments, if the offset of mmap(2) is 0. */
static uint64_t compat_number(long nr)
{
	switch (nr) {
	case SYS_mmap:
		return COMPAT_NR_MMAP2;
	case SYS_munmap:
		return COMPAT_NR_MUNMAP;
	case SYS_wait4:
		return COMPAT_NR_WAIT4;
	case SYS_prlimit64:
		return COMPAT_NR_PRLIMIT64;
	case SYS_rt_sigreturn:
		return COMPAT_NR_RT_SIGRETURN;
	case SYS_exit:
		return COMPAT_NR_EXIT;
	case SYS_exit_group:
		return COMPAT_NR_EXIT_GROUP;
	default:
		return UINT32_MAX; /* ENOSYS */
	}
}

static void compat_call(struct user_regs_struct *g, long nr, const uint64_t arg[6])
{
	g->cs = CS_32BIT;
	g->ds = g->es = g->ss;
	g->rax = compat_number(nr);
	g->rbx = arg[0];
	g->rcx = arg[1];
	g->rdx = arg[2];
	g->rsi = arg[3];
	g->rdi = (uint32_t)arg[4];
	g->rbp = arg[5];
}

void arch_regs_syscall_at(struct thread_regs *regs, raddr_t ip, raddr_t sp, long nr, const uint64_t arg[6])
{
	struct user_regs_struct *g = &regs->g;

	g->rip = ip;
	g->rsp = sp;
	g->rax = (uint64_t)nr;
	g->orig_rax = (uint64_t)-1;
	g->rdi = arg[0];
	g->rsi = arg[1];
	g->rdx = arg[2];
	g->r10 = arg[3];
	g->r8 = arg[4];
	g->r9 = arg[5];
	if (regs->compat)
		compat_call(g, nr, arg);
	calm_flags(g);
}

void arch_regs_enter_agent(struct thread_regs *regs, raddr_t entry, raddr_t slot, raddr_t stack_top)
{
	struct user_regs_struct *g = &regs->g;

	g->rip = entry;
	g->cs = CS_64BIT;
	g->rdi = slot;
	g->rsp = round_down(stack_top, 16) - 8;
	g->rax = 0;
	g->orig_rax = (uint64_t)-1;
	calm_flags(g);
}

const uint8_t *arch_syscall_code(size_t *len)
{
	static const uint8_t code[SYSCALL_LEN] = { 0x0f, 0x05 };

	*len = sizeof(code);
	return code;
}

/* ---- permission to use large state ---- */

bool arch_perm_ask(raddr_t out, struct arch_call *call)
{
	if (!(xstate_features() & XSTATE_BIT(XSTATE_TILEDATA)))
		return false;
	*call = (struct arch_call) { .nr = SYS_arch_prctl, .arg = { ARCH_GET_XCOMP_PERM, out } };
	return true;
}

bool arch_perm_request(const CoreEntry *core, struct arch_call *call)
{
	uint64_t wanted = 0;
	const ThreadInfoX86 *ti = core->thread_info;

	if (ti)
		wanted = ti->xcomp_perm | (ti->fpregs->xsave ? ti->fpregs->xsave->xstate_bv : 0);
	if (!(wanted & XSTATE_BIT(XSTATE_TILEDATA)))
		return false;
	*call = (struct arch_call) { .nr = SYS_arch_prctl, .arg = { ARCH_REQ_XCOMP_PERM, XSTATE_TILEDATA } };
	return true;
}

void arch_regs_copy_general(struct thread_regs *dst, const struct thread_regs *src)
{
	dst->g = src->g;
	dst->compat = src->compat;
}
