/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes of what few kinds of descriptors stand on: timerfd, tun, BPF maps, a view of the kernel. */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#include "lib/kernel_view.h"
#include "probe/probe_fns.h"
#include "uapi/timerfd_ticks.h"

int probe_timerfd_ticks(void)
{
	_cleanup_close_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t ticks = 1;

	return fd < 0 || ioctl(fd, TFD_IOC_SET_TICKS, &ticks) ? -errno : 0;
}

int probe_tun(void)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	unsigned features;

	return fd < 0 || ioctl(fd, TUNGETFEATURES, &features) ? -errno : 0;
}

int probe_bpf_maps(void)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
	_cleanup_close_ int fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));

	return fd < 0 ? -errno : 0;
}

int probe_kernel_view(void)
{
	struct kernel_view *v;
	const char *call;
	int err = kernel_view_open(&v, &call);

	if (!err)
		kernel_view_close(v);
	return err;
}
