/* SPDX-License-Identifier: GPL-2.0-only */
#include <pthread.h>
#include <string.h>

#include "files/files.h"
#include "lib/arena_hash.h"
#include "lib/kernel_view.h"
#include "lib/log.h"
#include "sock/opts.h"
#include "sock/opts_view.h"
#include "tree/subsys.h"

#define FLAGS_SIZE_MAX 8

/* So many different ones are kept: more are no help, since each is looked for among them. */
#define KNOWN_MAX      256

/* Bytes that are compared. */
struct byte_run {
	uint16_t at, len;
};

struct known_opts {
	const ProtobufCMessage *m;
	UT_hash_handle hh;
};

struct opts_view {
	pthread_mutex_t lock;
	struct kernel_view *view;
	struct arena *arena;
	struct kernel_way to_sock, to_flags; /* the second in struct socket */
	size_t size, size_v6, flags_len;     /* size_v6 0: not known; no flags: no option is kept there */
	struct byte_run *runs;
	size_t n_runs;
	struct known_opts *known, *last; /* last: the one that was found last, which most are */
	size_t n_known;
};

/* ---- which bytes ---- */

static int start_of_members(const struct btf_types *b, const struct opts_members *m)
{
	return m->within ? btf_offset(b, m->within, m->at) : 0;
}

/* A member, or a struct, that this kernel does not have is no error. */
static void take_out(const struct btf_types *b, const struct opts_members *m, uint8_t *mask, size_t size)
{
	int start = start_of_members(b, m);

	for (const char *const *name = m->names; start >= 0 && *name; name++) {
		int at = btf_offset(b, m->type, *name), len = btf_span(b, m->type, *name);

		if (at >= 0 && len > 0 && (size_t)start + (size_t)at + (size_t)len <= size)
			memset(mask + start + at, 0, (size_t)len);
	}
}

static void make_runs(struct opts_view *v, const uint8_t *mask, size_t size)
{
	for (size_t at = 0, end; at < size; at = end) {
		for (end = at; end < size && !mask[end] == !mask[at];)
			end++;
		if (mask[at])
			arena_push(v->arena, &v->runs, &v->n_runs,
			           ((struct byte_run) { .at = (uint16_t)at, .len = (uint16_t)(end - at) }));
	}
}

static int find_runs(struct opts_view *v, const struct opts_layout *layout, const struct btf_types *b)
{
	int size = btf_size(b, layout->type), size_v6 = layout->type_v6 ? btf_size(b, layout->type_v6) : size;
	uint8_t mask[OPTS_LOOK_MAX - FLAGS_SIZE_MAX];

	if (size <= 0 || size > (int)sizeof(mask))
		return -ENOENT;
	if (size_v6 < size || size_v6 > (int)sizeof(mask))
		size_v6 = 0;
	v->size = (size_t)size;
	v->size_v6 = (size_t)size_v6;
	memset(mask, 0xff, sizeof(mask));
	for (const struct opts_members *m = layout->members; m->type; m++)
		take_out(b, m, mask, sizeof(mask));
	make_runs(v, mask, MAX(v->size, v->size_v6));
	return 0;
}

static int find_ways(struct opts_view *v, const struct btf_types *b)
{
	int file = btf_offset(b, "file", "private_data"), sock = btf_offset(b, "socket", "sk"),
	    flags = btf_offset(b, "socket", "flags"), len = btf_span(b, "socket", "flags");

	if (file < 0 || sock < 0)
		return -ENOENT;
	v->to_sock = (struct kernel_way) { .hops = { file, sock }, .n = 2, .open = true };
	/* Before Linux 6.16 struct socket has what SO_PASSCRED and the like set. */
	if (btf_offset(b, "sock", "sk_scm_recv_flags") >= 0)
		return 0;
	v->to_flags = (struct kernel_way) { .hops = { file }, .n = 1, .last = flags, .open = true };
	v->flags_len = (size_t)MAX(len, 0);
	return flags < 0 || len <= 0 || len > FLAGS_SIZE_MAX ? -ENOENT : 0;
}

struct opts_view *opts_view_open(const struct opts_layout *layout)
{
	struct opts_view *v = calloc(1, sizeof(*v));
	const char *call = "calloc";
	int err = -ENOMEM;

	if (v) {
		pthread_mutex_init(&v->lock, NULL);
		v->arena = arena_new();
	}
	if (v && v->arena) {
		call = "the kernel's types";
		err = kernel_view_open(&v->view, &call);
		err = err ?: find_runs(v, layout, kernel_types(v->view));
		err = err ?: find_ways(v, kernel_types(v->view));
	}
	if (!err)
		return v;
	log_debug("options of sockets: the kernel's memory cannot be looked at: %s: %s", call, strerror(-err));
	opts_view_close(v);
	return NULL;
}

void opts_view_close(struct opts_view *v)
{
	if (!v)
		return;
	log_debug("options of sockets: %zu different ones", v->n_known);
	kernel_view_close(v->view);
	arena_free(v->arena);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

/* ---- looking ---- */

/* The bytes that are compared, one behind the other. */
static void pick_bytes(const struct opts_view *v, const uint8_t *sock, size_t size, struct opts_look *look)
{
	look->len = 0;
	for (size_t i = 0; i < v->n_runs && v->runs[i].at < size; i++) {
		size_t len = MIN((size_t)v->runs[i].len, size - v->runs[i].at);

		memcpy(look->bytes + look->len, sock + v->runs[i].at, len);
		look->len += len;
	}
}

static int look_at_socket(struct opts_view *v, int fd, size_t size, struct opts_look *look)
{
	uint8_t sock[OPTS_LOOK_MAX];
	int err = size ? kernel_read_of_file(v->view, fd, &v->to_sock, sock, size) : -ENOENT;

	if (err)
		return err;
	pick_bytes(v, sock, size, look);
	if (v->flags_len)
		err = kernel_read_of_file(v->view, fd, &v->to_flags, look->bytes + look->len, v->flags_len);
	look->len += v->flags_len;
	return err;
}

static struct known_opts *find_known(struct opts_view *v, const struct opts_look *look)
{
	struct known_opts *k = v->last;

	if (!k || k->hh.keylen != look->len || memcmp(k->hh.key, look->bytes, look->len))
		HASH_FIND(hh, v->known, look->bytes, look->len, k);
	v->last = k ?: v->last;
	return k;
}

const ProtobufCMessage *opts_view_find(struct opts_view *v, int fd, bool v6, struct opts_look *look)
{
	struct known_opts *k = NULL;

	pthread_mutex_lock(&v->lock);
	if (look_at_socket(v, fd, v6 ? v->size_v6 : v->size, look))
		look->len = 0;
	else
		k = find_known(v, look);
	pthread_mutex_unlock(&v->lock);
	return k ? k->m : NULL;
}

static const ProtobufCMessage *copy_message(struct arena *a, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *packed = arena_alloc(a, len + 1);

	protobuf_c_message_pack(m, packed);
	return protobuf_c_message_unpack(m->descriptor, arena_pb(a), len, packed);
}

static void add_known(struct opts_view *v, const struct opts_look *look, const ProtobufCMessage *m)
{
	struct known_opts *k = find_known(v, look);

	if (k) /* two threads have asked two sockets that are the same */
		return;
	k = arena_new_of(v->arena, struct known_opts);
	k->m = copy_message(v->arena, m);
	if (!k->m)
		return;
	HASH_ADD_KEYPTR_IN(v->arena, hh, v->known, arena_memdup(v->arena, look->bytes, look->len), look->len, k);
	v->n_known++;
}

void opts_view_keep(struct opts_view *v, const struct opts_look *look, const ProtobufCMessage *m)
{
	pthread_mutex_lock(&v->lock);
	if (look->len && v->n_known < KNOWN_MAX)
		add_known(v, look, m);
	pthread_mutex_unlock(&v->lock);
}

/* ---- sockets whose options are all in struct sock ---- */

/* To look into the kernel takes as long as to ask for the options of 100 to 250 sockets: when so many have been seen.
 */
#define FIRST 200

const char *const opts_view_not_options[] = {
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
	NULL,
};

static const struct opts_layout sock_layout = {
	.type = "sock",
	.members = (const struct opts_members[]) { { .type = "sock", .names = opts_view_not_options }, { 0 } },
};

struct sock_view {
	struct opts_view *view; /* NULL: not here, or not yet */
	bool tried;
	size_t n; /* sockets seen */
};

static void end_view(struct dump *d);

const struct subsys opts_view_subsys = { .name = "options of sockets in the kernel's memory",
	                                 .state = { .dump = sizeof(struct sock_view) },
	                                 .end = end_view };

static void end_view(struct dump *d)
{
	struct sock_view *s = dump_state(d, &opts_view_subsys);

	opts_view_close(move_ptr(s->view));
}

int sock_opts_view_dump(struct dump *d, const struct fd_info *info, SkOptsEntry **optsp)
{
	struct sock_view *s = dump_state(d, &opts_view_subsys);
	const ProtobufCMessage *m = NULL;
	struct opts_look look = { .len = 0 };
	int err;

	if (!s->tried && ++s->n > FIRST) {
		s->view = opts_view_open(&sock_layout);
		s->tried = true;
	}
	if (s->view)
		m = opts_view_find(s->view, info->fd, false, &look);
	if (m) {
		*optsp = (SkOptsEntry *)m;
		sock_opts_warn(info, *optsp);
		return 0;
	}
	err = sock_opts_dump(d->arena, info, optsp);
	if (!err && s->view)
		opts_view_keep(s->view, &look, &(*optsp)->base);
	return err;
}
