/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/run_program.h"

#define NOT_THERE 127

/* After fork(), perhaps of one thread of many: only what is safe in a signal handler. */
static _Noreturn void exec_program(const char *const *argv, const char *const *paths, int in, int out, int held,
                                   pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (held >= 0)
		fcntl(held, F_SETFD, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (getppid() == parent && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2)
		for (; *paths; paths++)
			execv(*paths, (char *const *)argv);
	_exit(NOT_THERE);
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

int run_program(const char *const *argv, int in, int out, int held)
{
	_cleanup_free_ char **places = places_of(argv[0]);
	pid_t parent = getpid(), pid;
	int status;

	if (!places)
		return -ENOMEM;
	pid = fork();
	if (pid == 0)
		exec_program(argv, (const char *const *)places, in, out, held, parent);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status) == NOT_THERE ? -ENOENT : WEXITSTATUS(status);
}
