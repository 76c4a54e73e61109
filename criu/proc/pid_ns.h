/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Numbers of processes and threads in another pid namespace (pid_namespaces(7)). What criu calls by itself wants criu's
 * own number of a process; what is called in a task, or stands in an image, has that of the task's namespace.
 */
#ifndef CRIU_PROC_PID_NS_H
#define CRIU_PROC_PID_NS_H

#include "common.h"

/* A descriptor of the pid namespace that a process is in, close-on-exec; or a negative errno (not logged). */
int pid_ns_open(pid_t pid);

/*
 * Our number of the process or thread that is number `inner` in the namespace of a descriptor; or a negative errno (not
 * logged), -ESRCH: it is gone. near: where the kernel does not tell (before Linux 6.11), the threads of this process
 * (our number; 0: none) and the children of theirs are looked at before all of /proc.
 */
pid_t pid_ns_ours(int ns, pid_t inner, pid_t near);

#define PID_LEVELS_MAX 33

/* A number for each pid namespace, from the reader's down to the task's own; 0: none there. */
struct pid_levels {
	size_t n;
	int32_t at[PID_LEVELS_MAX];
};

/* Of a /proc/PID, or of a thread of it (0: none): NSpid, NSpgid, NSsid. A negative errno (not logged). */
int pid_ns_levels(int proc_fd, pid_t tid, struct pid_levels *pid, struct pid_levels *pgid, struct pid_levels *sid);

/* As pid_ns_ours(), by what /proc shows of each process alone. */
pid_t pid_ns_ours_by_proc(int ns, pid_t inner, pid_t near);

#endif
