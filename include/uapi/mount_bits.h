/* SPDX-License-Identifier: GPL-2.0-only */
/* Of the calls on mounts: what is newer than the C library's <sys/mount.h>. */
#ifndef UAPI_MOUNT_BITS_H
#define UAPI_MOUNT_BITS_H

#include <sys/mount.h>

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef MOVE_MOUNT_SET_GROUP
#define MOVE_MOUNT_SET_GROUP 0x00000100
#endif

/* All that mount_setattr(2) can set or clear of one mount. */
#define MNT_ATTRS                                                                                                      \
	(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME |            \
	 MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW)

#endif
