/* SPDX-License-Identifier: GPL-2.0-only */
/* NVIDIA's program cuda-checkpoint, from PATH. One run for each question. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cuda.h"

#define PROGRAM     "cuda-checkpoint"
#define QUESTION_MS 10000 /* what changes nothing is answered at once */
#define OUTPUT_SIZE 4096
#define NOT_FOUND   127 /* as a shell has it */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Both streams into the pipe. The helper has no signals blocked or ignored. */
static int spawn(const char *const argv[], int out, pid_t *pid)
{
	pid_t helper = getpid();

	*pid = fork();
	if (*pid < 0)
		return -errno;
	if (*pid)
		return 0;
	/* Of this thread, which waits for it: what asks the driver ends with the helper. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == helper && dup2(out, 1) == 1 && dup2(out, 2) == 2)
		execvp(argv[0], (char *const *)argv);
	_exit(NOT_FOUND);
}

/* Reads to the end of the output; what does not fit is dropped. false: the time is over. */
static bool read_output(int fd, char *out, int64_t end)
{
	char rest[512];
	size_t len = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = end - now_ms();
		bool full = len + 1 >= OUTPUT_SIZE;
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return false;
		n = read(fd, full ? rest : out + len, full ? sizeof(rest) : OUTPUT_SIZE - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return true;
		len += full ? 0 : (size_t)n;
		out[len] = 0;
	}
}

/* Its end, once its output has ended. */
static bool wait_end(pid_t pid, int *status, int64_t end)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (;;) {
		pid_t got = waitpid(pid, status, WNOHANG);

		if (got == pid)
			return true;
		if ((got < 0 && errno != EINTR) || now_ms() >= end)
			return false;
		nanosleep(&pause, NULL);
	}
}

/* Runs the program; out gets what it says. 0, -ENOENT: no such program, -ETIMEDOUT, -EIO: it has failed. */
static int run(const char *const argv[], unsigned limit_ms, char out[OUTPUT_SIZE], char *text)
{
	int64_t end = now_ms() + limit_ms;
	int p[2], status = 0, err;
	pid_t pid;
	bool ended;

	out[0] = 0;
	if (pipe2(p, O_CLOEXEC))
		return -errno;
	err = spawn(argv, p[1], &pid);
	close(p[1]);
	if (err) {
		close(p[0]);
		snprintf(text, GPU_TEXT_SIZE, "running %s: %s", argv[0], strerror(-err));
		return err;
	}
	ended = read_output(p[0], out, end) && wait_end(pid, &status, end);
	close(p[0]);
	if (!ended) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		snprintf(text, GPU_TEXT_SIZE, "%s %s %s: no answer within %u ms, killed", argv[0], argv[1], argv[2],
		         limit_ms);
		return -ETIMEDOUT;
	}
	if (!status)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND) {
		snprintf(text, GPU_TEXT_SIZE, "%s cannot be run: it is not in PATH", argv[0]);
		return -ENOENT;
	}
	snprintf(text, GPU_TEXT_SIZE, "%s %s %s: %s %d: %.*s", argv[0], argv[1], argv[2],
	         WIFSIGNALED(status) ? "ended by signal" : "ended with status",
	         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), (int)strcspn(out, "\n"), out);
	return -EIO;
}

int cuda_binary_check(void)
{
	const char *argv[] = { PROGRAM, "-h", "", NULL };
	char out[OUTPUT_SIZE], text[GPU_TEXT_SIZE];
	int err = run(argv, QUESTION_MS, out, text);

	/* Its status says nothing: help is an error to some programs. */
	if (err && err != -EIO)
		return err;
	return strstr(out, "--action") ? 0 : -ENOTSUP;
}

static const char *first_line(char *out)
{
	out[strcspn(out, "\n")] = 0;
	return out;
}

static int binary_restore_tid(pid_t pid, pid_t *tid, char *text)
{
	char number[16], out[OUTPUT_SIZE];
	const char *argv[] = { PROGRAM, "--get-restore-tid", "--pid", number, NULL };
	int err;

	snprintf(number, sizeof(number), "%d", pid);
	err = run(argv, QUESTION_MS, out, text);
	if (err)
		return err;
	*tid = atoi(first_line(out));
	if (*tid > 0)
		return 0;
	snprintf(text, GPU_TEXT_SIZE, "%s --get-restore-tid: says '%.80s', which is no number", PROGRAM, out);
	return -EPROTO;
}

static int binary_state(pid_t pid, enum gpu_state *state, char *text)
{
	static const char *const words[] = { [GPU_RUNNING] = "running",
		                             [GPU_LOCKED] = "locked",
		                             [GPU_CHECKPOINTED] = "checkpointed",
		                             [GPU_FAILED] = "failed" };
	char number[16], out[OUTPUT_SIZE];
	const char *argv[] = { PROGRAM, "--get-state", "--pid", number, NULL };
	int err;

	snprintf(number, sizeof(number), "%d", pid);
	err = run(argv, QUESTION_MS, out, text);
	for (size_t i = 0; !err && i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(first_line(out), words[i])) {
			*state = (enum gpu_state)i;
			return 0;
		}
	if (!err)
		snprintf(text, GPU_TEXT_SIZE, "%s --get-state: says '%.80s', which is no state", PROGRAM, out);
	return err ?: -EPROTO;
}

static int binary_act(pid_t pid, enum gpu_action action, unsigned limit_ms, char *text)
{
	static const char *const words[] = { "lock", "checkpoint", "restore", "unlock" };
	char number[16], limit[16], out[OUTPUT_SIZE];
	const char *argv[] = { PROGRAM, "--action", words[action], "--pid", number, NULL, NULL, NULL };

	snprintf(number, sizeof(number), "%d", pid);
	snprintf(limit, sizeof(limit), "%u", limit_ms);
	if (action == ACTION_LOCK) {
		argv[5] = "--timeout";
		argv[6] = limit;
		limit_ms += QUESTION_MS; /* it sees to the limit itself */
	}
	return run(argv, limit_ms, out, text);
}

const struct cuda_way cuda_binary = {
	.name = PROGRAM, .restore_tid = binary_restore_tid, .state = binary_state, .act = binary_act
};
