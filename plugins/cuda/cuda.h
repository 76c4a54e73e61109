/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes with state on NVIDIA's GPUs. The driver can bring that state into the process's memory and back; what asks
 * it to is libcuda (cuCheckpointProcess*), or the program cuda-checkpoint where libcuda is too old or absent.
 */
#ifndef CUDA_PLUGIN_CUDA_H
#define CUDA_PLUGIN_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The driver's numbers, CUprocessState. */
enum gpu_state { GPU_RUNNING = 0, GPU_LOCKED = 1, GPU_CHECKPOINTED = 2, GPU_FAILED = 3 };

enum gpu_action { ACTION_LOCK, ACTION_CHECKPOINT, ACTION_RESTORE, ACTION_UNLOCK };

#define GPU_TEXT_SIZE 240

/* One process; in memory that all forks of criu share. */
struct gpu {
	pid_t pid;
	bool is_gpu;           /* it has state on a GPU */
	pid_t restore_tid;     /* its thread that has to run while the driver works on it */
	enum gpu_state before; /* when it was first seen */
	bool asked;            /* it has been looked at */
	bool saved;            /* the driver was asked to checkpoint it */
	bool resumed;          /* it is as it was before */
	bool masked;           /* all signals are blocked in restore_tid, instead of `mask` */
	uint64_t mask;
	/* Of the last job. */
	bool done;
	int err;
	char text[GPU_TEXT_SIZE]; /* what was said of an error */
};

/*
 * How to ask. Functions return 0 or a negative errno, with *text (GPU_TEXT_SIZE) filled; they may block, limited by
 * limit_ms.
 */
struct cuda_way {
	const char *name;
	int (*restore_tid)(pid_t pid, pid_t *tid, char *text);
	int (*state)(pid_t pid, enum gpu_state *state, char *text);
	int (*act)(pid_t pid, enum gpu_action action, unsigned limit_ms, char *text);
};

/* ---- cuda_driver.c ---- */

/* libcuda.so.1, where it has the functions. Loads it into this process: only for helpers. NULL: not there. */
const struct cuda_way *cuda_driver(void);

/* ---- cuda_binary.c ---- */

extern const struct cuda_way cuda_binary;

/* Whether the program is there and has what is needed: 0, -ENOENT, or -ENOTSUP: too old. */
int cuda_binary_check(void);

/* ---- cuda_jobs.c ---- */

/* All processes that are known, in shared memory. */
struct gpus {
	pid_t helper; /* that works on them; 0: none */
	bool driver;  /* libcuda is asked, not the program */
	bool dies;    /* a helper ends with criu: a restore, whose processes end then too */
	uint32_t n, room;
	struct gpu v[];
};

/* What a helper does to one process. */
typedef int (*gpu_job)(const struct cuda_way *way, struct gpu *g);

/* NULL with errno set. */
struct gpus *gpus_new(uint32_t room);
void gpus_free(struct gpus *all);

/* One that is known, or a new one; NULL: there is no room. */
struct gpu *gpus_find(struct gpus *all, pid_t pid);
struct gpu *gpus_add(struct gpus *all, pid_t pid);

/* Whether the driver can be asked here, and which way: a helper has a look. 0, or as cuda_binary_check(). */
int gpus_probe(struct gpus *all);

/*
 * Runs a job for every process that wants it, all at the same time, in one helper process, and waits for it, limit_ms
 * at most. Each has `done` and `err` then; the first error is returned.
 */
int gpus_run(struct gpus *all, gpu_job job, bool (*wants)(const struct gpu *g), unsigned limit_ms);

/* A helper that a criu which has died left behind comes to its end, limit_ms at most. */
void gpus_await_helper(struct gpus *all, unsigned limit_ms);

/* ---- cuda_thread.c ---- */

/*
 * The thread that has to run: resumes it with all signals blocked, if this process traces it, and stops it again. 0 or
 * a negative errno.
 */
int cuda_thread_run(struct gpu *g);
int cuda_thread_stop(struct gpu *g, unsigned limit_ms);

/* The signal mask of a thread that a criu which has died let run. */
void cuda_thread_unmask(struct gpu *g);

#endif
