/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A trigger of pressure stall information: poll(2) waits on it, and a file without one says so (POLLERR). The kernel
 * takes no second trigger in a file (EBUSY).
 *
 * zdtm: needs-root
 */
#include <fcntl.h>
#include <poll.h>

#include "zdtm.h"

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_NONBLOCK);

	if (fd < 0)
		zdtm_skip("%s: %s", path, strerror(errno));
	return fd;
}

/* Half of a second in ten: the machine is never that busy for that long with memory. */
static const char some[] = "some 5000000 10000000", full[] = "full 4000000 8000000";

static int events_of(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

int main(void)
{
	int a = opened("/proc/pressure/memory", O_RDWR), b = opened("/proc/pressure/io", O_RDWR),
	    none = opened("/proc/pressure/memory", O_RDWR), reader = opened("/proc/pressure/cpu", O_RDONLY);
	char text[64];

	if (write(a, some, sizeof(some)) < 0)
		zdtm_skip("a trigger: %s", strerror(errno));
	zdtm_must(write(b, full, sizeof(full)) == sizeof(full));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!(events_of(a) & POLLERR), "no trigger any more: %x", events_of(a));
	zdtm_check(!(events_of(b) & POLLERR), "no second trigger any more: %x", events_of(b));
	zdtm_check(events_of(none) & POLLERR, "a trigger where none was: %x", events_of(none));
	zdtm_check(write(a, some, sizeof(some)) < 0 && errno == EBUSY, "it takes another one");
	zdtm_check(pread(reader, text, sizeof(text), 0) > 0 && !strncmp(text, "some avg10", 10), "the text");
	zdtm_pass();
}
