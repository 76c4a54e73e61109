/* SPDX-License-Identifier: GPL-2.0-only */
/* What mm_entry has beside mappings: limits of the address space, auxv, the executable, and what only the task knows.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "files/files.h"
#include "tree/kind.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "mm/mm.h"
#include "mm/vma.h"

/* The result of the i-th call, or -ECANCELED when it was not made. */
static int64_t answer(const struct answers *a, unsigned i)
{
	return a->op[i].flags & AGENT_OP_DONE ? a->op[i].ret : -ECANCELED;
}

enum { ASK_BRK, ASK_THP, ASK_DUMPABLE };

static int mm_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_brk, 0);
	batch_ask(b, SYS_prctl, PR_GET_THP_DISABLE);
	batch_ask(b, SYS_prctl, PR_GET_DUMPABLE);
	return 0;
}

/* A task that shares the memory of an earlier one tells the same again. */
static int mm_answers(struct dump *d, struct thread *th, const struct answers *ans)
{
	MmEntry *mm = tree_first_vm(&d->tree, th->task)->mm;
	int64_t brk = answer(ans, ASK_BRK), thp = answer(ans, ASK_THP), dumpable = answer(ans, ASK_DUMPABLE);

	if (brk < 0 || dumpable < 0)
		return log_errno(-EPROTO, "%s: its break or dumpable attribute could not be read", task_name(th->task));
	mm->mm_brk = (uint64_t)brk;
	mm->has_dumpable = true;
	mm->dumpable = (int32_t)dumpable;
	if (thp > 1)
		log_warn("%s: PR_SET_THP_DISABLE was called with flags %x, which are not kept", task_name(th->task),
		         (unsigned)thp & ~1U);
	mm->has_thp_disabled = thp > 0;
	mm->thp_disabled = thp > 0;
	return 0;
}

const struct task_part mm_part = {
	.name = "memory attributes",
	.ask = mm_ask,
	.dump = mm_answers,
};

static int dump_limits(struct task *t)
{
	MmEntry *mm = t->mm;
	struct proc_stat st;
	int err = proc_read_stat(t->dump->proc_fd, 0, &st);

	if (err)
		return log_errno(err, "%s: reading /proc/%d/stat", task_name(t), t->pid);
	mm->mm_start_code = st.start_code;
	mm->mm_end_code = st.end_code;
	mm->mm_start_data = st.start_data;
	mm->mm_end_data = st.end_data;
	mm->mm_start_stack = st.start_stack;
	mm->mm_start_brk = st.start_brk;
	mm->mm_arg_start = st.arg_start;
	mm->mm_arg_end = st.arg_end;
	mm->mm_env_start = st.env_start;
	mm->mm_env_end = st.env_end;
	return 0;
}

/* In the image without the end mark (AT_NULL) and what follows it, as CRIU has it. */
static int dump_auxv(struct dump *d, struct task *t)
{
	_cleanup_free_ char *text = NULL;
	size_t len, n = 0;
	uint64_t *auxv;
	int err = proc_read(t->dump->proc_fd, "auxv", &text, &len);

	if (err)
		return log_errno(err, "%s: reading /proc/%d/auxv", task_name(t), t->pid);
	auxv = arena_memdup(d->arena, text, len);
	while ((n + 2) * sizeof(*auxv) <= len && auxv[n])
		n += 2;
	t->mm->mm_saved_auxv = auxv;
	t->mm->n_mm_saved_auxv = n;
	return 0;
}

int mm_dump(struct dump *d, struct task *t)
{
	char path[32];
	int err = dump_limits(t);

	if (!err)
		err = dump_auxv(d, t);
	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/%d/exe", t->pid);
	err = files_dump_path(d, t, path, O_RDONLY, "its executable", &t->mm->exe_file_id);
	return err ?: image_write_one(d->dir, IMG_MM, (uint64_t)t->vpid.v, t->mm);
}
