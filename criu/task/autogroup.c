/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The nice value of a session's autogroup, sched(7). setsid(2) makes a group with nice 0; all processes of the session
 * are in it. It is written with the session's leader, or, where that is gone, with each of the others.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"

static bool stands_for_session(const struct dump *d, const struct task *t)
{
	const struct task *leader = tree_find(&d->tree, t->vsid);

	return leader == t || (!leader && t->vsid.v != 0);
}

static int autogroup_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;
	char text[64] = "";
	const char *nice;
	int fd, value = 0;
	ssize_t n;

	if (!stands_for_session(d, th->task))
		return 0;
	fd = openat(th->task->dump->proc_fd, "autogroup", O_RDONLY | O_CLOEXEC);
	if (fd < 0) /* a kernel without */
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	/* "/autogroup-17 nice 0"; empty where the process is in none. */
	nice = n > 0 ? strstr(text, " nice ") : NULL;
	if (nice && sscanf(nice, " nice %d", &value) == 1 && value) {
		tc->has_autogroup_nice = true;
		tc->autogroup_nice = value;
	}
	return 0;
}

static int autogroup_check(struct restore *r, const struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;

	if (tc->autogroup_nice >= -20 && tc->autogroup_nice <= 19)
		return 0;
	return log_errno(-EINVAL, "%s: its image has an autogroup with nice %d", task_name(th->task),
	                 tc->autogroup_nice);
}

/* From outside: a task without CAP_SYS_ADMIN may write once in a tenth of a second. criu's own session is not ours. */
static int autogroup_finish(struct restore *r, struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;
	char path[48], text[16];
	_cleanup_close_ int fd = -1;
	int len;

	if (!tc->autogroup_nice || getsid(th->task->pid) == getsid(0))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/autogroup", th->task->pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	len = snprintf(text, sizeof(text), "%d", tc->autogroup_nice);
	if (fd < 0 || write(fd, text, (size_t)len) != len)
		log_warn("%s: the autogroup of its session had nice %d: writing %s: %s", task_name(th->task),
		         tc->autogroup_nice, path, strerror(errno));
	return 0;
}

const struct task_part autogroup_part = {
	.name = "autogroup",
	.dump = autogroup_dump,
	.check = autogroup_check,
	.finish = autogroup_finish,
};
