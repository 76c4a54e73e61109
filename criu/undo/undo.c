/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "undo/undo.h"

/* Virtual: pages come as entries do. Entries grow from the front, strings from the end. */
#define LOG_SIZE (64UL << 20)

/* type is written last and says whether the rest is valid. */
struct entry {
	uint32_t type;
	uint32_t while_stopped, killed;
	int32_t fd, pid;
	uint64_t start_time, addr, size;
	undo_fn call;
	uint32_t path, text, data; /* offsets into the log; 0: none */
	uint32_t data_len;
	uint32_t strings; /* where the strings began before this entry */
};

/* What has been decided, once and for all. */
enum decision { UNDECIDED, COMMITTED, INTERRUPTED };

struct undo_log {
	uint32_t watched, holds, decision, ended;
	uint32_t stands;
	uint32_t holder; /* a tid */
	pid_t owner;     /* criu */
	uint32_t n;
	uint32_t strings; /* where they begin */
	struct entry entries[];
};

/* ---- writing ---- */

struct undo_log *undo_log_new(void)
{
	struct undo_log *log =
	    mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (log == MAP_FAILED)
		return NULL;
	log->strings = LOG_SIZE;
	log->owner = getpid();
	return log;
}

void undo_log_free(struct undo_log *log)
{
	munmap(log, LOG_SIZE);
}

static size_t size_of(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

static uint32_t append_bytes(struct undo_log *log, const void *s, size_t len)
{
	if (!s)
		return 0;
	log->strings -= (uint32_t)len;
	memcpy((char *)log + log->strings, s, len);
	return log->strings;
}

int undo_log_add(struct undo_log *log, const struct undo *u)
{
	size_t strings = size_of(u->path) + size_of(u->text) + u->data_len;
	struct entry *e = &log->entries[log->n];

	if ((char *)(e + 1) - (char *)log + strings > log->strings)
		return -ENOSPC;
	*e = (struct entry) { .type = UNDO_NONE, .fd = u->fd, .pid = u->pid, .start_time = u->start_time };
	e->while_stopped = u->while_stopped;
	e->addr = u->addr;
	e->size = u->size;
	e->strings = log->strings;
	e->call = u->call;
	e->path = append_bytes(log, u->path, size_of(u->path));
	e->text = append_bytes(log, u->text, size_of(u->text));
	e->data = append_bytes(log, u->data, u->data_len);
	e->data_len = (uint32_t)u->data_len;
	__atomic_store_n(&e->type, u->type, __ATOMIC_RELEASE);
	__atomic_store_n(&log->n, log->n + 1, __ATOMIC_RELEASE);
	return (int)log->n - 1;
}

void undo_log_forget(struct undo_log *log, int number)
{
	if (number < 0 || (uint32_t)number >= log->n)
		return;
	__atomic_store_n(&log->entries[number].type, UNDO_NONE, __ATOMIC_RELEASE);
	while (log->n && log->entries[log->n - 1].type == UNDO_NONE) {
		uint32_t strings = log->entries[log->n - 1].strings;

		__atomic_store_n(&log->n, log->n - 1, __ATOMIC_RELEASE);
		log->strings = strings;
	}
}

static void set_word(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void await_word(const uint32_t *word)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	syscall(SYS_futex, word, FUTEX_WAIT, 0, &moment, NULL, 0);
}

void undo_log_watch(struct undo_log *log, bool holds)
{
	log->holds = holds;
	set_word(&log->watched, 1);
}

void undo_log_await_watch(const struct undo_log *log)
{
	await_word(&log->watched);
}

bool undo_log_is_watched(const struct undo_log *log)
{
	return __atomic_load_n(&log->watched, __ATOMIC_ACQUIRE);
}

bool undo_log_holds(const struct undo_log *log)
{
	return undo_log_is_watched(log) && log->holds;
}

static bool decide_once(struct undo_log *log, uint32_t decision)
{
	uint32_t now = UNDECIDED;

	return __atomic_compare_exchange_n(&log->decision, &now, decision, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ||
	       now == decision;
}

bool undo_log_commit(struct undo_log *log)
{
	return decide_once(log, COMMITTED);
}

bool undo_log_interrupt(struct undo_log *log)
{
	return decide_once(log, INTERRUPTED);
}

bool undo_log_is_committed(const struct undo_log *log)
{
	return __atomic_load_n(&log->decision, __ATOMIC_SEQ_CST) == COMMITTED;
}

void undo_log_set_holder(struct undo_log *log, pid_t tid)
{
	set_word(&log->holder, (uint32_t)tid);
}

void undo_log_await_holder(const struct undo_log *log)
{
	await_word(&log->holder);
}

pid_t undo_log_holder(const struct undo_log *log)
{
	return (pid_t)__atomic_load_n(&log->holder, __ATOMIC_ACQUIRE);
}

void undo_log_stand(struct undo_log *log)
{
	__atomic_store_n(&log->stands, 1, __ATOMIC_RELEASE);
}

bool undo_log_stands(const struct undo_log *log)
{
	return __atomic_load_n(&log->stands, __ATOMIC_ACQUIRE);
}

void undo_log_end(struct undo_log *log)
{
	__atomic_store_n(&log->ended, 1, __ATOMIC_SEQ_CST);
}

/* ---- carrying out ---- */

static const char *string_at(const struct undo_log *log, uint32_t at)
{
	return at ? (const char *)log + at : "";
}

static int write_text(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

static bool is_freezing(const char *path)
{
	_cleanup_free_ char *now = NULL;

	return proc_read(AT_FDCWD, path, &now, NULL) == 0 && strncmp(now, "FREEZING", 8) == 0;
}

/*
 * A v1 freezer may have to be told again: it looks at each task once, which may be on its way out of a stop just then.
 * Not if it is no longer freezing: others may have a say in it by now.
 */
static int set_freezer(const char *path, const char *text)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int err = write_text(path, text);

	for (int i = 0; !err && i < 500 && is_freezing(path); i++) {
		nanosleep(&pause, NULL);
		if (is_freezing(path))
			err = write_text(path, text);
	}
	return err;
}

static int remove_file(int dir, const char *path)
{
	return unlinkat(dir, path, 0) ? -errno : 0;
}

/* A process by pidfd first: what is compared is what gets the signal. */
static int signal_same(pid_t pid, uint64_t start_time, int sig)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return -errno;
	if (proc_start_time(pid) != start_time)
		return 0;
	return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) ? -errno : 0;
}

/* Has it waited for by undo_log_await_killed(), too. */
static void kill_child(struct undo_log *log, pid_t child)
{
	const struct undo u = { .type = UNDO_NONE, .fd = -1, .pid = child, .start_time = proc_start_time(child) };
	int number = proc_alive(child) && !kill(child, SIGKILL) ? undo_log_add(log, &u) : -1;

	if (number >= 0)
		log->entries[number].killed = 1;
}

/*
 * A task with the children that it has made and that are not noted: criu ended before it could. Stopped, a task makes
 * no more of them.
 */
static int kill_task(struct undo_log *log, const struct entry *e)
{
	struct arena *a;
	pid_t *children = NULL;
	size_t n = 0;

	a = arena_new();
	if (a && !signal_same(e->pid, e->start_time, SIGSTOP))
		proc_add_children(a, e->pid, &children, &n);
	if (proc_start_time(e->pid) != e->start_time) /* they would be another process's */
		n = 0;
	for (size_t i = 0; i < n; i++)
		kill_child(log, children[i]);
	arena_free(a);
	return signal_same(e->pid, e->start_time, SIGKILL);
}

/* The guardian is a fork of criu: what was a function there is one here. */
static int run_call(const struct undo_log *log, const struct entry *e)
{
	struct undo u = {
		.type = UNDO_CALL,
		.fd = e->fd,
		.pid = e->pid,
		.start_time = e->start_time,
		.addr = e->addr,
		.size = e->size,
		.path = string_at(log, e->path),
		.text = string_at(log, e->text),
		.data = e->data ? (const char *)log + e->data : NULL,
		.data_len = e->data_len,
	};

	if (e->pid && proc_start_time(e->pid) != e->start_time)
		return 0; /* the task is gone, its pid belongs to another process */
	return e->call(&u);
}

static int run_entry(struct undo_log *log, const struct entry *e)
{
	const char *path = string_at(log, e->path), *text = string_at(log, e->text);

	switch ((enum undo_type)e->type) {
	case UNDO_NONE:
		return 0;
	case UNDO_UNLINK:
		return remove_file(e->fd, path);
	case UNDO_CGROUP_THAW:
		return set_freezer(path, text);
	case UNDO_CALL:
	case FORWARD_CALL:
		return run_call(log, e);
	case UNDO_KILL:
		return kill_task(log, e);
	case FORWARD_KILL:
		return signal_same(e->pid, e->start_time, SIGKILL);
	case UNDO_KILL_BELOW:
		return proc_kill_below(e->pid, e->start_time, log->owner == getppid() ? log->owner : 0);
	}
	return -EINVAL;
}

static bool is_forward(const struct entry *e)
{
	return e->type == FORWARD_KILL || e->type == FORWARD_CALL;
}

/* What is gone already needs no undoing: the change may not have been made when criu was killed. */
static bool is_gone(int err)
{
	return err == -ENOENT || err == -ESRCH || err == -EIDRM;
}

void undo_log_run(struct undo_log *log, bool stopped)
{
	bool committed = undo_log_is_committed(log);

	if (__atomic_load_n(&log->ended, __ATOMIC_SEQ_CST))
		return;
	for (uint32_t i = log->n; i-- > 0;) {
		struct entry *e = &log->entries[i];
		int err;

		if (e->type == UNDO_NONE || is_forward(e) != committed || (stopped && !e->while_stopped))
			continue;
		err = run_entry(log, e);
		if (err && !is_gone(err))
			log_errno(err, "%s: entry %u, type %u, pid %d, %s", committed ? "finishing" : "taking back", i,
			          e->type, e->pid, string_at(log, e->path));
		e->killed = !err && (e->type == UNDO_KILL || e->type == FORWARD_KILL);
		__atomic_store_n(&e->type, UNDO_NONE, __ATOMIC_RELEASE);
	}
}

#define EXITS_WITHIN_MS 500 /* a large memory takes time to go; a task in an uninterruptible wait never does */

void undo_log_await_killed(const struct undo_log *log)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int left_ms = EXITS_WITHIN_MS;

	for (uint32_t i = 0; i < log->n; i++) {
		const struct entry *e = &log->entries[i];

		for (; e->killed && left_ms > 0 && proc_alive(e->pid) && proc_start_time(e->pid) == e->start_time;
		     left_ms--)
			nanosleep(&pause, NULL);
	}
}
