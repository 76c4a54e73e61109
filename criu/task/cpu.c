/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which processor the programs have seen (--cpu-cap): what they were told by CPUID once, they use ever after. The state
 * of registers itself is in the core images, and is checked there.
 */
#include "arch/arch_cpu.h"
#include "lib/log.h"
#include "task/cpu.h"
#include "tree/subsys.h"

static int cpu_write(struct dump *d)
{
	unsigned caps = d->opts->cpu_cap;

	if (!(caps & CPU_CAP_GIVEN) || !(caps & CPU_CAP_ALL))
		return 0;
	return image_write_one(d->dir, IMG_CPUINFO, 0, arch_cpu_read(d->arena));
}

int cpu_check_image(struct image_dir *dir, struct arena *a, unsigned caps, bool required)
{
	CpuinfoEntry *image;
	int err = image_read_one(dir, IMG_CPUINFO, 0, a, &image);

	if (err == -ENOENT && !required)
		return 0;
	if (err == -ENOENT)
		return log_refusal(err, "cpuinfo.img is missing: --cpu-cap compares this processor with the one that "
		                        "it describes, and writes it if given to criu dump (or use criu cpuinfo dump)");
	return err ?: arch_cpu_check(image, arch_cpu_read(a), caps);
}

static int cpu_check(struct restore *r)
{
	unsigned caps = r->opts->cpu_cap;

	if (!(caps & CPU_CAP_ALL))
		return 0;
	return cpu_check_image(r->dir, r->arena, caps, caps & CPU_CAP_GIVEN);
}

const struct subsys cpu_subsys = {
	.name = "processor",
	.write_images = cpu_write,
	.check = cpu_check,
};
