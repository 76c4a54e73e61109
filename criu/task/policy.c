/* SPDX-License-Identifier: GPL-2.0-only */
/* Policies of an address space: what goes into a core dump, and that memory may not be writable and executable. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "uapi/prctl_new.h"

/* ---- dump ---- */

static int policy_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_prctl, PR_GET_MDWE);
	return 0;
}

/* /proc/PID/coredump_filter, see core(5): hexadecimal. Absent in kernels without ELF core dumps. */
static bool read_filter(int proc_fd, uint32_t *filter)
{
	_cleanup_free_ char *text = NULL;
	char *end;

	if (proc_read(proc_fd, "coredump_filter", &text, NULL))
		return false;
	*filter = (uint32_t)strtoul(text, &end, 16);
	return end != text;
}

static int policy_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;
	int64_t mdwe = answer_ret(ans, 0); /* -EINVAL before Linux 6.3 */

	tc->has_coredump_filter = read_filter(th->task->dump->proc_fd, &tc->coredump_filter);
	tc->has_mdwe = mdwe > 0;
	tc->mdwe = mdwe > 0 ? (uint32_t)mdwe : 0;
	return 0;
}

/* ---- restore ---- */

/* All mappings are there; it forbids new ones that are writable and executable, which the agent does not make. */
static int policy_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const TaskCoreEntry *tc = th->core->tc;

	if (tc->mdwe && tree_first_vm(&r->tree, th->task) == th->task)
		batch_call(b, SYS_prctl, PR_SET_MDWE, tc->mdwe);
	return 0;
}

static int policy_finish(struct restore *r, struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;
	_cleanup_close_ int proc_fd = proc_open(th->tid);
	_cleanup_close_ int fd = -1;
	uint32_t now;

	if (!tc->has_coredump_filter || proc_fd < 0 || !read_filter(proc_fd, &now) || now == tc->coredump_filter)
		return 0;
	fd = openat(proc_fd, "coredump_filter", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "0x%" PRIx32, tc->coredump_filter) < 0)
		log_warn("%s: its coredump_filter stays %x, it was %x (%m)", task_name(th->task), now,
		         tc->coredump_filter);
	return 0;
}

const struct task_part policy_part = {
	.name = "core dump filter and memory policy",
	.ask = policy_ask,
	.dump = policy_dump,
	.restore = policy_restore,
	.finish = policy_finish,
};
