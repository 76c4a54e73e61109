/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "files/device_name.h"
#include "proc/proc.h"

#define MISC 10
#define ANY  UINT32_MAX

#define GPU_PLUGIN                                                                                                     \
	"what it holds takes a plugin for its driver (--libdir), and none that is loaded takes it: let the program "   \
	"close it"

/* By number where that is fixed, or by the beginning of the kernel's name for it (that in a devtmpfs). */
static const struct {
	uint32_t major, minor;
	struct device_text text;
} devices[] = {
	{ ANY, ANY, { "kfd", "the compute device of AMD's GPUs (KFD)", GPU_PLUGIN } },
	{ 226, ANY, { "dri/", "a graphics device (DRM)", GPU_PLUGIN } },
	{ 195,
	  ANY,
	  { "nvidia", "a device of NVIDIA's",
	    "cuda_plugin.so (--libdir) and cuda-checkpoint bring a CUDA program to where it holds none (PLUGINS in "
	    "criu(8)); else let the program close it" } },
	{ ANY, ANY, { "accel/", "an accelerator", GPU_PLUGIN } },
	{ MISC,
	  232,
	  { "kvm", "the device of virtual machines (KVM)", "save the machine with its own means, as QEMU's savevm" } },
	{ MISC, 238, { "vhost-net", "a virtual machine's network (vhost)", "save the machine with its own means" } },
	{ MISC, 241, { "vhost-vsock", "a virtual machine's sockets (vhost)", "save the machine with its own means" } },
	{ ANY, ANY, { "vhost-", "a virtual machine's device (vhost)", "save the machine with its own means" } },
	{ ANY, ANY, { "vfio/", "devices that a program drives (VFIO)", "give the devices back" } },
	{ ANY, ANY, { "infiniband/", "an RDMA device", NULL } },
	{ MISC, 229, { "fuse", "a FUSE server's side of a mount", "unmount it, or dump the server without it" } },
	{ MISC,
	  223,
	  { "uinput", "an input device of the program's own",
	    "it ends with the descriptor: let the program remove it" } },
	{ MISC,
	  130,
	  { "watchdog", "a watchdog, which resets the machine when it is not fed",
	    "let the program disarm and close it" } },
	{ ANY,
	  ANY,
	  { "watchdog", "a watchdog, which resets the machine when it is not fed",
	    "let the program disarm and close it" } },
	{ ANY,
	  ANY,
	  { "cpu_dma_latency", "a request for short latencies (PM QoS), which lasts as long as the descriptor",
	    "the kernel does not show what was asked for: let the program close it" } },
	{ MISC,
	  228,
	  { "hpet", "a timer of the HPET", "the kernel does not show how it is set: let the program close it" } },
	{ MISC,
	  135,
	  { "rtc", "a real-time clock",
	    "the kernel does not show what interrupts it gives: let the program close it" } },
	{ ANY,
	  ANY,
	  { "rtc", "a real-time clock",
	    "the kernel does not show what interrupts it gives: let the program close it" } },
};

const struct device_text *device_text_of(const char *name, dev_t rdev)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		bool numbered = devices[i].major != ANY && devices[i].major == major(rdev) &&
		                (devices[i].minor == ANY || devices[i].minor == minor(rdev));

		if (numbered || (name && !strncmp(name, devices[i].text.name, strlen(devices[i].text.name))))
			return &devices[i].text;
	}
	return NULL;
}

/* The kernel's name: of a node that has another, too. */
static bool read_name(dev_t rdev, char *buf, size_t size)
{
	_cleanup_free_ char *text = NULL;
	const char *at;
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/uevent", major(rdev), minor(rdev));
	if (proc_read(AT_FDCWD, path, &text, NULL))
		return false;
	at = strstr(text, "DEVNAME=");
	if (!at)
		return false;
	at += strlen("DEVNAME=");
	snprintf(buf, size, "%.*s", (int)strcspn(at, "\n"), at);
	return true;
}

const struct device_text *device_text(const char *link, mode_t mode, dev_t rdev)
{
	char name[64];

	if (!S_ISCHR(mode))
		return NULL;
	if (read_name(rdev, name, sizeof(name)))
		return device_text_of(name, rdev);
	return device_text_of(strncmp(link, "/dev/", 5) ? NULL : link + 5, rdev);
}
