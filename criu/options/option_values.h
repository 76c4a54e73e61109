/* SPDX-License-Identifier: GPL-2.0-only */
/* What options that take one of several words are set to. Included by options/options.h. */
#ifndef CRIU_OPTIONS_OPTION_VALUES_H
#define CRIU_OPTIONS_OPTION_VALUES_H

/* --network-lock: how packets are held off. The numbers are rpc.proto's; 0: the option is not given. */
enum network_lock { NETWORK_LOCK_DEFAULT, NETWORK_LOCK_IPTABLES, NETWORK_LOCK_NFTABLES, NETWORK_LOCK_SKIP };

/* --file-validation; each takes in the one before. 0: the option is not given. */
enum validation { VALIDATE_DEFAULT, VALIDATE_SIZE, VALIDATE_BUILD_ID, VALIDATE_CHECKSUM };

/* --cpu-cap: bits of enum cpu_cap, and this one if the option is given. */
#define CPU_CAP_GIVEN 0x80000000U

/* --manage-cgroups; criu(8) says what each means. */
enum manage_cgroups {
	MANAGE_CGROUPS_SOFT,
	MANAGE_CGROUPS_NONE,
	MANAGE_CGROUPS_PROPS,
	MANAGE_CGROUPS_FULL,
	MANAGE_CGROUPS_STRICT,
	MANAGE_CGROUPS_IGNORE,
};

/* --cow-pages: memory that forked tasks still share. */
enum cow_pages { COW_PAGES_AUTO, COW_PAGES_ONCE, COW_PAGES_COPY };

/* --snapshot: memory that is read when the tree runs again. */
enum snapshot { SNAPSHOT_AUTO, SNAPSHOT_NEVER, SNAPSHOT_ALWAYS };

/* --pre-dump-mode: when the pages are read. The numbers are those of the inventory's pre_dump_mode. */
enum pre_dump_mode { PRE_DUMP_SPLICE = 1, PRE_DUMP_READ };

#endif
