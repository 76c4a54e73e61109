/* SPDX-License-Identifier: GPL-2.0-only */
/* A fanotify group that has to allow the opening of a program which another task of the tree runs. */
#ifndef ZDTM_FANOTIFY_PROGRAM_H
#define ZDTM_FANOTIFY_PROGRAM_H

#include <stdbool.h>
#include <sys/fanotify.h>

#include "zdtm.h"

static int answers;

static void answer_all(int group)
{
	char buf[4096] __attribute__((aligned(8)));
	ssize_t n;

	while ((n = read(group, buf, sizeof(buf))) > 0)
		for (struct fanotify_event_metadata *e = (void *)buf; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
			struct fanotify_response r = { .fd = e->fd, .response = FAN_ALLOW };

			zdtm_check(write(group, &r, sizeof(r)) == sizeof(r), "an answer: %s", strerror(errno));
			close(e->fd);
			answers++;
		}
}

/* held: the tree has the program by O_PATH, too. argc: of the test; the program is the test with one argument more. */
static int fanotify_program(int argc, bool held)
{
	int group, status, before;
	pid_t kid;

	if (argc > 1) { /* the program in d */
		zdtm_touch("runs");
		zdtm_wait();
		return 7;
	}
	zdtm_must(!mkdir("d", 0700) && !system("cp /proc/$PPID/exe d/prog"));
	group = fanotify_init(FAN_CLASS_CONTENT | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY);
	if (group < 0 && (errno == EPERM || errno == ENOSYS))
		zdtm_skip("fanotify is not allowed: %s", strerror(errno));
	zdtm_must(group >= 0 && dup3(group, 100, O_CLOEXEC) == 100 && !close(group));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		execl("d/prog", "prog", "kid", NULL);
		_exit(1);
	}
	while (access("runs", F_OK))
		zdtm_nap();
	zdtm_must(!held || open("d/prog", O_PATH) >= 0);
	zdtm_must(!fanotify_mark(100, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_EVENT_ON_CHILD, AT_FDCWD, "d"));
	zdtm_ready();
	for (; access("verify", F_OK); zdtm_nap())
		answer_all(100);
	answer_all(100);
	before = answers;
	zdtm_must((kid = fork()) >= 0);
	if (!kid)
		_exit(open("d/prog", O_RDONLY) < 0);
	for (; waitpid(kid, &status, WNOHANG) != kid; zdtm_nap())
		answer_all(100);
	zdtm_check(!status && answers == before + 1, "it is not asked any more: %d, %d", status, answers - before);
	zdtm_check(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 7, "the program: %x", status);
	zdtm_pass();
}

#endif
