/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fault points, for tests alone: with --test-kill-at N criu kills itself when it comes to the N-th. What is kept
 * here is, beside the log's, the one state that functions write.
 */
#include <signal.h>
#include <stdatomic.h>

#include <unistd.h>

#include "lib/fault.h"
#include "lib/log.h"

static struct {
	pid_t also; /* is killed with criu; 0: none */
	pid_t pid;  /* forks of criu (its guardian above all) do not count */
	unsigned kill_at;
	atomic_uint count;
} fault;

void fault_init(unsigned kill_at)
{
	fault.pid = getpid();
	fault.kill_at = kill_at;
	atomic_store(&fault.count, 0);
}

void fault_kill_also(pid_t pid)
{
	fault.also = pid;
}

void fault_point(const char *name)
{
	unsigned n;

	if (!fault.kill_at || getpid() != fault.pid)
		return;
	n = atomic_fetch_add(&fault.count, 1) + 1;
	log_debug("fault point %u: %s", n, name);
	if (n != fault.kill_at)
		return;
	log_warn("killed at fault point %u: %s", n, name);
	if (fault.also)
		kill(fault.also, SIGKILL);
	kill(fault.pid, SIGKILL);
}
