/* SPDX-License-Identifier: GPL-2.0-only */
/* The user whose login a process descends from, for audit: /proc/PID/loginuid, proc_pid_loginuid(5). */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "tree/user_ns.h"

static int loginuid_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;
	int64_t value;

	if (!proc_read_number(th->task->dump->proc_fd, "loginuid", &value)) { /* a kernel may be without audit */
		tc->has_loginuid = true;
		tc->loginuid = (uint32_t)value;
	}
	return 0;
}

/* Only the task itself may write the file, and only once without CAP_AUDIT_CONTROL. */
static int set_loginuid(struct thread *th, struct batch *b)
{
	const TaskCoreEntry *tc = th->core->tc;
	_cleanup_close_ int proc_fd = proc_open(th->tid);
	int64_t now;
	char text[16];
	int fd, written, err;

	if (!tc->has_loginuid || proc_fd < 0 || proc_read_number(proc_fd, "loginuid", &now) ||
	    (uint32_t)now == tc->loginuid)
		return 0;
	snprintf(text, sizeof(text), "%u", tc->loginuid);
	batch_reserve(b, 3, 64);
	fd = batch_ask(b, SYS_openat, (uint64_t)AT_FDCWD, batch_string(b, "/proc/self/loginuid"), O_WRONLY);
	written = batch_ask(b, SYS_write, 0, batch_string(b, text), strlen(text));
	batch_ref(b, 0, fd);
	batch_ask(b, SYS_close, 0);
	batch_ref(b, 0, fd);
	err = batch_run(b);
	if (!err && batch_ret(b, written) < 0)
		log_warn("%s: its loginuid stays %u, it was %u (CAP_AUDIT_CONTROL is needed to change it)",
		         task_name(th->task), (uint32_t)now, tc->loginuid);
	return err;
}

static int loginuid_restore(struct restore *r, struct thread *th, struct batch *b)
{
	return user_ns_of_task(user_ns_of_restore(r), th->task) ? 0 : set_loginuid(th, b);
}

/* Images have the id outside, and only there it may be changed. */
static int loginuid_before_entry(struct restore *r, struct thread *th, struct batch *b)
{
	return set_loginuid(th, b);
}

const struct task_part loginuid_part = {
	.name = "loginuid",
	.dump = loginuid_dump,
	.before_entry = loginuid_before_entry,
	.restore = loginuid_restore,
};
