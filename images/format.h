/* SPDX-License-Identifier: MIT */
/* Numbers of the image format that the .proto files hold without a name: see Documentation/IMAGES.md. */
#ifndef IMAGES_FORMAT_H
#define IMAGES_FORMAT_H

/* inventory_entry.img_version */
#define FORMAT_VERSION_1_1  2
#define FORMAT_VERSION_OURS 1000 /* has what a reader that does not know it must not pass over: CRIU refuses it */

/* inventory_entry.network_lock_method. (rpc.proto has other numbers.) */
enum network_lock_number { LOCK_NUMBER_IPTABLES = 0, LOCK_NUMBER_NFTABLES = 1, LOCK_NUMBER_SKIP = 2 };

/* The lock that a dump leaves is the table CRIU- and so many characters of the run id; CRIU's packets have this mark.
 */
#define NETWORK_LOCK_ID_LEN    21
#define NETWORK_LOCK_CRIU_MARK 0xc114U

/* file_lock_entry.flag */
enum file_lock_flag { LOCK_POSIX = 1, LOCK_FLOCK = 2, LOCK_OFD = 4, LOCK_LEASE = 8 };

/* file_lock_entry.type, beside F_RDLCK, F_WRLCK, F_UNLCK: a lease that is being broken, with what it is to become */
#define LOCK_TYPE_BREAKING 4

/* vma_entry.status, by bit */
enum vma_status {
	VMA_REGULAR = 1 << 0,
	VMA_STACK = 1 << 1,
	VMA_VSYSCALL = 1 << 2,
	VMA_VDSO = 1 << 3,
	VMA_HEAP = 1 << 5,
	VMA_FILE_PRIVATE = 1 << 6,
	VMA_FILE_SHARED = 1 << 7,
	VMA_ANON_SHARED = 1 << 8,
	VMA_ANON_PRIVATE = 1 << 9,
	VMA_SYSVIPC = 1 << 10,
	VMA_SOCKET = 1 << 11,
	VMA_VVAR = 1 << 12,
	VMA_AIORING = 1 << 13,
	VMA_MEMFD = 1 << 14,
	VMA_SHSTK = 1 << 15,
	VMA_GUARD = 1 << 16,
	VMA_UPROBES = 1 << 17,
	VMA_SECRETMEM = 1 << 24,  /* ours */
	VMA_URING = 1 << 26,      /* ours */
	VMA_EXT_PLUGIN = 1 << 27, /* of a device: a plugin knows what to map. Never set in CRIU's images */
};

/* vma_entry.locked: how MAP_LOCKED was meant (mlock2(2)) */
enum vma_locked { VMA_LOCKED_ALL = 1, VMA_LOCKED_ON_FAULT = 2 };

/* pagemap_entry.flags, by bit */
enum pagemap_flags { PE_PARENT = 1 << 0, PE_LAZY = 1 << 1, PE_PRESENT = 1 << 2 };

/* task_core_entry.task_state */
enum task_state { TASK_ALIVE = 1, TASK_DEAD = 2, TASK_STOPPED = 3 };

/* unix_sk_entry.uflags, by bit */
enum unix_uflags {
	USK_EXTERN = 1 << 0,   /* no descriptor refers to it: the address of a peer outside of the tree */
	USK_CALLBACK = 1 << 2, /* a plugin makes it at restore */
	USK_INHERIT = 1 << 3,  /* it comes from --inherit-fd at restore */
};

#endif
