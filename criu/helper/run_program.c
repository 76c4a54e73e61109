/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "helper/helper.h"
#include "helper/run_program.h"
#include "lib/own_pids.h"

#define NOT_THERE 127

struct program {
	const char *const *argv;
	char **paths; /* every place where it may be */
	int in, out, errors, held;
	sigset_t no_signals;
};

/* Its descriptors and its signal mask are its own; the death signal stays over execve(2). */
static int exec_program(void *arg)
{
	const struct program *p = arg;

	if (p->held >= 0)
		fcntl(p->held, F_SETFD, 0);
	sigprocmask(SIG_SETMASK, &p->no_signals, NULL);
	if (dup2(p->in, 0) == 0 && dup2(p->out, 1) == 1 && dup2(p->errors, 2) == 2)
		for (char **path = p->paths; *path; path++)
			execv(*path, (char *const *)p->argv);
	return NOT_THERE;
}

/* Every place where it may be, in one allocation: room for the pointers first. */
static char **places_of(const char *name)
{
	const char *path = getenv("PATH") ?: "";
	size_t most = 4, each = strlen(name) + 16;
	char **places, *text;

	for (const char *p = path; *p; p++)
		most += *p == ':';
	places = calloc(1, most * (sizeof(*places) + each) + strlen(path));
	if (!places)
		return NULL;
	text = (char *)(places + most);
	most = 0;
	while (*path) {
		size_t len = strcspn(path, ":");

		if (*path == '/') {
			places[most++] = text;
			text += sprintf(text, "%.*s/%s", (int)len, path, name) + 1;
		}
		path += len + (path[len] == ':');
	}
	places[most++] = text;
	text += sprintf(text, "/usr/sbin/%s", name) + 1;
	places[most] = text;
	sprintf(text, "/sbin/%s", name);
	return places;
}

int run_program(const char *const *argv, int in, int out, int errors, int held)
{
	_cleanup_free_ char **places = places_of(argv[0]);
	struct program p = { .argv = argv, .paths = places, .in = in, .out = out, .errors = errors, .held = held };
	pid_t pid;
	int status;

	if (!places)
		return -ENOMEM;
	sigemptyset(&p.no_signals);
	own_pids_steer(); /* for the program's own children */
	pid = helper_start(&(struct helper_spec) { .flags = CLONE_VM }, exec_program, &p);
	if (pid < 0)
		return pid;
	status = helper_wait(pid);
	if (status < 0)
		return status;
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status) == NOT_THERE ? -ENOENT : WEXITSTATUS(status);
}
