/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Log lines and errors.
 *
 * An error is logged once, where it is known best, in an expression that returns its errno:
 *
 *	return log_errno(-errno, "pid %d: open of the memory map", pid);
 *
 * prints "Error (file.c:123): pid 812: open of the memory map: Permission denied" and yields -EACCES.
 */
#ifndef CRIU_LIB_LOG_H
#define CRIU_LIB_LOG_H

#include <stdarg.h>

#include "common.h"

/* The levels of -v: the same numbers as CRIU's. LOG_MSG is no log but what a command says: it goes to standard output.
 */
enum log_level { LOG_MSG = 0, LOG_ERROR = 1, LOG_WARN = 2, LOG_INFO = 3, LOG_DEBUG = 4 };

/*
 * Starts logging. fd: where lines go (duplicated; -1: standard error). level: the highest that is written, and from
 * LOG_INFO on lines have the time since log_init(). Errors, and warnings, which tell what is lost, go to standard error
 * as well when fd is another file. Before this call warnings and errors go to standard error; they, and information,
 * are kept and written to the log when it is known. Returns 0 or a negative errno.
 */
int log_init(int fd, enum log_level level);

/*
 * For what answers several callers: from here on lines are kept again until the next log_init(), as before the first,
 * and none goes to standard error, which is not the caller's; nor does any line afterwards, unless log_init() names it.
 */
void log_hold(void);

/*
 * For --log-pid: from here on, lines between log_task(pid) and log_task(0) of one thread go to "<name>.<pid>" in the
 * directory dir_fd (duplicated). The second does nothing without the first. Both return 0 or a negative errno (logged).
 */
int log_per_task(int dir_fd, const char *name);
int log_task(pid_t pid);

/* Whether a line of this level would be written, for output that is expensive to make. */
bool log_enabled(enum log_level level);

/* The first error since log_init(): its negative errno (0: none) and its text ("" if none), for the caller of the
 * command. */
int log_first_errno(void);
const char *log_first_text(void);

/*
 * What a thread works on stands in this image: errors name the file, until the next call (NULL: in none that is known).
 * pattern: as in images/images.def, with %lu for the number. Only after log_name_images(), for images that nothing has
 * checked as a whole: what is odd in them may be damage.
 */
void log_about(const char *pattern, unsigned long number);

/* All that log_about() said, for who changes from one work to another and back (lib/fiber.h). */
struct log_work {
	const char *pattern;
	unsigned long number;
	const char *too;
};
struct log_work log_work_get(void);
void log_work_set(const struct log_work *w);
const char *log_about_too(const char *name); /* another one, for a part of that work; returns the one before */
void log_name_images(void);

/* Writes one line; use the macros. Thread-safe; one write(2) a line. */
void log_line(enum log_level level, const char *file, int line, const char *fmt, ...) PRINTF(4, 5);

/* Logs an error with the text of err (a negative errno; 0 means no text is appended) and returns err. */
int log_error_line(int err, const char *file, int line, const char *fmt, ...) PRINTF(4, 5);

/*
 * A refusal: the dump goes on looking for more reasons and fails at its end. Logs like log_errno() and counts. The text
 * names task, descriptor or address, object, why, and what the user can do. Returns err, which the caller may drop.
 */
int log_refusal_line(int err, const char *file, int line, const char *fmt, ...) PRINTF(4, 5);

/*
 * on: until the next call a refusal is a warning, which is not counted; its caller sees no difference. Returns how many
 * such warnings there have been.
 */
unsigned log_refusals_warn(bool on);

/* How many refusals there have been since log_init(). */
unsigned log_refusals(void);

/*
 * What was counted since log_init(): of a fork of criu's that logs on criu's behalf (an executor). take: what was
 * counted here, which begins anew. add: what was counted there; its first error is ours where we have none.
 */
struct log_tally {
	unsigned refusals;
	int first_errno;
	char first_text[1024];
};

void log_tally_take(struct log_tally *t);
void log_tally_add(const struct log_tally *t);

/* The descriptors of ours that lines go to, beside standard error; returns how many. */
#define LOG_DESCRIPTORS 3
size_t log_descriptors(int fds[LOG_DESCRIPTORS]);

#define log_errno(err, ...)   log_error_line((err), __FILE__, __LINE__, __VA_ARGS__)
#define log_refusal(err, ...) log_refusal_line((err), __FILE__, __LINE__, __VA_ARGS__)
#define log_msg(...)          log_line(LOG_MSG, __FILE__, __LINE__, __VA_ARGS__)
#define log_warn(...)         log_line(LOG_WARN, __FILE__, __LINE__, __VA_ARGS__)
#define log_info(...)         log_line(LOG_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define log_debug(...)                                                                                                 \
	do {                                                                                                           \
		if (log_enabled(LOG_DEBUG))                                                                            \
			log_line(LOG_DEBUG, __FILE__, __LINE__, __VA_ARGS__);                                          \
	} while (0)

#endif
