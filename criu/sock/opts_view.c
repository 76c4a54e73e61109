/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/kernel_view.h"
#include "lib/log.h"
#include "sock/opts.h"
#include "sock/opts_view.h"
#include "tree/subsys.h"

/* To look into the kernel takes as long as to ask for the options of 1,000 sockets: when so many have been seen. */
#define FIRST          500
#define SOCK_SIZE_MAX  4096
#define FLAGS_SIZE_MAX 8

/* The bytes of a socket in which an option may be kept, the others as 0. */
struct seen_socket {
	uint8_t sock[SOCK_SIZE_MAX], flags[FLAGS_SIZE_MAX];
};

struct new_socket {
	int domain, type;
	SkOptsEntry *opts; /* NULL: it could not be asked */
	struct seen_socket seen;
	struct new_socket *next;
};

struct opts_view {
	struct kernel_view *view; /* NULL: not here, or not yet */
	bool tried;
	size_t n;                            /* sockets seen */
	struct kernel_way to_sock, to_flags; /* the second in struct socket */
	size_t size, flags_len;              /* no flags: no option is kept there */
	uint8_t mask[SOCK_SIZE_MAX];
	struct new_socket *known;
};

static void end_view(struct dump *d);

const struct subsys opts_view_subsys = { .name = "options of sockets in the kernel's memory",
	                                 .state = { .dump = sizeof(struct opts_view) },
	                                 .end = end_view };

static void end_view(struct dump *d)
{
	struct opts_view *s = dump_state(d, &opts_view_subsys);

	kernel_view_close(move_ptr(s->view));
}

/*
 * What differs between sockets that have the same options: which socket it is, whose, and what happens to it. All else
 * is compared, known or not, so that nothing is overlooked that a later kernel keeps elsewhere.
 */
static const char *const not_options[] = {
	"__sk_common.skc_hash",
	"__sk_common.skc_state",
	"__sk_common.skc_node",
	"__sk_common.skc_bind_node",
	"__sk_common.skc_cookie",
	"__sk_common.skc_refcnt",
	"__sk_common.skc_incoming_cpu",
	"sk_error_queue",
	"sk_receive_queue",
	"sk_backlog",
	"sk_wq",
	"sk_socket",
	"sk_memcg",
	"sk_lock",
	"sk_forward_alloc",
	"sk_wmem_queued",
	"sk_wmem_alloc",
	"sk_write_queue",
	"sk_frag",
	"sk_timer",
	"sk_uid",
	"sk_shutdown",
	"sk_callback_lock",
	"sk_ack_backlog",
	"sk_max_ack_backlog",
	"sk_ino",
	"sk_peer_lock",
	"sk_peer_pid",
	"sk_peer_cred",
	"sk_stamp",
	"sk_security",
	"sk_cgrp_data",
	"sk_rcu",
	"ns_tracker",
	/* Counters of scheduling and accounting. */
	"sk_omem_alloc",
	"sk_write_pending",
};

static int make_mask(struct opts_view *s, const struct btf_types *b)
{
	int size = btf_size(b, "sock");

	if (size <= 0 || size > SOCK_SIZE_MAX)
		return -ENOENT;
	s->size = (size_t)size;
	memset(s->mask, 0xff, s->size);
	for (size_t i = 0; i < ARRAY_SIZE(not_options); i++) {
		int at = btf_offset(b, "sock", not_options[i]), len = btf_span(b, "sock", not_options[i]);

		if (at >= 0 && len > 0 && at + len <= size)
			memset(s->mask + at, 0, (size_t)len);
	}
	return 0;
}

static int find_ways(struct opts_view *s, const struct btf_types *b)
{
	int file = btf_offset(b, "file", "private_data"), sock = btf_offset(b, "socket", "sk"),
	    flags = btf_offset(b, "socket", "flags"), len = btf_span(b, "socket", "flags");

	if (file < 0 || sock < 0)
		return -ENOENT;
	s->to_sock = (struct kernel_way) { .hops = { file, sock }, .n = 2 };
	/* Before Linux 6.16 struct socket has what SO_PASSCRED and the like set. */
	if (btf_offset(b, "sock", "sk_scm_recv_flags") >= 0)
		return 0;
	s->to_flags = (struct kernel_way) { .hops = { file }, .n = 1, .last = flags };
	s->flags_len = (size_t)MAX(len, 0);
	return flags < 0 || len <= 0 || len > FLAGS_SIZE_MAX ? -ENOENT : 0;
}

static void open_view(struct opts_view *s)
{
	const char *call = "the kernel's types";
	int err = kernel_view_open(&s->view, &call);

	err = err ?: make_mask(s, kernel_types(s->view));
	err = err ?: find_ways(s, kernel_types(s->view));
	if (!err)
		return;
	log_debug("options of sockets: the kernel's memory cannot be looked at: %s: %s", call, strerror(-err));
	kernel_view_close(move_ptr(s->view));
}

static int look_at_socket(struct opts_view *s, int fd, struct seen_socket *seen)
{
	int err = kernel_read_of_file(s->view, fd, &s->to_sock, seen->sock, s->size);

	for (size_t i = 0; i < s->size; i++)
		seen->sock[i] &= s->mask[i];
	if (!err && s->flags_len)
		err = kernel_read_of_file(s->view, fd, &s->to_flags, seen->flags, s->flags_len);
	return err;
}

static struct new_socket *find_new(struct dump *d, struct opts_view *s, int domain, int type)
{
	struct new_socket *n = s->known;
	struct fd_info info = { .number = -1, .what = "a new socket" };

	while (n && (n->domain != domain || n->type != type))
		n = n->next;
	if (n)
		return n;
	n = arena_new_of(d->arena, struct new_socket);
	*n = (struct new_socket) { .domain = domain, .type = type, .next = s->known };
	s->known = n;
	info.fd = socket(domain, type | SOCK_CLOEXEC, 0);
	if (info.fd < 0)
		return n;
	if (sock_opts_dump(d->arena, &info, &n->opts) || look_at_socket(s, info.fd, &n->seen))
		n->opts = NULL;
	close(info.fd);
	return n;
}

int sock_opts_view_dump(struct dump *d, const struct fd_info *info, int domain, int type, SkOptsEntry **optsp)
{
	struct opts_view *s = dump_state(d, &opts_view_subsys);
	const struct new_socket *n;
	struct seen_socket seen;

	if (!s->tried && ++s->n > FIRST) {
		open_view(s);
		s->tried = true;
	}
	n = s->view ? find_new(d, s, domain, type) : NULL;
	if (!n || !n->opts || look_at_socket(s, info->fd, &seen) || memcmp(seen.sock, n->seen.sock, s->size) ||
	    memcmp(seen.flags, n->seen.flags, s->flags_len))
		return sock_opts_dump(d->arena, info, optsp);
	*optsp = n->opts;
	return 0;
}
