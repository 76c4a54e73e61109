/* SPDX-License-Identifier: GPL-2.0-only */
/* Flags of a mount: as mountinfo shows them, as images have them (MS_*), and as mount_setattr(2) takes them. */
#include <string.h>
#include <sys/mount.h>

#include "mnt/mnt.h"
#include "uapi/mount_bits.h"

static const struct {
	const char *name;
	uint32_t flag;
	uint64_t attr;
} flag_names[] = {
	{ "ro", MS_RDONLY, MOUNT_ATTR_RDONLY },
	{ "nosuid", MS_NOSUID, MOUNT_ATTR_NOSUID },
	{ "nodev", MS_NODEV, MOUNT_ATTR_NODEV },
	{ "noexec", MS_NOEXEC, MOUNT_ATTR_NOEXEC },
	{ "nosymfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
	{ "noatime", MS_NOATIME, MOUNT_ATTR_NOATIME },
	{ "nodiratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME },
	{ "relatime", MS_RELATIME, 0 },
};

uint32_t mnt_flags_of_text(const char *text)
{
	uint32_t flags = 0;

	while (*text) {
		size_t n = strcspn(text, ",");

		for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++)
			if (strlen(flag_names[i].name) == n && !strncmp(text, flag_names[i].name, n))
				flags |= flag_names[i].flag;
		text += n + (text[n] == ',');
	}
	return flags;
}

/* One of the three is shown, or none: strictatime. */
uint64_t mnt_flags_to_attr(uint32_t flags)
{
	uint64_t attr = flags & (MS_NOATIME | MS_RELATIME) ? 0 : MOUNT_ATTR_STRICTATIME;

	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++)
		if (flags & flag_names[i].flag)
			attr |= flag_names[i].attr;
	return attr;
}
