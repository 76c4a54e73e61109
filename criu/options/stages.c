/* SPDX-License-Identifier: GPL-2.0-only */
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "arch/arch_start.h"
#include "options/stages.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "proc/proc.h"

const struct stage_row stages_rows[STAGE_COUNT] = {
	[STAGE_PRE_STREAM] = { "pre-stream", .scripts = true },
	[STAGE_PRE_DUMP] = { "pre-dump", .scripts = true },
	[STAGE_NETWORK_LOCK] = { "network-lock", .scripts = true },
	[STAGE_QUERY_EXT_FILES] = { .name = "query-ext-files" },
	[STAGE_POST_DUMP] = { "post-dump", .scripts = true },
	[STAGE_NETWORK_UNLOCK] = { "network-unlock", .scripts = true, .hears = true },
	[STAGE_PRE_RESTORE] = { "pre-restore", .scripts = true },
	[STAGE_SETUP_NAMESPACES] = { "setup-namespaces", .scripts = true, .tells_pid = true },
	[STAGE_POST_SETUP_NAMESPACES] = { "post-setup-namespaces", .scripts = true },
	[STAGE_ORPHAN_PTS_MASTER] = { .name = "orphan-pts-master" },
	[STAGE_POST_RESTORE] = { "post-restore", .scripts = true, .tells_pid = true },
	[STAGE_PRE_RESUME] = { "pre-resume", .scripts = true, .hears = true },
	[STAGE_POST_RESUME] = { "post-resume", .scripts = true, .late = true, .hears = true },
	[STAGE_STATUS_READY] = { "status-ready", .scripts = true },
};

const char *stages_name(enum stage stage)
{
	return stage < STAGE_COUNT ? stages_rows[stage].name : "?";
}

void stages_init(struct stages *e, const struct options *o)
{
	*e = (struct stages) { .opts = o };
	if (getrlimit(RLIMIT_NOFILE, &e->files))
		e->files = (struct rlimit) { 1024, RLIM_INFINITY };
}

void stages_add(struct stages *e, struct hook *hook)
{
	struct hook **at = &e->hooks;

	while (*at)
		at = &(*at)->next;
	hook->next = NULL;
	*at = hook;
}

/* Our variables, and the environment without them. The strings are the caller's; NULL without memory. */
static char **make_environment(char *const *own, const char *const *prefixes, size_t n)
{
	size_t total = 0, out = 0;
	char **env;

	while (environ[total])
		total++;
	env = calloc(total + n + 1, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < total; i++) {
		bool ours = false;

		for (size_t k = 0; k < n; k++)
			ours |= strncmp(environ[i], prefixes[k], strlen(prefixes[k])) == 0;
		if (!ours)
			env[out++] = environ[i];
	}
	for (size_t k = 0; k < n; k++)
		if (own[k][0])
			env[out++] = own[k];
	return env;
}

struct script_start {
	const char *work_dir, *const *argv;
	char **env;
	int err;
};

/* On the caller's stack, which waits: the work directory, no descriptors but the first three, usual signals. */
static void exec_script(void *arg)
{
	struct script_start *s = arg;
	struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &usual, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* lint: allow: its own process */
	if (!chdir(s->work_dir) && !syscall(SYS_close_range, 3, ~0U, 0))
		execve("/bin/sh", (char *const *)s->argv, s->env);
	s->err = -errno;
	_exit(127);
}

/* Its number is none that the images of a restore name. */
static pid_t clone_script(struct script_start *s)
{
	struct clone_args args = { .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD };
	struct own_pid number = { 0 };
	pid_t pid;

	do {
		own_pids_set(&number, &args);
		pid = (pid_t)arch_clone3(&args, exec_script, s);
	} while (own_pids_again(&number, pid));
	return pid;
}

static int spawn_script(pid_t *pid, const struct options *o, const char *script, char **env)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct script_start s = { .work_dir = o->work_dir, .argv = argv, .env = env };
	sigset_t all, before;

	own_pids_steer(); /* for the script's own children */
	/* No handler of criu's runs in the new process, in criu's memory. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	*pid = clone_script(&s);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (*pid > 0 && s.err)
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	return *pid < 0 ? *pid : s.err;
}

/* A child has the limit that we have at this moment. A hard one that we raised stays: it may be lowered only once. */
static int spawn_limited(pid_t *pid, const struct stages *e, const char *script, char **env)
{
	struct rlimit ours, theirs;
	int err;

	if (getrlimit(RLIMIT_NOFILE, &ours))
		return -errno;
	theirs = (struct rlimit) { MIN(e->files.rlim_cur, ours.rlim_max), ours.rlim_max };
	if (setrlimit(RLIMIT_NOFILE, &theirs))
		return -errno;
	err = spawn_script(pid, e->opts, script, env);
	return setrlimit(RLIMIT_NOFILE, &ours) ? -errno : err;
}

/* It is noted before anything can end criu. */
static int start_script(pid_t *pid, const struct stages *e, const char *script, enum stage stage, char **env)
{
	const struct stages_keeper *k = e->keeper;
	int err, noted = 0;

	if (k)
		k->begin(k->arg);
	err = spawn_limited(pid, e, script, env);
	if (k)
		noted = k->started(k->arg, err ? 0 : *pid);
	if (err)
		log_errno(err, "action script %s (%s): starting it in %s", script, stages_name(stage),
		          e->opts->work_dir);
	if (!err && noted) {
		proc_kill_below(*pid, proc_start_time(*pid), 0);
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
		k->ended(k->arg);
	}
	return err ?: noted;
}

static void hear_child(const struct stages *e, int children)
{
	struct signalfd_siginfo si;

	if (read(children, &si, sizeof(si)) == sizeof(si) && e->root_changed)
		e->root_changed(e->root);
}

/* Whatever comes is left pending: criu ends with the status of what has been done. */
static void wait_or_end_script(const struct stages *e, pid_t pid, const char *script, enum stage stage)
{
	_cleanup_close_ int exited = (int)syscall(SYS_pidfd_open, pid, 0);
	_cleanup_close_ int signals = signalfd(-1, e->ended_by, SFD_CLOEXEC);
	_cleanup_close_ int children = -1;
	struct pollfd p[3] = { { .fd = exited, .events = POLLIN }, { .fd = signals, .events = POLLIN } };
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	p[2] = (struct pollfd) { .fd = children, .events = POLLIN };
	while (exited >= 0 && !p[0].revents && !p[1].revents) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		if (p[2].revents)
			hear_child(e, children);
	}
	if (!p[0].revents && p[1].revents) {
		log_warn("action script %s (%s) is ended by a signal to criu; all else has been done", script,
		         stages_name(stage));
		proc_kill_below(pid, proc_start_time(pid), 0);
	}
}

static int await_script(const struct stages *e, pid_t pid, const char *script, enum stage stage, int *status)
{
	int err = 0;

	if (e->ended_by)
		wait_or_end_script(e, pid, script, stage);
	while (!err && waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			err = log_errno(-errno, "action script %s (%s): waitpid", script, stages_name(stage));
	if (e->keeper)
		e->keeper->ended(e->keeper->arg);
	return err;
}

static int run_script(const struct stages *e, const char *script, enum stage stage, char **env)
{
	int status, err;
	pid_t pid = 0;

	log_debug("running %s for %s", script, stages_name(stage));
	err = start_script(&pid, e, script, stage, env);
	err = err ?: await_script(e, pid, script, stage, &status);
	if (err)
		return err;
	if (WIFSIGNALED(status)) {
		log_errno(0, "action script %s (%s) was killed by signal %d", script, stages_name(stage),
		          WTERMSIG(status));
		return -EPERM;
	}
	if (WEXITSTATUS(status)) {
		log_errno(0, "action script %s (%s) ended with status %d", script, stages_name(stage),
		          WEXITSTATUS(status));
		return -EPERM;
	}
	return 0;
}

static int run_scripts(const struct stages *e, enum stage stage, pid_t root_pid)
{
	static const char *const prefixes[] = { "CRTOOLS_SCRIPT_ACTION=", "CRTOOLS_IMAGE_DIR=", "CRTOOLS_INIT_PID=" };
	char action[64], dir[PATH_MAX + 32], init[48] = "", real[PATH_MAX];
	const struct options *o = e->opts;
	char *own[] = { action, dir, init };
	_cleanup_free_ char **env = NULL;
	int first = 0;

	if (!o->n_action_scripts || !stages_rows[stage].scripts)
		return 0;
	if (!realpath(o->images_dir, real))
		return log_errno(-errno, "realpath of %s", o->images_dir);
	snprintf(action, sizeof(action), "%s%s", prefixes[0], stages_name(stage));
	snprintf(dir, sizeof(dir), "%s%s", prefixes[1], real);
	if (root_pid > 0)
		snprintf(init, sizeof(init), "%s%d", prefixes[2], root_pid);
	env = make_environment(own, prefixes, ARRAY_SIZE(own));
	if (!env)
		return log_errno(-ENOMEM, "out of memory for the environment of action scripts");
	for (size_t i = 0; i < o->n_action_scripts; i++) {
		int err = run_script(e, o->action_scripts[i], stage, env);

		first = first ? first : err;
	}
	return first;
}

int stages_run(struct stages *e, enum stage stage, pid_t root_pid)
{
	int first = 0, err;

	for (struct hook *hook = e->hooks; hook; hook = hook->next) {
		err = hook->run(hook->arg, stage, root_pid);
		first = first ? first : err;
	}
	err = run_scripts(e, stage, root_pid);
	return stages_rows[stage].late ? 0 : first ? first : err;
}
