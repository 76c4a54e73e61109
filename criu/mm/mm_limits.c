/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/mm_limits.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/send_fds.h"
#include "files/files.h"
#include "files/foreign_restore.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/kind.h"

extern const struct task_part mm_limits_part;

#define AUXV_MAX 64 /* words */

/* ---- dump ---- */

/* The end of the heap: /proc shows only where it starts. */
static int mm_limits_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_brk, 0);
	return 0;
}

/* A task that shares the memory of an earlier one gives the same answer again. */
static int mm_limits_answered(struct dump *d, struct thread *th, const struct answers *ans)
{
	if (!(ans->op->flags & AGENT_OP_DONE) || ans->op->ret < 0)
		return log_errno(-EPROTO, "%s: brk(0) failed in the task", task_name(th->task));
	tree_first_vm(&d->tree, th->task)->mm->mm_brk = (uint64_t)ans->op->ret;
	return 0;
}

const struct task_part mm_limits_part = {
	.name = "limits of memory",
	.ask = mm_limits_ask,
	.dump = mm_limits_answered,
};

static void dump_limits(struct task *t)
{
	MmEntry *mm = t->mm;
	const struct proc_stat *st = t->dump->stat;

	mm->mm_start_code = st->start_code;
	mm->mm_end_code = st->end_code;
	mm->mm_start_data = st->start_data;
	mm->mm_end_data = st->end_data;
	mm->mm_start_stack = st->start_stack;
	mm->mm_start_brk = st->start_brk;
	mm->mm_arg_start = st->arg_start;
	mm->mm_arg_end = st->arg_end;
	mm->mm_env_start = st->env_start;
	mm->mm_env_end = st->env_end;
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

int mm_limits_dump(struct dump *d, struct task *t)
{
	char path[32];
	int err;

	dump_limits(t);
	err = dump_auxv(d, t);
	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/%d/exe", t->pid);
	return files_dump_path(d, t, path, O_RDONLY, "its executable", &t->mm->exe_file_id);
}

/* ---- restore ---- */

int mm_limits_check(struct restore *r, const struct task *t)
{
	const MmEntry *mm = t->mm;

	if (!files_message(r, mm->exe_file_id, NULL))
		return log_errno(-EBADMSG, "%s: mm-%d.img: files.img does not have the executable, file %u",
		                 task_name(t), t->vpid.v, mm->exe_file_id);
	if (mm->n_mm_saved_auxv > AUXV_MAX || mm->n_mm_saved_auxv % 2)
		return log_errno(-EBADMSG, "%s: mm-%d.img: %zu words of auxv", task_name(t), t->vpid.v,
		                 mm->n_mm_saved_auxv);
	return 0;
}

int mm_limits_restore(struct restore *r, struct task *t)
{
	const MmEntry *mm = t->mm;
	struct prctl_mm_map map = {
		.start_code = mm->mm_start_code,
		.end_code = mm->mm_end_code,
		.start_data = mm->mm_start_data,
		.end_data = mm->mm_end_data,
		.start_brk = mm->mm_start_brk,
		.brk = mm->mm_brk,
		.start_stack = mm->mm_start_stack,
		.arg_start = mm->mm_arg_start,
		.arg_end = mm->mm_arg_end,
		.env_start = mm->mm_env_start,
		.env_end = mm->mm_env_end,
		.auxv_size = (uint32_t)(mm->n_mm_saved_auxv * sizeof(uint64_t)),
	};
	int fd = files_open(r, mm->exe_file_id), number = -1, err;
	struct batch *b;
	bool foreign;
	raddr_t at;

	if (fd < 0)
		return fd;
	err = foreign_restore_send(r, t, &fd, 1, &number);
	if (err)
		return err;
	map.exe_fd = (uint32_t)number;
	b = agent_batch(t->restore->agent, "the limits of its memory (PR_SET_MM_MAP)");
	batch_reserve(b, 3 + 2 * FOREIGN_BATCH_OPS, sizeof(map) + map.auxv_size + 32);
	at = batch_data(b, mm->mm_saved_auxv, map.auxv_size);
	memcpy(&map.auxv, &at, sizeof(at));
	at = batch_data(b, &map, sizeof(map));
	foreign = foreign_restore_is(r, mm->exe_file_id);
	if (foreign)
		foreign_restore_become(r, t, b);
	batch_call(b, SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, at, sizeof(map));
	if (foreign)
		foreign_restore_return(r, t, b);
	batch_call(b, SYS_close, (uint64_t)number);
	return batch_run(b);
}
