/* SPDX-License-Identifier: GPL-2.0-only */
/* Mounts that show one terminal of a new devpts: the terminal has to exist before they can be made. */
#include <ctype.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "lib/log.h"
#include "mnt/mnt.h"
#include "tree/pts_masters.h"

#define INDEX_MAX 4096 /* the kernel's own limit (kernel.pty.max), as it is by default */

/* The index that a mount's root "/N" names; -ENOENT: another root. */
static int index_of_root(const char *root)
{
	char *end;
	unsigned long index;

	if (root[0] != '/' || !isdigit((unsigned char)root[1]))
		return -ENOENT;
	index = strtoul(root + 1, &end, 10);
	return *end || index >= INDEX_MAX ? -ENOENT : (int)index;
}

static int last_shown(const struct mnt_restore *all, const struct super *s)
{
	int last = -1;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i]->n; k++)
			if (all->ns[i]->all[k].super == s)
				last = MAX(last, index_of_root(all->ns[i]->all[k].e->root));
	return last;
}

/* The number that the images have of the file system, as stat(2) shows it. */
static uint32_t device_of(const struct super *s)
{
	return (uint32_t)makedev(s->dev >> 20, s->dev & 0xfffff);
}

/* In a new devpts masters have the indices 0, 1, 2, ... in the order in which they are opened. */
int mnt_devpts_make(struct restore *r, const struct super *s)
{
	const struct mnt_restore *all = mnt_of(r);
	int last = last_shown(all, s), unlock = 0;

	for (int i = 0; i <= last; i++) {
		int fd = openat(s->fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), index;

		if (fd < 0 || ioctl(fd, TIOCGPTN, &index) || ioctl(fd, TIOCSPTLCK, &unlock)) {
			int err = log_errno(-errno, "mount %s: openat of ptmx in a new devpts, or ioctl(TIOCGPTN)",
			                    s->first->mountpoint);

			if (fd >= 0)
				close(fd);
			return err;
		}
		/* Those between are held too, or the next one would have their index; tasks may take them. */
		pts_masters_note(r, device_of(s), (unsigned)index, fd);
	}
	return 0;
}
