/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program that chooses in a SO_REUSEPORT group is shown by no interface, and goes by the places of sockets in their
 * group, which nothing shows either. That there is one is read in the kernel's memory (lib/kernel_view.h).
 */
#include <string.h>

#include "files/files.h"
#include "lib/kernel_view.h"
#include "lib/log.h"
#include "sock/inet_addr.h"
#include "sock/inet/inet.h"
#include "tree/subsys.h"

struct reuseport_look {
	struct kernel_view *view; /* NULL: not here */
	bool tried;
	struct kernel_way way;
};

static void end_look(struct dump *d);

const struct subsys inet_reuseport_subsys = { .name = "programs of SO_REUSEPORT groups",
	                                      .state = { .dump = sizeof(struct reuseport_look) },
	                                      .end = end_look };

static void end_look(struct dump *d)
{
	struct reuseport_look *s = dump_state(d, &inet_reuseport_subsys);

	kernel_view_close(move_ptr(s->view));
}

static void start_look(struct reuseport_look *s)
{
	const char *call = "the kernel's types";
	int err = kernel_view_open(&s->view, &call), file, sock, group, prog;

	if (!err) {
		const struct btf_types *b = kernel_types(s->view);

		file = btf_offset(b, "file", "private_data");
		sock = btf_offset(b, "socket", "sk");
		group = btf_offset(b, "sock", "sk_reuseport_cb");
		prog = btf_offset(b, "sock_reuseport", "prog");
		s->way = (struct kernel_way) { .hops = { file, sock, group }, .n = 3, .last = prog };
		err = file < 0 || sock < 0 || group < 0 || prog < 0 ? -ENOENT : 0;
	}
	if (!err)
		return;
	log_debug("SO_REUSEPORT: the kernel's memory cannot be looked at: %s: %s", call, strerror(-err));
	kernel_view_close(move_ptr(s->view));
}

int inet_reuseport_check(struct dump *d, const struct fd_info *info, const SkOptsEntry *opts)
{
	struct reuseport_look *s = dump_state(d, &inet_reuseport_subsys);
	uint64_t prog = 0;

	if (!opts || !opts->so_reuseport)
		return 0;
	if (!s->tried)
		start_look(s);
	s->tried = true;
	/* A socket that is in no group has no such pointer to follow. */
	if (!s->view || kernel_read_of_file(s->view, info->fd, &s->way, &prog, sizeof(prog)) || !prog)
		return 0;
	log_refusal(-EOPNOTSUPP,
	            "%s: %s: a program chooses in its SO_REUSEPORT group (SO_ATTACH_REUSEPORT_CBPF or _EBPF), which "
	            "cannot be read; let the program take it off (SO_DETACH_REUSEPORT_BPF) before the dump",
	            fd_name(info), inet_addr_names(d->arena, info->fd));
	return DUMP_REFUSED;
}
