/* SPDX-License-Identifier: GPL-2.0-only */
/* Which mappings go into a core dump: /proc/PID/coredump_filter, core(5). */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"

/* A hexadecimal number. The file is absent in kernels without ELF core dumps. */
static bool read_filter(int proc_fd, uint32_t *filter)
{
	_cleanup_free_ char *text = NULL;
	char *end;

	if (proc_read_at_once(proc_fd, "coredump_filter", &text, NULL))
		return false;
	*filter = (uint32_t)strtoul(text, &end, 16);
	return end != text;
}

static int coredump_filter_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;

	tc->has_coredump_filter = read_filter(th->task->dump->proc_fd, &tc->coredump_filter);
	return 0;
}

static int coredump_filter_finish(struct restore *r, struct thread *th)
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

const struct task_part coredump_filter_part = {
	.name = "core dump filter",
	.dump = coredump_filter_dump,
	.finish = coredump_filter_finish,
};
