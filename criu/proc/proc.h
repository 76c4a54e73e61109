/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /proc/PID/{stat,status,task,children}, see proc(5). Parsers take a text of len bytes, which need not end with a zero
 * and is foreign: anything odd is -EBADMSG. Readers return a negative errno too; nothing here logs.
 */
#ifndef CRIU_PROC_PROC_H
#define CRIU_PROC_PROC_H

#include "common.h"
#include "lib/arena.h"

struct proc_stat {
	char comm[16]; /* any bytes */
	char state;
	int32_t pid, ppid, pgrp, session, tty_nr, tpgid;
	uint32_t flags; /* PF_*, linux/include/linux/sched.h of the kernel */
	int64_t priority, nice, num_threads;
	uint64_t start_time; /* clock ticks since boot */
	uint64_t start_code, end_code, start_stack;
	int32_t exit_signal;
	uint32_t rt_priority, policy;
	uint64_t start_data, end_data, start_brk, arg_start, arg_end, env_start, env_end;
	int32_t exit_code; /* as wait(2) gives it; 0 to a reader that may not ptrace the task */
};

/* A pid as each namespace from the reader's down to the task's own sees it: ours, and the innermost. */
struct proc_pids {
	unsigned levels; /* 0: the kernel does not say */
	int32_t ours, inner;
};

struct proc_status {
	int32_t tgid, pid, ppid, tracer;
	uint32_t threads, umask, seccomp, seccomp_filters, no_new_privs;
	uint32_t uid[4], gid[4]; /* real, effective, saved, file system */
	uint32_t *groups;        /* from the arena; NULL without one */
	size_t n_groups;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	uint64_t sig_pending, shared_pending, sig_blocked, sig_ignored, sig_caught;
	struct proc_pids ns_tgid, ns_pid, ns_pgid, ns_sid;
	bool has_umask, has_seccomp; /* absent: a zombie or an old kernel; a kernel without it */
};

int proc_parse_stat(const char *text, size_t len, struct proc_stat *out);
int proc_parse_status(const char *text, size_t len, struct arena *a, struct proc_status *out);

/* Numbers between blanks (a children file), each above 0, appended to *pids in the arena. */
int proc_parse_pid_list(const char *text, size_t len, struct arena *a, pid_t **pids, size_t *n);

/* A descriptor of /proc/PID, for the openat() of the readers below. */
int proc_open(pid_t pid);

/* A whole file, followed by a zero that *len (may be NULL) does not count; to be freed. Path relative to dir_fd. */
int proc_read(int dir_fd, const char *path, char **textp, size_t *len);

/* The same of an open file, from its start. */
int proc_read_again(int fd, char **textp);

/*
 * As above, of a file that the kernel writes as one record (stat, status, cgroup of a task; not those with a record a
 * line, as maps): a read that does not fill the buffer was the last, and is not asked for more.
 */
int proc_read_at_once(int dir_fd, const char *path, char **textp, size_t *len);

/* The decimal number that is all of a file's text (oom_score_adj, loginuid). */
int proc_read_number(int dir_fd, const char *path, int64_t *value);

/* proc_fd is a /proc/PID; tid: that thread's own file, 0: the process's. a may be NULL where groups do not matter. */
int proc_read_stat(int proc_fd, pid_t tid, struct proc_stat *out);
int proc_read_status(int proc_fd, pid_t tid, struct arena *a, struct proc_status *out);

/*
 * Appends the entries of a directory of /proc that are numbers, as it has them: "/proc" has processes, "fd" of a
 * process its descriptors. Negative errno.
 */
int proc_list_numbers(int dir_fd, const char *path, struct arena *a, int **numbers, size_t *n);

/* Appends the threads of a process, or the children that one of its threads has. */
int proc_read_threads(int proc_fd, struct arena *a, pid_t **tids, size_t *n);
int proc_read_children(int proc_fd, pid_t tid, struct arena *a, pid_t **pids, size_t *n);

/* ---- one fact of a task by its pid ---- */

/* Its stat, as proc_read_stat(); -ENOENT or -ESRCH when the process does not exist. Threads are found too. */
int proc_stat_of(pid_t pid, struct proc_stat *out);

/* Exists and has not exited (a zombie has). */
bool proc_alive(pid_t pid);

/* Killed, and perhaps not gone: the first process of a pid namespace waits for all in there, criu's tracees too. */
bool proc_is_exiting(pid_t pid);

/* Field 22 of its stat; 0 when it is gone. */
uint64_t proc_start_time(pid_t pid);

/* The parent; 0 when it has none or is gone. */
pid_t proc_ppid(pid_t pid);

/* Its name; a negative errno when it is gone. */
int proc_comm(pid_t pid, char *comm, size_t size);

/*
 * Waits (10 s at most) until a process that was killed has exited, and reaps it if it is our child or tracee. 0, or a
 * negative errno: -ETIMEDOUT.
 */
int proc_wait_gone(pid_t pid);

/* Adds the children of all threads of a process, zombies too, to an array in the arena. None where /proc does not tell.
 */
void proc_add_children(struct arena *a, pid_t pid, pid_t **pids, size_t *n);

/*
 * Ends a process, and all that descends from it and has not been left to another parent: by SIGTERM, and what lives on
 * a fifth of a second later by SIGKILL. subreaper: a process (0: none) to which those fall whose parent has ended: its
 * children that are not older are ended too. -ESRCH: the process is gone, the pid is another one's, and there are no
 * such children.
 */
int proc_kill_below(pid_t pid, uint64_t start_time, pid_t subreaper);

#endif
