/* SPDX-License-Identifier: GPL-2.0-only */
#include "helper/net_visit.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>

#include "helper/detour.h"
#include "helper/executor_parts.h"
#include "lib/fiber.h"
#include "lib/log.h"

int net_visit_new(struct net_visit *v)
{
	_cleanup_close_ int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (back < 0 || unshare(CLONE_NEWNET))
		return -errno;
	v->back = move_fd(&back);
	fiber_hold();
	return 0;
}

int net_visit_begin(int fd, struct net_visit *v)
{
	_cleanup_close_ int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int err = back < 0 ? -errno : executor_enter_net(fd);

	v->is_detour = detour_may_help(err);
	if (v->is_detour) {
		v->from = detour_at();
		err = detour_go(fd);
	}
	if (!err) {
		v->back = move_fd(&back);
		fiber_hold();
	}
	return err;
}

static int go_back(const struct net_visit *v)
{
	int err = v->is_detour ? detour_go(v->from) : 0;

	return err ?: v->is_detour && v->from < 0 ? 0 : executor_enter_net(v->back);
}

void net_visit_end(struct net_visit *v)
{
	int err;

	if (v->back < 0)
		return;
	err = go_back(v);
	if (err) {
		log_errno(err, "setns back into criu's own network namespace");
		abort();
	}
	fiber_release();
	close(v->back);
	if (v->here)
		*v->here = v->was;
	*v = NET_VISIT_NONE;
}
