/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Protection keys, pkeys(7): which ones a process has allocated, and which mappings have one. What a thread may do with
 * each is in its registers (PKRU).
 */
#include "mm/pkeys.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "lib/log.h"
#include "mm/task_mm.h"
#include "tree/inventory.h"
#include "tree/kind.h"
#include "tree/vma_kind.h"

#define KEYS    16 /* number 0 is always there, and what every mapping has at first */

/* Where nothing can ever be mapped: the last page of the largest address space. */
#define NOWHERE ((1ULL << 56) - PAGE_SIZE)

extern const struct task_part pkeys_part;

/* Whether the processor has keys: asked by criu for itself. */
static bool have_keys(void)
{
	int key = (int)syscall(SYS_pkey_alloc, 0, 0);

	return key >= 0 && !syscall(SYS_pkey_free, key);
}

/* The kernel looks whether a key is allocated (else EINVAL) before it finds no mapping (ENOMEM). */
static int ask_key(struct batch *b, unsigned key)
{
	return batch_ask(b, SYS_pkey_mprotect, NOWHERE, PAGE_SIZE, PROT_READ, key);
}

/* ---- dump ---- */

static int pkeys_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	bool have = have_keys();

	for (unsigned key = 1; have && key < KEYS; key++)
		ask_key(b, key);
	return 0;
}

/* The key that the kernel has taken for what can only be executed is not the program's, and comes by itself. */
static void keep_own(struct dump *d, MmEntry *mm)
{
	for (size_t i = 0; i < mm->n_vmas; i++) {
		VmaEntry *v = mm->vmas[i];

		if (v->prot == PROT_EXEC && !(mm->pkeys >> v->pkey & 1))
			v->has_pkey = v->pkey = 0;
		if (v->has_pkey)
			inventory_only_ours(d);
	}
}

static int pkeys_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	MmEntry *mm = th->task->mm;

	if (tree_first_vm(&d->tree, th->task) != th->task || !have_keys())
		return 0;
	for (unsigned key = 1; key < KEYS; key++)
		if (ans->op[key - 1].flags & AGENT_OP_DONE && ans->op[key - 1].ret == -ENOMEM)
			mm->pkeys |= 1U << key;
	mm->has_pkeys = mm->pkeys;
	if (mm->pkeys)
		inventory_only_ours(d);
	keep_own(d, mm);
	return 0;
}

/* ---- restore ---- */

/* Those of mappings whose key the process has given back, too. */
static uint32_t wanted_keys(const MmEntry *mm)
{
	uint32_t wanted = mm->pkeys;

	for (size_t i = 0; i < mm->n_vmas; i++)
		wanted |= 1U << mm->vmas[i]->pkey;
	return wanted & ~1U;
}

static int pkeys_check(struct restore *r, const struct thread *th)
{
	const struct task *t = th->task;

	if (!t->mm || tree_first_vm(&r->tree, t) != t)
		return 0;
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->pkey >= KEYS)
			return vma_damaged(t, t->mm->vmas[i], "has an impossible protection key");
	if (t->mm->pkeys >> KEYS || t->mm->pkeys & 1)
		return log_errno(-EINVAL, "%s: mm-%d.img: impossible protection keys (%#x)", task_name(t), t->vpid.v,
		                 t->mm->pkeys);
	if (wanted_keys(t->mm) && !have_keys())
		return log_refusal(-ENOTSUP, "%s: has protection keys (pkeys(7)), which this processor or kernel lacks",
		                   task_name(t));
	return 0;
}

/* A copy has its parent's keys at first. */
static bool may_have_keys(const struct task *t)
{
	const MmEntry *mm = t->parent ? t->parent->mm : NULL;

	return t->restore->copied && have_keys() && (!mm || wanted_keys(mm));
}

int pkeys_allocate(struct task *t)
{
	uint32_t wanted = wanted_keys(t->mm);
	struct batch *b = agent_batch(t->restore->agent, "protection keys");
	int first, err;

	if (!wanted && !may_have_keys(t))
		return 0;
	batch_reserve(b, 3 * KEYS, 0);
	for (unsigned key = 1; key < KEYS; key++)
		batch_ask(b, SYS_pkey_alloc, 0, 0);
	for (unsigned key = 1; key < KEYS; key++)
		if (!(wanted >> key & 1))
			batch_ask(b, SYS_pkey_free, key);
	first = ask_key(b, 1);
	for (unsigned key = 2; key < KEYS; key++)
		ask_key(b, key);
	err = batch_run(b);
	for (unsigned key = 1; !err && key < KEYS; key++)
		if (wanted >> key & 1 && batch_ret(b, first + (int)key - 1) != -ENOMEM)
			err = log_errno(-EBUSY, "%s: pkey_alloc: protection key %u is taken by the kernel",
			                task_name(t), key);
	return err;
}

/* pkey_mprotect(2) takes a key that is allocated alone: so those that were given back are given back at the end. */
void pkeys_protect(struct batch *b, const MmEntry *mm)
{
	batch_what(b, "protection keys of mappings");
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *v = mm->vmas[i];

		if (v->pkey && !vma_is_kernels(v))
			batch_call(b, SYS_pkey_mprotect, v->start, v->end - v->start, v->prot, v->pkey);
	}
	for (unsigned key = 1; key < KEYS; key++)
		if (wanted_keys(mm) & ~mm->pkeys & 1U << key)
			batch_call(b, SYS_pkey_free, key);
}

const struct task_part pkeys_part = {
	.name = "protection keys",
	.ask = pkeys_ask,
	.dump = pkeys_dump,
	.check = pkeys_check,
};
