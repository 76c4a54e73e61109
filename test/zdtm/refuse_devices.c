/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices that may have a state of their own, by their names and numbers.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 100: /dev/cpu_dma_latency \(a request for short latencies
 * zdtm: refuse fd 101: /dev/fuse \(a FUSE server
 * zdtm: refuse fd 102: /dev/loop0 \(a block device, 7:0\)
 */
#include "zdtm.h"

int main(void)
{
	static const char *const names[] = { "/dev/cpu_dma_latency", "/dev/fuse", "/dev/loop0" };

	for (int i = 0; i < 3; i++) {
		int fd = open(names[i], i == 2 ? O_RDONLY : O_RDWR);

		if (fd < 0)
			zdtm_skip("%s: %s", names[i], strerror(errno));
		zdtm_must(dup2(fd, 100 + i) == 100 + i);
		close(fd);
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < 3; i++)
		zdtm_check(fcntl(100 + i, F_GETFD) >= 0, "%s is gone", names[i]);
	zdtm_pass();
}
