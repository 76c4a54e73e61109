/* SPDX-License-Identifier: GPL-2.0-only */
/* criu restore --shell-job in the foreground: for its shell, criu is the job, and stops, goes on and ends as the root
 * does. */
#ifndef CRIU_RESTORE_JOB_H
#define CRIU_RESTORE_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Gives the terminal to a group where `from` has it. SIGTTOU is blocked, so that criu may do that from the background.
 */
bool job_give_terminal(pid_t from, pid_t to);

/* Before job_wait(): where the root task has stopped or ended, its terminal is criu's, so that keys reach criu. */
void job_look(pid_t root);

/* Stays until the root task, a child of criu's, has ended, with this mask beside what is waited for. Returns the wait
 * status (waitpid(2)) or a negative errno
 * (logged). */
int job_wait(pid_t root, const sigset_t *mask);

/*
 * Ends criu as the root task has ended: with its exit status, or by the signal that it was killed by, without a core.
 * by_exit: with the exit status that a shell makes of a signal (128 + its number).
 */
void job_end(int status, bool by_exit) __attribute__((noreturn));

#endif
