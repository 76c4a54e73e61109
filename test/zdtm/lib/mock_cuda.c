/* SPDX-License-Identifier: GPL-2.0-only */
/* Stands for libcuda.so.1: its functions for checkpoints, on the files of mock_cuda_checkpoint. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lock_args {
	unsigned int timeout_ms, reserved;
	uint64_t more[7];
};

static const char *const states[] = { "running", "locked", "checkpointed", "failed" };

static int begun;

static int ask(const char *name, int pid, char *text, size_t size)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (access(path, F_OK))
		return 101;
	snprintf(path, sizeof(path), "%s/%s.%d", getenv("MOCK"), name, pid);
	f = fopen(path, "re");
	if (!f)
		return 101;
	if (!fgets(text, size, f))
		text[0] = 0;
	fclose(f);
	text[strcspn(text, "\n")] = 0;
	return 0;
}

int cuInit(unsigned flags)
{
	begun = !flags;
	return 0;
}

int cuGetErrorName(int err, const char **name)
{
	*name = err == 101 ? "CUDA_ERROR_INVALID_DEVICE" : "CUDA_ERROR_ILLEGAL_STATE";
	return 0;
}

int cuCheckpointProcessGetRestoreThreadId(int pid, int *tid)
{
	char text[32];
	int err = begun ? ask("tid", pid, text, sizeof(text)) : 3;

	if (!err)
		*tid = atoi(text);
	return err;
}

int cuCheckpointProcessGetState(int pid, int *state)
{
	char text[32];
	int err = begun ? ask("state", pid, text, sizeof(text)) : 3;

	for (int i = 0; !err && i < 4; i++)
		if (!strcmp(text, states[i]))
			*state = i;
	return err;
}

/* The script does the rest, and checks it; by itself it would be told nothing. */
static int act(const char *action, int pid, unsigned timeout)
{
	char command[512];

	snprintf(command, sizeof(command), "echo driver >> %s/log; %s --action %s --pid %d %s %u", getenv("MOCK"),
	         getenv("MOCK_SCRIPT"), action, pid, timeout ? "--timeout" : "", timeout);
	if (!timeout)
		*strrchr(command, ' ') = 0;
	return begun && !system(command) ? 0 : 401;
}

int cuCheckpointProcessLock(int pid, struct lock_args *args)
{
	return act("lock", pid, args->timeout_ms);
}

int cuCheckpointProcessCheckpoint(int pid, void *args)
{
	return act("checkpoint", pid, args != NULL);
}

int cuCheckpointProcessRestore(int pid, void *args)
{
	return act("restore", pid, args != NULL);
}

int cuCheckpointProcessUnlock(int pid, void *args)
{
	return act("unlock", pid, args != NULL);
}
