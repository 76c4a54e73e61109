/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fuzzing what reads /proc/PID/fdinfo: the parsers that all share, and the rows of the kinds whose state stands there.
 * The first byte says which.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "lib/fd_flags.h"
#include "proc/fdinfo.h"
#include "tree/kind.h"
#include "proc/lockline.h"
#include "lib/log.h"
#include "path/procfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_shared(const char *text, size_t len)
{
	struct proc_path path;
	int32_t pid, inner;
	struct fdinfo info;
	const char *v;
	uint64_t n;

	fdinfo_parse(text, &info);
	v = fdinfo_value(text, "it_value");
	if (v && (v < text || v > text + len))
		abort();
	fdinfo_number(text, "ticks", 10, &n);
	if (!fdinfo_parse_pidfd(text, &pid, &inner) && (pid < -1 || inner < -1))
		abort();
	if (procfile_parse_path(text, &path) &&
	    (path.pid <= 0 || path.tid < 0 || path.mount_len >= len || path.rest < text || path.rest > text + len))
		abort();
}

static void try_locks(const char *text)
{
	for (const char *at = text; at; at = proc_next_line(at)) {
		struct lock_line l;

		if (!lockline_parse(at, &l) && (l.start < 0 || l.len < 0 || l.start > INT64_MAX - l.len))
			abort();
	}
}

/* A row's dump(), with a descriptor that is of its kind and a text that may be anything. */
static void try_kind(struct arena *a, FdTypes type, int fd, const char *link, const char *text)
{
	const struct fd_kind *kind = kind_by_fd_type(type);
	struct options o = { .arena = a };
	struct stats stats = { 0 };
	struct dump d = { .opts = &o, .arena = a, .stats = &stats };
	struct thread th = { .tid = 1 };
	struct task t = { .pid = 1, .vpid = VPID(1), .comm = "fuzz", .threads = &th, .n_threads = 1 };
	struct fd_info info = { .task = &t, .number = 3, .fd = fd, .link = link, .info = text, .id = 1 };
	void *msg = arena_alloc(a, kind->pb->sizeof_message);

	protobuf_c_message_init(kind->pb, msg);
	kind->dump(&d, &info, msg);
}

static int quiet(void)
{
	static int fd = -1;

	if (fd < 0) {
		fd = open("/dev/null", O_WRONLY);
		log_init(fd, LOG_MSG);
	}
	return fd;
}

static void choose(struct arena *a, uint8_t which, const char *text, size_t len)
{
	static int event = -1, sig = -1, timer = -1, poll = -1, notify = -1;
	sigset_t none;

	if (event < 0) {
		sigemptyset(&none);
		event = eventfd(0, EFD_NONBLOCK);
		sig = signalfd(-1, &none, SFD_NONBLOCK);
		timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
		poll = epoll_create1(0);
		notify = inotify_init1(IN_NONBLOCK);
	}
	switch (which % 7) {
	case 0:
		try_shared(text, len);
		break;
	case 1:
		try_locks(text);
		break;
	case 2:
		try_kind(a, FD_TYPES__EVENTFD, event, "anon_inode:[eventfd]", text);
		break;
	case 3:
		try_kind(a, FD_TYPES__SIGNALFD, sig, "anon_inode:[signalfd]", text);
		break;
	case 4:
		try_kind(a, FD_TYPES__TIMERFD, timer, "anon_inode:[timerfd]", text);
		break;
	case 5:
		try_kind(a, FD_TYPES__EVENTPOLL, poll, "anon_inode:[eventpoll]", text);
		break;
	default:
		try_kind(a, FD_TYPES__INOTIFY, notify, "anon_inode:inotify", text);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	size_t len = size ? size - 1 : 0;
	char *text = malloc(len + 1); /* of exactly this size: a read behind its end is seen */

	quiet();
	memcpy(text, data + (size ? 1 : 0), len);
	text[len] = 0;
	choose(a, size ? data[0] : 0, text, len);
	free(text);
	arena_free(a);
	return 0;
}
