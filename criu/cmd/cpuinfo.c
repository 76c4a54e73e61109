/* SPDX-License-Identifier: GPL-2.0-only */
/* criu cpuinfo: writes what this processor can do, or compares it with what was written where programs come from. */
#include <fcntl.h>

#include "arch/arch_cpu.h"
#include "cmd/cmd.h"
#include "image/image.h"
#include "lib/log.h"
#include "task/cpu.h"

static int write_cpuinfo(const struct options *o, struct arena *a)
{
	_cleanup_close_ int dir = open(o->images_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return log_errno(-errno, "%s: open of the image directory", o->images_dir);
	if (!faccessat(dir, IMAGE_SUMS, F_OK, 0))
		return log_errno(-EEXIST,
		                 "%s holds a checkpoint, whose images would no longer be as they were written; name "
		                 "another directory with -D",
		                 o->images_dir);
	return image_write_at(dir, IMG_CPUINFO, 0, arch_cpu_read(a));
}

/* To compare nothing would be no check: all is compared then, as CRIU does. */
static int check_cpuinfo(const struct options *o, struct arena *a)
{
	unsigned caps = o->cpu_cap & CPU_CAP_ALL ?: CPU_CAP_ALL;
	struct image_dir *dir = NULL;
	int err = image_dir_open(o->images_dir, o->allow_edited_images, &dir);

	if (!err)
		err = cpu_check_image(dir, a, caps, true);
	image_dir_close(dir);
	return err;
}

int cmd_cpuinfo(const struct options *o, struct stages *stages)
{
	struct arena *a = arena_new();
	int err = a ? 0 : -ENOMEM;

	if (!err)
		err = o->cpuinfo_check ? check_cpuinfo(o, a) : write_cpuinfo(o, a);
	arena_free(a);
	return err;
}
