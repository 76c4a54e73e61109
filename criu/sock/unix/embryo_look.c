/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/stat.h>

#include "lib/kernel_view.h"
#include "sock/unix/embryo_look.h"

/* Of what the kernel says: more is not believed. */
#define CLIENTS_MAX  (1U << 16)
#define MESSAGES_MAX (1U << 20)
#define LENGTH_MAX   (1U << 28)
#define GROUPS_MAX   65536U
#define STRUCT_MAX   4096
#define FRAGS_MAX    64

/* Where members lie. */
struct places {
	int file_private, sk, queue, next, skb_sk, oob_skb, peer_pid, peer_cred, peer, socket, inode;
	int pid_level, pid_numbers, upid_nr, upid_ns, ns_inum, euid, egid, group_info, n_groups, groups;
	int len, data_len, data, head, end, cb, cb_pid, cb_uid, cb_gid, cb_fp;
	int nr_frags, frag_list, frags, frag_page, frag_len, frag_offset;
	int size_sock, size_skb, size_upid, size_frag;
};

struct embryo_look {
	struct arena *arena;
	struct kernel_view *view;
	struct places k;
	uint32_t pid_ns; /* whose numbers are wanted, by its inode */
};

static uint32_t get_u32(const uint8_t *p, int at)
{
	uint32_t v;

	memcpy(&v, p + at, sizeof(v));
	return v;
}

static uint64_t get_u64(const uint8_t *p, int at)
{
	uint64_t v;

	memcpy(&v, p + at, sizeof(v));
	return v;
}

/* ---- places ---- */

struct place {
	const char *type, *path; /* no path: the size */
	int *to;
	const char *older; /* the path before Linux 6.x */
};

static int find_list(const struct btf_types *b, const struct place *list, size_t n, const char **missing)
{
	for (size_t i = 0; i < n; i++) {
		*list[i].to = list[i].path ? btf_offset(b, list[i].type, list[i].path) : btf_size(b, list[i].type);
		if (*list[i].to < 0 && list[i].older)
			*list[i].to = btf_offset(b, list[i].type, list[i].older);
		*missing = list[i].path ?: list[i].type;
		if (*list[i].to < 0)
			return -ENOENT;
	}
	return 0;
}

static int find_places(const struct btf_types *b, struct places *k, const char **missing)
{
	const struct place list[] = {
		{ "file", "private_data", &k->file_private, NULL },
		{ "socket", "sk", &k->sk, NULL },
		{ "unix_sock", NULL, &k->size_sock, NULL },
		{ "sock", "sk_receive_queue.next", &k->queue, NULL },
		{ "sock", "sk_peer_pid", &k->peer_pid, NULL },
		{ "sock", "sk_peer_cred", &k->peer_cred, NULL },
		{ "sock", "sk_socket", &k->socket, NULL },
		{ "unix_sock", "peer", &k->peer, NULL },
		{ "socket_alloc", "vfs_inode.i_ino", &k->inode, NULL },
		{ "pid", "level", &k->pid_level, NULL },
		{ "pid", "numbers", &k->pid_numbers, NULL },
		{ "upid", NULL, &k->size_upid, NULL },
		{ "upid", "nr", &k->upid_nr, NULL },
		{ "upid", "ns", &k->upid_ns, NULL },
		{ "pid_namespace", "ns.inum", &k->ns_inum, NULL },
		{ "cred", "euid", &k->euid, NULL },
		{ "cred", "egid", &k->egid, NULL },
		{ "cred", "group_info", &k->group_info, NULL },
		{ "group_info", "ngroups", &k->n_groups, NULL },
		{ "group_info", "gid", &k->groups, NULL },
		{ "sk_buff", NULL, &k->size_skb, NULL },
		{ "sk_buff", "next", &k->next, NULL },
		{ "sk_buff", "sk", &k->skb_sk, NULL },
		{ "sk_buff", "cb", &k->cb, NULL },
		{ "sk_buff", "len", &k->len, NULL },
		{ "sk_buff", "data_len", &k->data_len, NULL },
		{ "sk_buff", "data", &k->data, NULL },
		{ "sk_buff", "head", &k->head, NULL },
		{ "sk_buff", "end", &k->end, NULL },
		{ "unix_skb_parms", "pid", &k->cb_pid, NULL },
		{ "unix_skb_parms", "uid", &k->cb_uid, NULL },
		{ "unix_skb_parms", "gid", &k->cb_gid, NULL },
		{ "unix_skb_parms", "fp", &k->cb_fp, NULL },
		{ "skb_shared_info", "nr_frags", &k->nr_frags, NULL },
		{ "skb_shared_info", "frag_list", &k->frag_list, NULL },
		{ "skb_shared_info", "frags", &k->frags, NULL },
	};
	int err = find_list(b, list, ARRAY_SIZE(list), missing);

	/* Only where the kernel knows MSG_OOB on unix sockets. */
	k->oob_skb = btf_offset(b, "unix_sock", "oob_skb");
	if (!err && (k->size_sock > STRUCT_MAX || k->size_skb > STRUCT_MAX))
		err = -ENOENT;
	return err;
}

/* A piece of a message in a page: a struct of its own, or a struct bio_vec (before Linux 6.9). */
static int find_frag(const struct btf_types *b, struct places *k, const char **missing)
{
	const struct place list[] = {
		{ "skb_frag", NULL, &k->size_frag, NULL },
		{ "skb_frag", "netmem", &k->frag_page, NULL },
		{ "skb_frag", "len", &k->frag_len, NULL },
		{ "skb_frag", "offset", &k->frag_offset, NULL },
	};
	const struct place older[] = {
		{ "bio_vec", NULL, &k->size_frag, NULL },
		{ "bio_vec", "bv_page", &k->frag_page, NULL },
		{ "bio_vec", "bv_len", &k->frag_len, NULL },
		{ "bio_vec", "bv_offset", &k->frag_offset, NULL },
	};

	return find_list(b, list, ARRAY_SIZE(list), missing) ? find_list(b, older, ARRAY_SIZE(older), missing) : 0;
}

int embryo_look_start(struct arena *a, pid_t pid, struct embryo_look **out, const char **why)
{
	struct embryo_look *l = arena_new_of(a, struct embryo_look);
	const char *what;
	char path[32];
	struct stat st;
	int err;

	l->arena = a;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	if (stat(path, &st)) {
		err = -errno;
		*why = arena_printf(a, "%s: stat: %s", path, strerror(-err));
		return err;
	}
	l->pid_ns = (uint32_t)st.st_ino;
	err = kernel_view_open(&l->view, &what);
	if (err) {
		*why = arena_printf(a, "%s: %s", what, strerror(-err));
		return err;
	}
	err = find_places(kernel_types(l->view), &l->k, &what) ?: find_frag(kernel_types(l->view), &l->k, &what);
	if (err) {
		*why = arena_printf(a, "the kernel's types (BTF) have no %s", what);
		embryo_look_end(l);
		return err;
	}
	*out = l;
	return 0;
}

void embryo_look_end(struct embryo_look *l)
{
	kernel_view_close(move_ptr(l->view));
}

/* ---- who ---- */

/* The number of a struct pid in criu's own namespace; 0: it has none there. */
static int read_pid(struct embryo_look *l, kaddr_t pid, pid_t *out)
{
	const struct places *k = &l->k;
	uint8_t numbers[4 * STRUCT_MAX];
	uint32_t level, inum;
	int err;

	*out = 0;
	if (!pid)
		return 0;
	err = kernel_read(l->view, kaddr_plus(pid, k->pid_level), &level, sizeof(level));
	if (err || level > 32)
		return err ?: -EBADMSG;
	err = kernel_read(l->view, kaddr_plus(pid, k->pid_numbers), numbers, (level + 1) * (unsigned)k->size_upid);
	for (int i = 0; i <= (int)level && !err && !*out; i++) {
		kaddr_t ns = get_u64(numbers, i * k->size_upid + k->upid_ns);

		err = kernel_read(l->view, kaddr_plus(ns, k->ns_inum), &inum, sizeof(inum));
		if (!err && inum == l->pid_ns)
			*out = (pid_t)get_u32(numbers, i * k->size_upid + k->upid_nr);
	}
	return err;
}

static int read_cred(struct embryo_look *l, kaddr_t cred, struct embryo *e)
{
	const struct places *k = &l->k;
	kaddr_t groups;
	uint32_t *list;
	int err = kernel_read(l->view, kaddr_plus(cred, k->euid), &e->uid, sizeof(e->uid));

	err = err ?: kernel_read(l->view, kaddr_plus(cred, k->egid), &e->gid, sizeof(e->gid));
	err = err ?: kernel_read_pointer(l->view, kaddr_plus(cred, k->group_info), &groups);
	err = err ?: kernel_read(l->view, kaddr_plus(groups, k->n_groups), &e->n_groups, sizeof(e->n_groups));
	if (!err && e->n_groups > GROUPS_MAX)
		err = -EBADMSG;
	if (err || !e->n_groups)
		return err;
	e->groups = list = arena_array(l->arena, uint32_t, e->n_groups);
	return kernel_read(l->view, kaddr_plus(groups, k->groups), list, e->n_groups * sizeof(*list));
}

/* ---- what was sent ---- */

/* What does not lie in the message's first piece. */
static int read_pages(struct embryo_look *l, const uint8_t *skb, uint8_t *to, uint32_t left)
{
	const struct places *k = &l->k;
	kaddr_t info = get_u64(skb, k->head) + get_u32(skb, k->end), more;
	uint8_t n, frags[FRAGS_MAX * 64];
	int err = kernel_read(l->view, kaddr_plus(info, k->nr_frags), &n, sizeof(n));

	err = err ?: kernel_read_pointer(l->view, kaddr_plus(info, k->frag_list), &more);
	if (err || more || n > FRAGS_MAX || k->size_frag > 64)
		return err ?: -ENOTSUP;
	err = kernel_read(l->view, kaddr_plus(info, k->frags), frags, n * (unsigned)k->size_frag);
	for (int i = 0; i < n && !err; i++) {
		const uint8_t *f = frags + i * k->size_frag;
		uint32_t len = get_u32(f, k->frag_len);

		if (len > left)
			return -EBADMSG;
		err = kernel_read_page(l->view, get_u64(f, k->frag_page), get_u32(f, k->frag_offset), to, len);
		to += len;
		left -= len;
	}
	return err ?: left ? -EBADMSG : 0;
}

static int read_message(struct embryo_look *l, const uint8_t *skb, bool oob, struct embryo_message *m)
{
	const struct places *k = &l->k;
	const uint8_t *cb = skb + k->cb;
	uint32_t paged = get_u32(skb, k->data_len);
	uint8_t *bytes;
	int err;

	*m = (struct embryo_message) { .len = get_u32(skb, k->len),
		                       .oob = oob,
		                       .has_rights = get_u64(cb, k->cb_fp) != 0,
		                       .uid = get_u32(cb, k->cb_uid),
		                       .gid = get_u32(cb, k->cb_gid) };
	if (m->len > LENGTH_MAX || paged > m->len)
		return -EBADMSG;
	bytes = arena_alloc(l->arena, m->len + 1UL);
	err = read_pid(l, get_u64(cb, k->cb_pid), &m->pid);
	err = err ?: kernel_read(l->view, get_u64(skb, k->data), bytes, m->len - paged);
	if (err || !paged) {
		m->bytes = bytes;
		return err;
	}
	err = read_pages(l, skb, bytes + m->len - paged, paged);
	if (!err)
		m->bytes = bytes;
	return err == -ENOTSUP ? 0 : err;
}

static int read_embryo(struct embryo_look *l, kaddr_t at, struct embryo *e)
{
	const struct places *k = &l->k;
	kaddr_t end = kaddr_plus(at, k->queue), skb, peer, oob = 0, socket = 0;
	uint8_t sock[STRUCT_MAX], buf[STRUCT_MAX];
	uint64_t ino = 0;
	int err = kernel_read(l->view, at, sock, (unsigned)k->size_sock);

	err = err ?: read_pid(l, get_u64(sock, k->peer_pid), &e->pid);
	err = err ?: read_cred(l, get_u64(sock, k->peer_cred), e);
	peer = err ? 0 : get_u64(sock, k->peer);
	if (peer)
		err = kernel_read_pointer(l->view, kaddr_plus(peer, k->socket), &socket);
	if (!err && socket)
		err = kernel_read(l->view, kaddr_plus(socket, k->inode), &ino, sizeof(ino));
	e->client = (uint32_t)ino;
	if (!err && k->oob_skb >= 0)
		oob = get_u64(sock, k->oob_skb);
	for (skb = err ? end : get_u64(sock, k->queue); skb != end && !err; skb = get_u64(buf, k->next)) {
		struct embryo_message m;

		if (e->n_messages >= MESSAGES_MAX)
			return -EBADMSG;
		err = kernel_read(l->view, skb, buf, (unsigned)k->size_skb);
		err = err ?: read_message(l, buf, skb == oob, &m);
		if (!err)
			arena_push(l->arena, &e->messages, &e->n_messages, m);
	}
	return err;
}

static int read_listener(struct embryo_look *l, int listener, struct embryo **out, size_t *n)
{
	const struct places *k = &l->k;
	uint8_t buf[STRUCT_MAX];
	kaddr_t at, end = 0, skb = 0;
	int err = kernel_file_of(l->view, listener, &at);

	err = err ?: kernel_read_pointer(l->view, kaddr_plus(at, k->file_private), &at);
	err = err ?: kernel_read_pointer(l->view, kaddr_plus(at, k->sk), &at);
	if (!err) {
		end = kaddr_plus(at, k->queue);
		err = kernel_read_pointer(l->view, end, &skb);
	}
	for (; !err && skb != end; skb = get_u64(buf, k->next)) {
		struct embryo e = { 0 };

		if (*n >= CLIENTS_MAX)
			return -EBADMSG;
		err = kernel_read(l->view, skb, buf, (unsigned)k->size_skb);
		err = err ?: read_embryo(l, get_u64(buf, k->skb_sk), &e);
		if (!err)
			arena_push(l->arena, out, n, e);
	}
	return err;
}

int embryo_look_at(struct embryo_look *l, int listener, struct embryo **out, size_t *n, const char **why)
{
	int err;

	*out = NULL;
	*n = 0;
	err = read_listener(l, listener, out, n);
	if (err)
		*why = arena_printf(l->arena, "reading the kernel's memory: %s", strerror(-err));
	return err;
}
