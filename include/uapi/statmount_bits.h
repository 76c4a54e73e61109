/* SPDX-License-Identifier: GPL-2.0-only */
/* statmount(2) and listmount(2), Linux 6.8; what a mount's ids are mapped to, Linux 6.15. */
#ifndef UAPI_STATMOUNT_BITS_H
#define UAPI_STATMOUNT_BITS_H

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef SYS_statmount
#define SYS_statmount 457
#define SYS_listmount 458
#endif

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif

#define KERNEL_NS_GET_MNTNS_ID  _IOR(0xb7, 0x5, uint64_t)
#define KERNEL_LSMT_ROOT        (~(uint64_t)0)
#define KERNEL_STATMOUNT_BASIC  0x2U
#define KERNEL_STATMOUNT_UIDMAP 0x2000U
#define KERNEL_STATMOUNT_GIDMAP 0x4000U

struct kernel_mnt_id_req {
	uint32_t size, spare;
	uint64_t mnt_id;
	uint64_t param; /* statmount: what is asked for; listmount: the last mount that is known */
	uint64_t mnt_ns_id;
};

struct kernel_statmount {
	uint32_t size, mnt_opts;
	uint64_t mask;
	uint32_t sb_dev_major, sb_dev_minor;
	uint64_t sb_magic;
	uint32_t sb_flags, fs_type;
	uint64_t mnt_id, mnt_parent_id;
	uint32_t mnt_id_old, mnt_parent_id_old;
	uint64_t mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
	uint32_t mnt_root, mnt_point;
	uint64_t mnt_ns_id;
	uint32_t fs_subtype, sb_source, opt_num, opt_array, opt_sec_num, opt_sec_array;
	uint64_t supported_mask;
	uint32_t uidmap_num, uidmap; /* strings, each with its zero, from this offset in str */
	uint32_t gidmap_num, gidmap;
	uint64_t spare[43];
	char str[];
};

#endif
