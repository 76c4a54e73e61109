/* SPDX-License-Identifier: GPL-2.0-only */
/* The driver's own functions, in libcuda since CUDA 12.8. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#include "cuda.h"

/* cuda.h of CUDA, as far as it is needed: 64 bytes each, what is not named is 0. */
struct lock_args {
	unsigned int timeout_ms, reserved;
	uint64_t more[7];
};

static struct {
	int (*init)(unsigned flags);
	int (*restore_tid)(int pid, int *tid);
	int (*state)(int pid, int *state);
	int (*lock)(int pid, struct lock_args *args);
	int (*checkpoint)(int pid, void *args);
	int (*restore)(int pid, void *args);
	int (*unlock)(int pid, void *args);
	int (*error_name)(int err, const char **name);
} cu; /* lint: global: of a helper, which ends when its work is done */

static int say(int result, const char *call, char *text)
{
	const char *name = NULL;

	if (!result)
		return 0;
	if (!cu.error_name || cu.error_name(result, &name) || !name)
		name = "unknown";
	snprintf(text, GPU_TEXT_SIZE, "%s: error %d (%s)", call, result, name);
	return -EIO;
}

static int driver_restore_tid(pid_t pid, pid_t *tid, char *text)
{
	return say(cu.restore_tid(pid, tid), "cuCheckpointProcessGetRestoreThreadId", text);
}

static int driver_state(pid_t pid, enum gpu_state *state, char *text)
{
	int number = GPU_FAILED, err = say(cu.state(pid, &number), "cuCheckpointProcessGetState", text);

	*state = number;
	return err;
}

static int driver_act(pid_t pid, enum gpu_action action, unsigned limit_ms, char *text)
{
	struct lock_args args = { .timeout_ms = limit_ms };

	switch (action) {
	case ACTION_LOCK:
		return say(cu.lock(pid, &args), "cuCheckpointProcessLock", text);
	case ACTION_CHECKPOINT:
		return say(cu.checkpoint(pid, NULL), "cuCheckpointProcessCheckpoint", text);
	case ACTION_RESTORE:
		return say(cu.restore(pid, NULL), "cuCheckpointProcessRestore", text);
	case ACTION_UNLOCK:
		return say(cu.unlock(pid, NULL), "cuCheckpointProcessUnlock", text);
	}
	return -EINVAL;
}

static const struct cuda_way way = {
	.name = "libcuda", .restore_tid = driver_restore_tid, .state = driver_state, .act = driver_act
};

const struct cuda_way *cuda_driver(void)
{
	static const struct {
		const char *name;
		void *place;
	} functions[] = {
		{ "cuInit", &cu.init },
		{ "cuCheckpointProcessGetRestoreThreadId", &cu.restore_tid },
		{ "cuCheckpointProcessGetState", &cu.state },
		{ "cuCheckpointProcessLock", &cu.lock },
		{ "cuCheckpointProcessCheckpoint", &cu.checkpoint },
		{ "cuCheckpointProcessRestore", &cu.restore },
		{ "cuCheckpointProcessUnlock", &cu.unlock },
	};
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return NULL;
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
		void *f = dlsym(lib, functions[i].name);

		if (!f)
			return NULL;
		*(void **)functions[i].place = f;
	}
	*(void **)&cu.error_name = dlsym(lib, "cuGetErrorName");
	return cu.init(0) ? NULL : &way;
}
