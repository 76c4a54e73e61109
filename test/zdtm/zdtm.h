/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a test program says to test/zdtm/run, by files in the directory that it was started in: "ready" (it is set up),
 * "verify" (the runner: now look), "result" (FAIL and SKIP lines with its words, PASS last). No thread, no descriptor,
 *no signal is used for it, so that nothing of it is in the way of what is tested.
 *
 *	setup; zdtm_ready(); zdtm_wait(); zdtm_check(x == 1, "x is %d", x); zdtm_pass();
 *
 * A victim of the fault campaigns is asked many times: while (zdtm_asked()) { checks; zdtm_answer(); }
 */
#ifndef ZDTM_H
#define ZDTM_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "zdtm_say.h"

/* What is looked at after the checkpoint; the test goes on to find more. From any process of the test. */
#define zdtm_check(cond, ...) ((cond) ? 1 : zdtm_fail(__LINE__, __VA_ARGS__))

/* The setting up: what has to work for there to be a test at all. */
#define zdtm_must(cond)                                                                                                \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			zdtm_say("FAIL", __LINE__, "setup: %s: %s", #cond, strerror(errno));                           \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

#define zdtm_skip(...) (zdtm_say("SKIP", 0, __VA_ARGS__), _exit(77))

__attribute__((unused)) static void zdtm_touch(const char *name)
{
	int fd = open(zdtm_path(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	zdtm_must(fd >= 0);
	close(fd);
}

__attribute__((unused)) static void zdtm_nap(void)
{
	nanosleep(&(struct timespec) { .tv_nsec = 10000000 }, NULL); /* EINTR after a restore: the caller loops */
}

/* Set up: the runner may begin. Only one process says so, when all of them are. */
#define zdtm_ready() zdtm_touch("ready")

/* Sleeps until the runner says "verify". Any number of processes and threads may. */
__attribute__((unused)) static void zdtm_wait(void)
{
	while (access(zdtm_path("verify"), F_OK))
		zdtm_nap();
}

/* 1: checks are wanted, zdtm_answer() after them; 0: it was the last time, zdtm_pass(). */
__attribute__((unused)) static int zdtm_asked(void)
{
	for (;; zdtm_nap()) {
		if (!access(zdtm_path("verify"), F_OK))
			return 0;
		if (!access(zdtm_path("ask"), F_OK))
			return 1;
	}
}

#define zdtm_answer() unlink(zdtm_path("ask"))

/* The last word, of one process. A FAIL line of anybody counts more. */
#define zdtm_pass()   (zdtm_say("PASS", 0, "%s", ""), exit(0))

#endif
