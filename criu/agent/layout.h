/* SPDX-License-Identifier: GPL-2.0-only */
/* What the agent's way in has to know of a task's address space. */
#ifndef CRIU_AGENT_LAYOUT_H
#define CRIU_AGENT_LAYOUT_H

#include "proc/proc_maps.h"
#include "tree/dump.h"

struct layout {
	raddr_t hole;                   /* where the area goes */
	raddr_t stack_start, stack_end; /* the [stack] mapping; 0 where the task has no such mapping */
	raddr_t syscall_ip;             /* see code_find_syscall(); 0: none */
	raddr_t sigreturn;              /* see code_find_sigreturn(); 0: none */
};

/* Files in which sigreturn code was found before, so that a tree of many tasks with one C library is searched once. */
struct code_cache;

/* Reads the mappings of a task that stands. 0 or a negative errno, not logged. */
int layout_read_maps(struct arena *a, pid_t pid, struct task_maps *maps);

/*
 * Looks for the code in the mappings that a task has; compat: a 32-bit one. size: what the hole has to hold. *cache
 * starts as NULL. 0 or a negative errno (logged, with `who` in front).
 */
int layout_find(struct arena *a, pid_t pid, bool compat, const struct task_maps *maps, const char *who, uint64_t size,
                struct code_cache **cache, struct layout *l);

/* Whether an agent's area begins at that address: shared anonymous memory. */
bool layout_has_area(const struct task_maps *maps, raddr_t at);

#endif
