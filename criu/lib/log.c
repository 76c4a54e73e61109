/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Log lines. No locks: threads and the guardian, which is a fork, write at any time. A line is one write(2), the first
 * error is claimed by an atomic exchange and published by a release store.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"

/* The state: the only global of criu that functions write. Descriptors are -1 where standard error stands in. */
/* Room for what comes behind a text: the errno, the name of an image, newline. */
#define MORE 180

static struct {
	int fd;
	enum log_level level;
	bool copies; /* errors and warnings, which tell of a loss, go to standard error as well */
	struct timespec started;
	int task_dir;
	const char *task_base;
	atomic_uint refusals;
	atomic_bool refusals_warn;
	atomic_uint warned; /* refusals that were warnings */
	atomic_bool name_images;
	atomic_bool first_taken;
	atomic_int first_errno;
	atomic_bool first_said;
	char first_text[sizeof(((struct log_tally *)0)->first_text)];
	/* Lines of before log_init(), each behind a byte with its level. */
	bool begun;
	bool quiet; /* standard error is nobody's */
	char early[8192];
	size_t early_len;
} state = { .fd = -1, .level = LOG_WARN, .task_dir = -1 };

/* The file of the task that this thread works on, with --log-pid. */
static __thread int task_fd = -1;

/* What log_about() said. */
static __thread struct log_work about;

static bool is_same_log(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static void count_anew(void)
{
	atomic_store(&state.refusals, 0);
	atomic_store(&state.first_said, false);
	atomic_store(&state.first_errno, 0);
	atomic_store(&state.first_taken, false);
}

static void keep_early(enum log_level level, const char *line, size_t len)
{
	if (state.early_len + len + 1 > sizeof(state.early))
		return;
	state.early[state.early_len++] = (char)level;
	memcpy(state.early + state.early_len, line, len);
	state.early_len += len;
}

/* Warnings and errors have been on standard error already. */
static void write_early(void)
{
	for (size_t at = 0, len; at < state.early_len; at += len + 1) {
		enum log_level level = (enum log_level)state.early[at];
		const char *line = state.early + at + 1;

		len = (size_t)((const char *)memchr(line, '\n', state.early_len - at - 1) - line) + 1;
		if (level <= state.level && (state.fd >= 0 || level > LOG_WARN || state.quiet))
			io_write_all(state.fd >= 0 ? state.fd : STDERR_FILENO, line, len);
	}
	state.early_len = 0;
}

int log_init(int fd, enum log_level level)
{
	int copy = -1;

	if (fd >= 0) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return log_errno(-errno, "dup of the log's descriptor");
	}
	if (state.fd >= 0)
		close(state.fd);
	state.fd = copy;
	state.level = level;
	state.copies = copy >= 0 && !state.quiet && !is_same_log(copy, STDERR_FILENO);
	clock_gettime(CLOCK_MONOTONIC, &state.started);
	count_anew();
	state.begun = true;
	write_early();
	return 0;
}

void log_hold(void)
{
	if (state.fd >= 0)
		close(state.fd);
	state.fd = -1;
	state.begun = state.copies = false;
	state.quiet = true;
	state.level = LOG_WARN;
	count_anew();
}

int log_per_task(int dir_fd, const char *name)
{
	int copy = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return log_errno(-errno, "dup of the log directory's descriptor");
	if (state.task_dir >= 0)
		close(state.task_dir);
	state.task_dir = copy;
	state.task_base = name;
	return 0;
}

int log_task(pid_t pid)
{
	char name[PATH_MAX];

	if (task_fd >= 0)
		close(task_fd);
	task_fd = -1;
	if (state.task_dir < 0 || pid <= 0)
		return 0;
	if ((size_t)snprintf(name, sizeof(name), "%s.%d", state.task_base, pid) >= sizeof(name))
		return log_errno(-ENAMETOOLONG, "the log file of task %d", pid);
	task_fd = openat(state.task_dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (task_fd < 0)
		return log_errno(-errno, "open of the log file %s", name);
	return 0;
}

bool log_enabled(enum log_level level)
{
	return level <= state.level;
}

int log_first_errno(void)
{
	return atomic_load(&state.first_errno);
}

const char *log_first_text(void)
{
	return atomic_load(&state.first_said) ? state.first_text : "";
}

unsigned log_refusals_warn(bool on)
{
	atomic_store(&state.refusals_warn, on);
	return atomic_load(&state.warned);
}

unsigned log_refusals(void)
{
	return atomic_load(&state.refusals);
}

/* Where a line was written: the path without the top folder, which is the same for all. */
static const char *short_path(const char *file)
{
	return strncmp(file, "criu/", 5) == 0 ? file + 5 : file;
}

static size_t put_prefix(char *buf, size_t size, enum log_level level, const char *file, int line)
{
	size_t n = 0;

	buf[0] = '\0';
	if (level == LOG_MSG)
		return 0;
	if (state.level >= LOG_INFO) {
		struct timespec now;
		long sec, nsec;

		clock_gettime(CLOCK_MONOTONIC, &now);
		sec = now.tv_sec - state.started.tv_sec;
		nsec = now.tv_nsec - state.started.tv_nsec;
		if (nsec < 0) {
			sec--;
			nsec += 1000000000L;
		}
		n = (size_t)snprintf(buf, size, "(%02ld.%06ld) ", sec, nsec / 1000);
	}
	if (level == LOG_ERROR || level == LOG_WARN)
		n += (size_t)snprintf(buf + n, size - n, "%s (%s:%d): ", level == LOG_ERROR ? "Error" : "Warn ",
		                      short_path(file), line);
	return MIN(n, size - 1);
}

/* Names in a line are foreign: a newline in one must not look like a line of ours, nor an escape reach a terminal. */
static void blank_controls(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static void write_line(enum log_level level, const char *line, size_t len)
{
	if (level == LOG_MSG && !state.quiet) {
		io_write_all(STDOUT_FILENO, line, len);
		return;
	}
	if (task_fd >= 0)
		io_write_all(task_fd, line, len);
	else
		io_write_all(state.fd >= 0 ? state.fd : STDERR_FILENO, line, len);
	if (level <= LOG_WARN && (state.copies || (task_fd >= 0 && state.fd < 0)))
		io_write_all(STDERR_FILENO, line, len);
}

static void keep_first(int err, const char *text)
{
	if (atomic_exchange(&state.first_taken, true))
		return;
	snprintf(state.first_text, sizeof(state.first_text), "%s", text);
	atomic_store(&state.first_errno, err ? err : -EINVAL);
	atomic_store(&state.first_said, true);
}

void log_tally_take(struct log_tally *t)
{
	t->refusals = log_refusals();
	t->first_errno = log_first_errno();
	snprintf(t->first_text, sizeof(t->first_text), "%s", log_first_text());
	count_anew();
}

void log_tally_add(const struct log_tally *t)
{
	atomic_fetch_add(&state.refusals, t->refusals);
	if (t->first_errno)
		keep_first(t->first_errno, t->first_text);
}

size_t log_descriptors(int fds[LOG_DESCRIPTORS])
{
	const int all[LOG_DESCRIPTORS] = { state.fd, state.task_dir, task_fd };
	size_t n = 0;

	for (size_t i = 0; i < LOG_DESCRIPTORS; i++)
		if (all[i] >= 0)
			fds[n++] = all[i];
	return n;
}

static size_t put_errno(char *buf, size_t size, int err)
{
	const char *why = strerrordesc_np(-err);
	int n = why ? snprintf(buf, size, ": %s", why) : snprintf(buf, size, ": error %d", err);

	return MIN((size_t)n, size - 1);
}

void log_name_images(void)
{
	atomic_store(&state.name_images, true);
}

void log_about(const char *pattern, unsigned long number)
{
	about.pattern = pattern;
	about.number = number;
}

struct log_work log_work_get(void)
{
	return about;
}

void log_work_set(const struct log_work *w)
{
	about = *w;
}

const char *log_about_too(const char *name)
{
	const char *before = about.too;

	about.too = name;
	return before;
}

/* The images that the text is about, if the text does not name it. At most size bytes are written. */
static size_t put_about(char *buf, size_t size, const char *text)
{
	char name[64] = "";

	if ((!about.pattern && !about.too) || !atomic_load(&state.name_images))
		return 0;
	if (about.pattern)
		snprintf(name, sizeof(name), about.pattern, about.number);
	if (about.too && about.pattern)
		return (size_t)snprintf(buf, size, " (see %s, or %s)", name, about.too);
	if (about.too)
		snprintf(name, sizeof(name), "%s", about.too);
	return strstr(text, name) ? 0 : (size_t)snprintf(buf, size, " (see %s)", name);
}

/* Prefix, text, the text of err where there is one, newline: in one buffer, on the heap only when it is long. */
static void write_message(enum log_level level, int err, const char *file, int line, const char *fmt, va_list ap)
{
	char stack[2048];
	_cleanup_free_ char *heap = NULL;
	char *buf = stack;
	size_t room = sizeof(stack), start, need;
	va_list again;
	int len;

	va_copy(again, ap);
	start = put_prefix(buf, room, level, file, line);
	len = vsnprintf(buf + start, room - start, fmt, ap);
	need = start + (size_t)MAX(len, 0) + MORE;
	if (need > room) {
		heap = malloc(need);
		if (heap) {
			memcpy(heap, stack, start);
			buf = heap;
			room = need;
			vsnprintf(buf + start, room - start, fmt, again);
		}
	}
	va_end(again);
	need = strnlen(buf, room - MORE);
	if (err)
		need += put_errno(buf + need, 79, err);
	if (level == LOG_ERROR)
		need += put_about(buf + need, 99, buf + start);
	buf[need] = '\0';
	blank_controls(buf + start);
	if (level == LOG_ERROR)
		keep_first(err, buf + start);
	buf[need++] = '\n';
	if (!state.begun && level != LOG_MSG)
		keep_early(level, buf, need);
	if (log_enabled(level) && (state.begun || !state.quiet))
		write_line(level, buf, need);
}

void log_line(enum log_level level, const char *file, int line, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (!log_enabled(level) && level != LOG_ERROR && (state.begun || level > LOG_INFO))
		return;
	va_start(ap, fmt);
	write_message(level, 0, file, line, fmt, ap);
	va_end(ap);
	errno = saved;
}

int log_error_line(int err, const char *file, int line, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	write_message(LOG_ERROR, err, file, line, fmt, ap);
	va_end(ap);
	errno = saved;
	return err;
}

int log_refusal_line(int err, const char *file, int line, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	atomic_fetch_add(atomic_load(&state.refusals_warn) ? &state.warned : &state.refusals, 1);
	va_start(ap, fmt);
	write_message(atomic_load(&state.refusals_warn) ? LOG_WARN : LOG_ERROR, err, file, line, fmt, ap);
	va_end(ap);
	errno = saved;
	return err;
}
