/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Checkpoints of programs that use NVIDIA's GPUs, as a plugin of criu's. Before the tree is frozen, the driver is asked
 * to lock each process's use of the GPU (calls into CUDA wait from then on); when it is frozen, to bring all that is on
 * the GPU into the process's memory, which criu saves like any other. A restore has it brought back, and unlocked; so
 * has a dump that fails or lets the tree run on. All processes at the same time, whichever criu asks for first.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "criu/criu-plugin.h"
#define LOG_PREFIX "cuda_plugin: "
#include "criu/criu-log.h"

#include "cuda.h"

#define NAME            "cuda_plugin" /* as CRIU's: it stands in inventory.img */
#define ROOM            65536
#define TIMEOUT_DEFAULT 10 /* s */
#define SLOW            10 /* moving a GPU's memory may take so many times as long */
#define STOP_MS         5000
#define TRIES           50

static struct gpus *all; /* lint: global: hooks have no context */
static int stage;        /* lint: global: the same */

static unsigned timeout_ms(void)
{
	unsigned s = criu_get_timeout ? criu_get_timeout() : 0;

	return (s ? s : TIMEOUT_DEFAULT) * 1000;
}

/* Of a whole batch, of which each thread of the helper has its share. */
static unsigned batch_ms(unsigned each_ms)
{
	return each_ms * (1 + all->n / 64) + 5000;
}

static void log_failed(void)
{
	for (uint32_t i = 0; i < all->n; i++)
		if (all->v[i].err)
			pr_err("pid %d: %s\n", all->v[i].pid, all->v[i].text);
}

/* ---- the tree ---- */

static void add_children_of(pid_t pid, const char *tid)
{
	char path[64];
	FILE *f;
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fscanf(f, "%d", &child) == 1)
		gpus_add(all, child);
	fclose(f);
}

static void add_children(pid_t pid)
{
	const struct dirent *e;
	char path[32];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			add_children_of(pid, e->d_name);
	if (d)
		closedir(d);
}

/* The list grows while it is read. */
static void add_with_children(pid_t pid)
{
	uint32_t i = all->n;

	if (gpus_find(all, pid) || !gpus_add(all, pid))
		return;
	for (; i < all->n; i++)
		add_children(all->v[i].pid);
}

/* ---- jobs, in the helper ---- */

/* What is no process with state on a GPU has no such thread, which is said as an error. */
static int look_job(const struct cuda_way *way, struct gpu *g)
{
	int err = way->restore_tid(g->pid, &g->restore_tid, g->text);

	if (err == -EIO) {
		g->text[0] = 0;
		return 0;
	}
	if (!err)
		err = way->state(g->pid, &g->before, g->text);
	if (err)
		return err;
	if (g->before == GPU_FAILED) {
		snprintf(g->text, GPU_TEXT_SIZE, "the driver says that its state on the GPU is 'failed'");
		return -EIO;
	}
	g->is_gpu = true;
	return 0;
}

static int pause_job(const struct cuda_way *way, struct gpu *g)
{
	int err = look_job(way, g);

	return err || !g->is_gpu || g->before != GPU_RUNNING ? err
	                                                     : way->act(g->pid, ACTION_LOCK, timeout_ms(), g->text);
}

static int checkpoint_job(const struct cuda_way *way, struct gpu *g)
{
	return way->act(g->pid, ACTION_CHECKPOINT, timeout_ms() * SLOW, g->text);
}

/* An earlier helper may have been ended in the middle of something. */
static int settled_state(const struct cuda_way *way, struct gpu *g, enum gpu_state *state)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	int err = -EAGAIN;

	for (int i = 0; i < TRIES && err; i++) {
		if (i)
			nanosleep(&pause, NULL);
		err = way->state(g->pid, state, g->text);
	}
	return err;
}

static int resume_job(const struct cuda_way *way, struct gpu *g)
{
	enum gpu_state now;
	int err = settled_state(way, g, &now);

	if (!err && now == GPU_FAILED) {
		snprintf(g->text, GPU_TEXT_SIZE, "the driver says that its state on the GPU is 'failed': it is lost");
		return -EIO;
	}
	if (!err && now == GPU_CHECKPOINTED && g->before != GPU_CHECKPOINTED) {
		err = way->act(g->pid, ACTION_RESTORE, timeout_ms() * SLOW, g->text);
		now = GPU_LOCKED;
	}
	if (!err && now == GPU_LOCKED && g->before == GPU_RUNNING)
		err = way->act(g->pid, ACTION_UNLOCK, timeout_ms() * SLOW, g->text);
	return err;
}

/* ---- in criu ---- */

static bool is_new(const struct gpu *g)
{
	return !g->asked;
}

static bool is_to_save(const struct gpu *g)
{
	return g->is_gpu && !g->saved && g->before != GPU_CHECKPOINTED;
}

static bool is_to_resume(const struct gpu *g)
{
	return g->is_gpu && !g->resumed;
}

static int ask_new(gpu_job job)
{
	int err = gpus_run(all, job, is_new, batch_ms(timeout_ms() + 40000));

	for (uint32_t i = 0; i < all->n; i++)
		all->v[i].asked = true;
	return err;
}

/* The threads that the driver works in run while it does. A job's own error counts more than that of a thread. */
static int run_with_threads(gpu_job job, bool (*wants)(const struct gpu *g))
{
	int err = 0, part;

	for (uint32_t i = 0; i < all->n && !err; i++)
		if (wants(&all->v[i])) {
			err = cuda_thread_run(&all->v[i]);
			if (err)
				pr_err("pid %d: letting its thread %d run for the driver: %s\n", all->v[i].pid,
				       all->v[i].restore_tid, strerror(-err));
		}
	if (!err)
		err = gpus_run(all, job, wants, batch_ms(timeout_ms() * SLOW * 2));
	for (uint32_t i = 0; i < all->n; i++) {
		part = cuda_thread_stop(&all->v[i], STOP_MS);
		if (part)
			pr_err("pid %d: stopping its thread %d again: %s\n", all->v[i].pid, all->v[i].restore_tid,
			       strerror(-part));
		err = err ? err : part;
	}
	log_failed();
	return err;
}

static int pause_devices(int pid)
{
	const struct gpu *g;

	if (!all)
		return -ENOTSUP;
	add_with_children(pid);
	g = gpus_find(all, pid);
	if (!g)
		return -ENOSPC;
	if (!g->asked && ask_new(pause_job))
		log_failed();
	if (g->err)
		return g->err;
	return g->is_gpu ? 0 : -ENOTSUP;
}

static int checkpoint_devices(int pid)
{
	const struct gpu *g = all ? gpus_find(all, pid) : NULL;
	int err;

	if (!g || !g->is_gpu)
		return -ENOTSUP;
	if (add_inventory_plugin(NAME))
		return -ENOMEM;
	if (!is_to_save(g))
		return 0;
	err = run_with_threads(checkpoint_job, is_to_save);
	for (uint32_t i = 0; i < all->n; i++)
		all->v[i].saved |= all->v[i].is_gpu;
	return err;
}

static int resume_all(void)
{
	int err;

	gpus_await_helper(all, batch_ms(timeout_ms() * SLOW));
	for (uint32_t i = 0; i < all->n; i++)
		cuda_thread_unmask(&all->v[i]);
	err = run_with_threads(resume_job, is_to_resume);
	for (uint32_t i = 0; i < all->n; i++)
		all->v[i].resumed |= all->v[i].is_gpu && !all->v[i].err;
	return err;
}

/* A restore knows no process yet. Whatever it was when it was dumped, it is to run. */
static int find_restored(int pid)
{
	int err;

	add_with_children(pid);
	if (!gpus_find(all, pid) || gpus_find(all, pid)->asked)
		return 0;
	err = ask_new(look_job);
	log_failed();
	for (uint32_t i = 0; i < all->n; i++)
		all->v[i].before = GPU_RUNNING;
	return err;
}

static int resume_devices_late(int pid)
{
	const struct gpu *g;
	int err = 0;

	if (!all)
		return -ENOTSUP;
	if (stage == CR_PLUGIN_STAGE__RESTORE)
		err = find_restored(pid);
	g = gpus_find(all, pid);
	if (!g || (!err && !g->is_gpu))
		return -ENOTSUP;
	if (err || g->resumed)
		return err;
	return resume_all();
}

/* ---- its life ---- */

static int cuda_init(int why)
{
	int err;

	stage = why;
	if (stage == CR_PLUGIN_STAGE__RESTORE && !check_and_remove_inventory_plugin(NAME, strlen(NAME)))
		return 0;
	all = gpus_new(ROOM);
	if (!all)
		return -errno;
	all->dies = stage == CR_PLUGIN_STAGE__RESTORE;
	err = gpus_probe(all);
	if (!err) {
		pr_debug("asks %s\n", all->driver ? "libcuda" : "cuda-checkpoint");
		return 0;
	}
	gpus_free(all);
	all = NULL;
	if (stage == CR_PLUGIN_STAGE__RESTORE) {
		pr_err("the checkpoint has state of GPUs, and neither libcuda.so.1 with cuCheckpointProcessRestore "
		       "(CUDA 12.8) nor a program cuda-checkpoint that knows --action is here: %s\n",
		       strerror(-err));
		return err == -ENOTSUP ? -ENOENT : err;
	}
	if (err == -ENOENT)
		pr_info("not used: neither libcuda.so.1 with cuCheckpointProcessLock nor cuda-checkpoint is here\n");
	else
		pr_warn("not used: cuda-checkpoint is too old, or does not answer: its help lacks --action\n");
	return 0;
}

/* criu itself has had them resumed; CRIU has not. */
static void cuda_exit(int why, int ret)
{
	if (all && why != CR_PLUGIN_STAGE__RESTORE && ret)
		resume_all();
	gpus_free(all);
	all = NULL;
}

CR_PLUGIN_REGISTER(NAME, cuda_init, cuda_exit)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PAUSE_DEVICES, pause_devices)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__CHECKPOINT_DEVICES, checkpoint_devices)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESUME_DEVICES_LATE, resume_devices_late)
