/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /proc/PID/maps and /proc/PID/smaps, see proc_pid_maps(5), proc_pid_smaps(5) and the kernel's fs/proc/task_mmu.c.
 * Anything odd in them is -EBADMSG; unknown keys are passed over. Nothing here logs.
 */
#ifndef CRIU_CORE_PROC_MAPS_H
#define CRIU_CORE_PROC_MAPS_H

#include "common.h"

/* What VmFlags may hold, by its two letters (show_smap_vma_flags() of the kernel). */
#define VM_FLAGS(X)                                                                                                    \
	X(rd)                                                                                                          \
	X(wr) X(ex) X(sh) X(mr) X(mw) X(me) X(ms) X(gd) X(pf) X(lo) X(io) X(sr) X(rr) X(dc) X(de) X(lf) X(ac) X(nr)    \
	    X(ht) X(sf) X(ar) X(wf) X(dd) X(sd) X(mm) X(hg) X(nh) X(mg) X(bt) X(mt) X(um) X(uw) X(ui) X(ss) X(sl)      \
	        X(dp) X(gu) X(dw)

enum vm_flag_bit {
#define X(f) VMF_BIT_##f,
	VM_FLAGS(X)
#undef X
	    VMF_COUNT
};

/* VMF(lo): its bit in map_entry.flags. */
#define VMF(f)      (1ULL << VMF_BIT_##f)
#define VMF_UNKNOWN (1ULL << 63) /* letters that are not in the list */

_Static_assert(VMF_COUNT < 63, "the flags fit");

/* One mapping. */
struct map_entry {
	raddr_t start, end;
	uint32_t prot; /* PROT_* */
	bool shared;
	uint64_t pgoff; /* bytes */
	unsigned major, minor;
	uint64_t ino;
	const char *name; /* as it stands there ("\012" for a newline), zero-terminated; "" */
	uint64_t flags;   /* VMF_*; smaps only */
	bool has_flags;
	uint32_t pkey; /* its protection key; 0 where there is none; smaps only */
};

/*
 * Parses one line of maps (the first line of an entry of smaps) without its newline. The line is changed: its end gets
 * a zero (line[len] must be writable), and e->name points into it. 0 or -EBADMSG.
 */
int parse_map_line(char *line, size_t len, struct map_entry *e);

/* Parses what stands behind "VmFlags:". */
uint64_t parse_vm_flags(const char *text);

/*
 * Calls fn for each mapping, in the order of addresses, which is checked. The entry is valid during the call; what fn
 * returns, if not 0, ends it and is returned. dir_fd: a /proc/PID; path: "maps" or "smaps".
 */
typedef int (*map_entry_fn)(void *arg, const struct map_entry *e);
int proc_each_map(int dir_fd, const char *path, map_entry_fn fn, void *arg);

#endif
