/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every folder shares: the types that keep two worlds apart (criu's and the task's), ownership by cleanup
 * attribute, and a handful of helpers that are too small for a file of their own.
 */
#ifndef CRIU_COMMON_H
#define CRIU_COMMON_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

/* An address in a task. Never a pointer: it cannot be dereferenced by accident. */
typedef uint64_t raddr_t;

/* A pid or tid as the task's own pid namespace knows it, and as the images hold it. Plain pid_t is criu's view. */
typedef struct {
	pid_t v;
} vpid_t;

#define VPID(x)       ((vpid_t) { (pid_t)(x) })
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF(f, a)  __attribute__((format(printf, f, a)))
#define MUST_CHECK    __attribute__((warn_unused_result))

/* An argument may be computed twice: nothing that acts, or that changes by itself. */
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

static inline uint64_t round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

static inline uint64_t round_down(uint64_t v, uint64_t to)
{
	return v / to * to;
}

/* Ownership: a variable marked so is released when its scope ends; move_fd() and move_ptr() hand it on instead. */
static inline void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		*fd = -1; /* the number may be another file's by the time of a second call */
		errno = saved;
	}
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_close_  __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_   __attribute__((cleanup(cleanup_free)))
#define _cleanup_fclose_ __attribute__((cleanup(cleanup_fclose)))

static inline int move_fd(int *fd)
{
	int moved = *fd;

	*fd = -1;
	return moved;
}

#define move_ptr(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) moved_ = (p);                                                                            \
		(p) = NULL;                                                                                            \
		moved_;                                                                                                \
	})

#endif
