/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registers in the images. The format has a field for each component of the extended state up to PKRU, in the
 * component's own layout; what is newer goes into `xstate`, as records of number, length (both u32) and bytes.
 */
#include <string.h>

#include "arch_core.h"
#include "lib/log.h"
#include "regs.h"

struct xstate_record {
	uint32_t component, len;
};

/* ---- to the image ---- */

/* What a 32-bit program has of them; its bases are in the segments. */
static void only_compat(UserX86RegsEntry *e)
{
	e->r8 = e->r9 = e->r10 = e->r11 = e->r12 = e->r13 = e->r14 = e->r15 = 0;
	e->fs_base = e->gs_base = 0;
	e->ax = (uint32_t)e->ax;
	e->orig_ax = (uint32_t)e->orig_ax;
	e->bx = (uint32_t)e->bx;
	e->cx = (uint32_t)e->cx;
	e->dx = (uint32_t)e->dx;
	e->si = (uint32_t)e->si;
	e->di = (uint32_t)e->di;
	e->bp = (uint32_t)e->bp;
}

static UserX86RegsEntry *general_to_core(struct arena *a, const struct thread_regs *regs)
{
	const struct user_regs_struct *g = &regs->g;
	UserX86RegsEntry *e = arena_msg(a, UserX86RegsEntry, user_x86_regs_entry);

	e->r15 = g->r15;
	e->r14 = g->r14;
	e->r13 = g->r13;
	e->r12 = g->r12;
	e->bp = g->rbp;
	e->bx = g->rbx;
	e->r11 = g->r11;
	e->r10 = g->r10;
	e->r9 = g->r9;
	e->r8 = g->r8;
	e->ax = g->rax;
	e->cx = g->rcx;
	e->dx = g->rdx;
	e->si = g->rsi;
	e->di = g->rdi;
	e->orig_ax = g->orig_rax;
	e->ip = g->rip;
	e->cs = g->cs;
	e->flags = g->eflags;
	e->sp = g->rsp;
	e->ss = g->ss;
	e->fs_base = g->fs_base;
	e->gs_base = g->gs_base;
	e->ds = g->ds;
	e->es = g->es;
	e->fs = g->fs;
	e->gs = g->gs;
	e->has_mode = true;
	e->mode = regs->compat ? USER_X86_REGS_MODE__COMPAT : USER_X86_REGS_MODE__NATIVE;
	if (regs->compat)
		only_compat(e);
	return e;
}

/* The field of the format that holds a component: words of 4 or 8 bytes. */
struct image_field {
	size_t *n;
	void **data;
	size_t word, max;
};

static bool component_field(UserX86XsaveEntry *x, unsigned component, struct image_field *f)
{
	switch (component) {
	case XSTATE_YMM:
		*f = (struct image_field) { &x->n_ymmh_space, (void **)&x->ymmh_space, 4, 64 };
		return true;
	case XSTATE_BNDREGS:
		*f = (struct image_field) { &x->n_bndreg_state, (void **)&x->bndreg_state, 8, 8 };
		return true;
	case XSTATE_BNDCSR:
		*f = (struct image_field) { &x->n_bndcsr_state, (void **)&x->bndcsr_state, 8, 8 };
		return true;
	case XSTATE_OPMASK:
		*f = (struct image_field) { &x->n_opmask_reg, (void **)&x->opmask_reg, 8, 8 };
		return true;
	case XSTATE_ZMM_HI256:
		*f = (struct image_field) { &x->n_zmm_upper, (void **)&x->zmm_upper, 8, 64 };
		return true;
	case XSTATE_HI16_ZMM:
		*f = (struct image_field) { &x->n_hi16_zmm, (void **)&x->hi16_zmm, 8, 128 };
		return true;
	case XSTATE_PKRU:
		*f = (struct image_field) { &x->n_pkru, (void **)&x->pkru, 4, 2 };
		return true;
	default:
		return false;
	}
}

/* Bytes of a component in the state, all zero where it is not in use. */
static void copy_component(const struct thread_regs *regs, size_t offset, void *to, size_t size)
{
	memset(to, 0, size);
	if (offset + size <= regs->len)
		memcpy(to, regs->state + offset, size);
}

static void add_record(struct arena *a, ProtobufCBinaryData *all, const struct thread_regs *regs, unsigned component)
{
	struct xstate_record rec = { .component = component };
	size_t offset = 0, size = 0;
	uint8_t *data;

	if (!xstate_component(component, &offset, &size))
		return;
	rec.len = (uint32_t)size;
	data = arena_alloc(a, all->len + sizeof(rec) + size);
	if (all->len)
		memcpy(data, all->data, all->len);
	memcpy(data + all->len, &rec, sizeof(rec));
	copy_component(regs, offset, data + all->len + sizeof(rec), size);
	all->data = data;
	all->len += sizeof(rec) + size;
}

static void components_to_core(struct arena *a, const struct thread_regs *regs, UserX86FpregsEntry *e)
{
	uint64_t used = xstate_header(regs->state)->bv, known = xstate_features();
	struct image_field f;

	e->xsave->xstate_bv = used;
	for (unsigned n = XSTATE_YMM; n < XSTATE_COMPONENTS; n++) {
		size_t offset, size;

		if (!(known & XSTATE_BIT(n)))
			continue;
		if (!component_field(e->xsave, n, &f)) {
			if (used & XSTATE_BIT(n))
				add_record(a, &e->xstate, regs, n);
		} else if (xstate_component(n, &offset, &size)) {
			*f.n = MIN(f.max, size / f.word);
			*f.data = arena_alloc(a, *f.n * f.word);
			copy_component(regs, offset, *f.data, *f.n * f.word);
		}
	}
	e->has_xstate = e->xstate.len > 0;
}

static UserX86FpregsEntry *state_to_core(struct arena *a, const struct thread_regs *regs)
{
	UserX86FpregsEntry *e = arena_msg(a, UserX86FpregsEntry, user_x86_fpregs_entry);
	const struct fxsave *fx = xstate_fxsave(regs->state);

	e->cwd = fx->cwd;
	e->swd = fx->swd;
	e->twd = fx->twd;
	e->fop = fx->fop;
	e->rip = fx->rip;
	e->rdp = fx->rdp;
	e->mxcsr = fx->mxcsr;
	e->mxcsr_mask = fx->mxcsr_mask;
	e->n_st_space = ARRAY_SIZE(fx->st);
	e->st_space = arena_memdup(a, fx->st, sizeof(fx->st));
	e->n_xmm_space = ARRAY_SIZE(fx->xmm);
	e->xmm_space = arena_memdup(a, fx->xmm, sizeof(fx->xmm));
	e->xsave = arena_msg(a, UserX86XsaveEntry, user_x86_xsave_entry);
	e->xsave->cet = arena_msg(a, UserX86CetEntry, user_x86_cet_entry);
	components_to_core(a, regs, e);
	return e;
}

static UserDescT *tls_to_core(struct arena *a, const struct user_desc *d)
{
	UserDescT *e = arena_msg(a, UserDescT, user_desc_t);

	e->entry_number = d->entry_number;
	e->base_addr = d->base_addr;
	e->limit = d->limit;
	e->seg_32bit = d->seg_32bit;
	e->contents_h = d->contents & 2;
	e->contents_l = d->contents & 1;
	e->read_exec_only = d->read_exec_only;
	e->limit_in_pages = d->limit_in_pages;
	e->seg_not_present = d->seg_not_present;
	e->usable = d->useable;
	return e;
}

static ThreadInfoX86 *core_info(struct arena *a, CoreEntry *core)
{
	if (!core->thread_info)
		core->thread_info = arena_msg(a, ThreadInfoX86, thread_info_x86);
	return core->thread_info;
}

void arch_core_set_clear_tid(struct arena *a, CoreEntry *core, raddr_t addr)
{
	core_info(a, core)->clear_tid_addr = addr;
}

raddr_t arch_core_clear_tid(const CoreEntry *core)
{
	return core->thread_info ? core->thread_info->clear_tid_addr : 0;
}

int arch_regs_to_core(struct arena *a, const struct thread_regs *regs, CoreEntry *core)
{
	ThreadInfoX86 *ti = core_info(a, core);

	core->mtype = ARCH_CORE_MTYPE;
	ti->gpregs = general_to_core(a, regs);
	ti->fpregs = state_to_core(a, regs);
	ti->n_tls = TLS_SLOTS;
	ti->tls = arena_array(a, UserDescT *, TLS_SLOTS);
	for (unsigned i = 0; i < TLS_SLOTS; i++)
		ti->tls[i] = tls_to_core(a, &regs->tls[i]);
	return 0;
}

/* ---- permission to use large state ---- */

void arch_perm_to_core(struct arena *a, CoreEntry *core, uint64_t answer)
{
	if (!(answer & XSTATE_BIT(XSTATE_TILEDATA)))
		return;
	core_info(a, core)->has_xcomp_perm = true;
	core->thread_info->xcomp_perm = answer;
}

bool arch_state_is_large(const CoreEntry *core)
{
	const ThreadInfoX86 *ti = core->thread_info;

	return ti && ti->fpregs && ti->fpregs->xsave && (ti->fpregs->xsave->xstate_bv & XSTATE_BIT(XSTATE_TILEDATA));
}

/* ---- from the image ---- */

/* Protection keys that were not used: the kernel's default, or all allowed, as a processor without them behaves. */
#define PKRU_DEFAULT 0x55555554U

static bool is_needless(const UserX86XsaveEntry *x, unsigned component)
{
	return component == XSTATE_PKRU && (!x->n_pkru || x->pkru[0] == 0 || x->pkru[0] == PKRU_DEFAULT);
}

static int check_components(const UserX86FpregsEntry *e, const char *who)
{
	uint64_t used = e->xsave ? e->xsave->xstate_bv : 0, known = xstate_features(), all = e->has_xstate ? used : 0;
	struct image_field f;
	size_t offset, size;

	for (unsigned n = 0; n < 64; n++) {
		if (!(used & XSTATE_BIT(n)))
			continue;
		if (!(known & XSTATE_BIT(n)) && !is_needless(e->xsave, n))
			return log_refusal(-EOPNOTSUPP,
			                   "%s: uses a register state that this processor lacks: %s (component "
			                   "%u); restore it on one that has it",
			                   who, xstate_name(n), n);
		if (n >= XSTATE_YMM && component_field(e->xsave, n, &f) && xstate_component(n, &offset, &size) &&
		    *f.n * f.word > size)
			return log_errno(-EINVAL, "%s: its image has %zu words for %s, which has less", who, *f.n,
			                 xstate_name(n));
		if (n > XSTATE_PKRU && !all)
			return log_errno(-EINVAL, "%s: its image says that %s is in use and does not hold it", who,
			                 xstate_name(n));
	}
	return 0;
}

/* Copies the records into a state (NULL: only checks them); *seen gets the bits of their components. */
static int read_records(const ProtobufCBinaryData *all, uint8_t *state, uint64_t *seen)
{
	size_t at = 0;

	while (at < all->len) {
		struct xstate_record rec;
		size_t offset, size;

		if (all->len - at < sizeof(rec))
			return -EINVAL;
		memcpy(&rec, all->data + at, sizeof(rec));
		at += sizeof(rec);
		if (rec.component >= XSTATE_COMPONENTS || rec.len > all->len - at ||
		    !xstate_component(rec.component, &offset, &size) || size != rec.len)
			return -EINVAL;
		if (state)
			memcpy(state + offset, all->data + at, size);
		*seen |= XSTATE_BIT(rec.component);
		at += rec.len;
	}
	return 0;
}

static int check_state(const UserX86FpregsEntry *e, const char *who)
{
	uint64_t used = e->xsave ? e->xsave->xstate_bv : 0, seen = 0;
	int err = check_components(e, who);

	if (err)
		return err;
	if (e->n_st_space != 32 || e->n_xmm_space != 64 || e->n_padding > 24 ||
	    (e->cwd | e->swd | e->twd | e->fop) > UINT16_MAX)
		return log_errno(-EINVAL, "%s: its image holds FPU registers of another size", who);
	if (e->mxcsr & ~xstate_mxcsr_mask())
		return log_errno(-EINVAL, "%s: mxcsr %x has bits that this processor does not take", who, e->mxcsr);
	if (e->has_xstate &&
	    (read_records(&e->xstate, NULL, &seen) || (used & ~seen & ~((XSTATE_BIT(XSTATE_PKRU) << 1) - 1))))
		return log_errno(-EINVAL,
		                 "%s: the extended state in its image is damaged or of another processor's size", who);
	return 0;
}

bool arch_core_is_compat(const CoreEntry *core)
{
	const UserX86RegsEntry *e = core->thread_info ? core->thread_info->gpregs : NULL;

	return e && e->has_mode && e->mode == USER_X86_REGS_MODE__COMPAT;
}

int arch_regs_check_core(const CoreEntry *core, const char *who)
{
	const ThreadInfoX86 *ti = core->thread_info;

	if (core->mtype != ARCH_CORE_MTYPE || !ti)
		return log_refusal(-EOPNOTSUPP, "%s: is of another kind of processor (mtype %d)", who, core->mtype);
	if (!ti->gpregs || !ti->fpregs)
		return log_errno(-EINVAL, "%s: its image has no registers", who);
	if (ti->gpregs->cs != (arch_core_is_compat(core) ? CS_32BIT : CS_64BIT))
		return log_refusal(-EOPNOTSUPP,
		                   "%s: its image has code of a segment %llx in a %s program, which is not "
		                   "supported",
		                   who, (unsigned long long)ti->gpregs->cs,
		                   arch_core_is_compat(core) ? "32-bit" : "64-bit");
	if (ti->fpregs->xsave && ti->fpregs->xsave->cet && ti->fpregs->xsave->cet->ssp)
		return log_refusal(-EOPNOTSUPP, "%s: has a user shadow stack, which is not supported", who);
	for (size_t i = 0; i < ti->n_tls; i++)
		if (ti->tls[i]->entry_number - TLS_FIRST >= TLS_SLOTS)
			return log_errno(-EINVAL, "%s: its image has a segment number %u", who,
			                 ti->tls[i]->entry_number);
	return check_state(ti->fpregs, who);
}

static void general_from_core(struct user_regs_struct *g, const UserX86RegsEntry *e)
{
	*g = (struct user_regs_struct) {
		.r15 = e->r15,
		.r14 = e->r14,
		.r13 = e->r13,
		.r12 = e->r12,
		.rbp = e->bp,
		.rbx = e->bx,
		.r11 = e->r11,
		.r10 = e->r10,
		.r9 = e->r9,
		.r8 = e->r8,
		.rax = e->ax,
		.rcx = e->cx,
		.rdx = e->dx,
		.rsi = e->si,
		.rdi = e->di,
		.orig_rax = e->orig_ax,
		.rip = e->ip,
		.cs = e->cs,
		.eflags = e->flags,
		.rsp = e->sp,
		.ss = e->ss,
		.fs_base = e->fs_base,
		.gs_base = e->gs_base,
		.ds = e->ds,
		.es = e->es,
		.fs = e->fs,
		.gs = e->gs,
	};
}

static void tls_from_core(struct thread_regs *regs, const ThreadInfoX86 *ti)
{
	for (size_t i = 0; i < ti->n_tls; i++) {
		const UserDescT *e = ti->tls[i];

		if (e->seg_not_present && !e->base_addr && !e->limit && !e->usable)
			continue;
		regs->has_tls = true;
		regs->tls[e->entry_number - TLS_FIRST] = (struct user_desc) {
			.entry_number = e->entry_number,
			.base_addr = e->base_addr,
			.limit = e->limit,
			.seg_32bit = e->seg_32bit,
			.contents = (unsigned)e->contents_h << 1 | e->contents_l,
			.read_exec_only = e->read_exec_only,
			.limit_in_pages = e->limit_in_pages,
			.seg_not_present = e->seg_not_present,
			.useable = e->usable,
		};
	}
}

/* The base that a selector stands for, which the kernel does not take from the segment by itself. */
static uint64_t base_of(const struct thread_regs *regs, uint64_t selector)
{
	uint64_t slot = (selector >> 3) - TLS_FIRST;

	return slot < TLS_SLOTS ? regs->tls[slot].base_addr : 0;
}

static void compat_from_core(struct thread_regs *regs)
{
	struct user_regs_struct *g = &regs->g;

	regs->compat = true;
	g->rax = (uint64_t)(int64_t)(int32_t)g->rax; /* as the kernel has it: errors are negative */
	g->orig_rax = (uint64_t)(int64_t)(int32_t)g->orig_rax;
	g->fs_base = base_of(regs, g->fs);
	g->gs_base = base_of(regs, g->gs);
}

static void fxsave_from_core(struct fxsave *fx, const UserX86FpregsEntry *e)
{
	fx->cwd = (uint16_t)e->cwd;
	fx->swd = (uint16_t)e->swd;
	fx->twd = (uint16_t)e->twd;
	fx->fop = (uint16_t)e->fop;
	fx->rip = e->rip;
	fx->rdp = e->rdp;
	fx->mxcsr = e->mxcsr;
	fx->mxcsr_mask = e->mxcsr_mask;
	memcpy(fx->st, e->st_space, sizeof(fx->st));
	memcpy(fx->xmm, e->xmm_space, sizeof(fx->xmm));
}

static void components_from_core(struct thread_regs *regs, UserX86XsaveEntry *x)
{
	size_t offset, size;
	struct image_field f;

	for (unsigned n = XSTATE_YMM; n < XSTATE_COMPONENTS; n++)
		if ((x->xstate_bv & XSTATE_BIT(n)) && component_field(x, n, &f) &&
		    xstate_component(n, &offset, &size) && *f.n)
			memcpy(regs->state + offset, *f.data, *f.n * f.word);
}

struct thread_regs *arch_regs_from_core(struct arena *a, const CoreEntry *core)
{
	struct thread_regs *regs = arena_new_of(a, struct thread_regs);
	const UserX86FpregsEntry *e;
	uint64_t bv, seen = 0;

	if (arch_regs_check_core(core, "a thread"))
		return NULL;
	e = core->thread_info->fpregs;
	general_from_core(&regs->g, core->thread_info->gpregs);
	tls_from_core(regs, core->thread_info);
	if (arch_core_is_compat(core))
		compat_from_core(regs);
	bv = XSTATE_BIT(XSTATE_X87) | XSTATE_BIT(XSTATE_SSE);
	if (e->xsave)
		bv = e->xsave->xstate_bv & xstate_features();
	regs->len = xstate_used(bv);
	regs->state = arena_alloc(a, regs->len);
	xstate_header(regs->state)->bv = bv;
	fxsave_from_core(xstate_fxsave(regs->state), e);
	if (e->xsave)
		components_from_core(regs, e->xsave);
	return e->has_xstate && read_records(&e->xstate, regs->state, &seen) ? NULL : regs;
}
