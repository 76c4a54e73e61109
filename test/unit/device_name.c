/* SPDX-License-Identifier: GPL-2.0-only */
/* What devices are called, by number and by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "files/device_name.h"

static void has(const char *name, unsigned maj, unsigned min, const char *word, const char *way_out)
{
	const struct device_text *t = device_text_of(name, makedev(maj, min));

	assert_non_null(t);
	assert_non_null(strstr(t->what, word));
	if (way_out)
		assert_non_null(strstr(t->way_out, way_out));
}

static void texts(void **state)
{
	has("kfd", 240, 0, "KFD", "plugin");
	has("dri/card0", 226, 0, "DRM", "plugin");
	has(NULL, 226, 128, "DRM", "plugin");
	has("nvidia0", 195, 0, "NVIDIA", "plugin");
	has("nvidia-uvm", 511, 0, "NVIDIA", "plugin");
	has(NULL, 195, 255, "NVIDIA", "plugin");
	has("vhost-net", 10, 238, "vhost", "machine");
	has(NULL, 10, 241, "vhost", "machine");
	has("vhost-scsi", 10, 70, "vhost", "machine");
	has("fuse", 10, 229, "FUSE", NULL);
	has("rtc0", 254, 0, "clock", NULL);
	has("hpet", 10, 228, "HPET", NULL);
	has("cpu_dma_latency", 10, 259, "PM QoS", NULL);
	has("watchdog1", 248, 1, "watchdog", NULL);
	assert_null(device_text_of("ttyS0", makedev(4, 64)));
	assert_null(device_text_of(NULL, makedev(10, 259)));
	assert_null(device_text("/dev/dri/card0", S_IFBLK | 0600, makedev(226, 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(texts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
