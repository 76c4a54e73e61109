/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "fd/epoll_view.h"
#include "lib/arena_hash.h"
#include "lib/kernel_view.h"
#include "lib/log.h"
#include "tree/subsys.h"
#include "tree/task.h"

#define ITEM_MAX  512 /* of a struct epitem */
#define DEPTH_MAX 128 /* of a balanced tree; more is not believed */

/* Where members lie. */
struct places {
	int private_data, root, node, right, left, file, fd, ready, size;
};

struct known_description {
	kaddr_t file;
	uint32_t id;
	UT_hash_handle hh;
};

struct epoll_view {
	struct kernel_view *view; /* NULL: not here */
	bool tried;
	struct places k;
	struct known_description *known;
};

const struct subsys epoll_view_subsys = { .name = "epoll instances in the kernel's memory",
	                                  .state = { .dump = sizeof(struct epoll_view) } };

static int find_places(const struct btf_types *b, struct places *k)
{
	const struct {
		const char *type, *path;
		int *to;
	} list[] = {
		{ "file", "private_data", &k->private_data },
		{ "eventpoll", "rbr.rb_root.rb_node", &k->root },
		{ "epitem", "rbn", &k->node },
		{ "rb_node", "rb_right", &k->right },
		{ "rb_node", "rb_left", &k->left },
		{ "epitem", "ffd.file", &k->file },
		{ "epitem", "ffd.fd", &k->fd },
		{ "epitem", "rdllink.next", &k->ready },
	};

	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		*list[i].to = btf_offset(b, list[i].type, list[i].path);
		if (*list[i].to < 0)
			return -ENOENT;
	}
	k->size = btf_size(b, "epitem");
	return k->size <= 0 || k->size > ITEM_MAX ? -ENOENT : 0;
}

/* ---- descriptions of the tree ---- */

static int add_table(struct dump *d, struct epoll_view *s, const struct task *t)
{
	_cleanup_free_ kaddr_t *files = NULL;
	kaddr_t table;
	size_t n;
	int err = kernel_table_of(s->view, t->dump->pidfd, &table, &files, &n);

	for (size_t i = 0; i < t->n_fds && !err; i++) {
		kaddr_t file = t->fds[i]->fd < n ? files[t->fds[i]->fd] : 0;
		struct known_description *known;

		HASH_FIND(hh, s->known, &file, sizeof(file), known);
		if (!file || known)
			continue;
		known = arena_new_of(d->arena, struct known_description);
		*known = (struct known_description) { .file = file, .id = t->fds[i]->id };
		HASH_ADD_IN(d->arena, hh, s->known, file, sizeof(file), known);
	}
	return err;
}

static int open_view(struct dump *d, struct epoll_view *s)
{
	const char *call = "the kernel's types";
	int err = kernel_view_open(&s->view, &call);

	err = err ?: find_places(kernel_types(s->view), &s->k);
	for (size_t i = 0; i < d->tree.n_tasks && !err; i++) {
		const struct task *t = d->tree.tasks[i];

		if (t->state != TASK_DEAD && t->dump && tree_first_files(&d->tree, t) == t)
			err = add_table(d, s, t);
	}
	if (err)
		log_debug("epoll: the kernel's memory cannot be looked at: %s: %s", call, strerror(-err));
	if (err)
		kernel_view_close(move_ptr(s->view));
	return err;
}

void epoll_view_end(struct dump *d)
{
	struct epoll_view *s = dump_state(d, &epoll_view_subsys);

	kernel_view_close(move_ptr(s->view));
}

/* ---- targets ---- */

static kaddr_t pointer_at(const uint8_t *item, int offset)
{
	kaddr_t v;

	memcpy(&v, item + offset, sizeof(v));
	return v;
}

static void add_target(struct dump *d, const struct epoll_view *s, kaddr_t at, const uint8_t *item,
                       struct epoll_view_target **out, size_t *n)
{
	kaddr_t file = pointer_at(item, s->k.file);
	struct known_description *known;
	struct epoll_view_target t = { .ready = pointer_at(item, s->k.ready) != kaddr_plus(at, s->k.ready) };

	HASH_FIND(hh, s->known, &file, sizeof(file), known);
	t.file_id = known ? known->id : 0;
	memcpy(&t.tfd, item + s->k.fd, sizeof(t.tfd));
	arena_push(d->arena, out, n, t);
}

/* A tree of items, in order: to the left as far as it goes, the item, its right side. */
static int walk_items(struct dump *d, const struct epoll_view *s, kaddr_t node, struct epoll_view_target **out,
                      size_t *n)
{
	struct {
		kaddr_t at;
		uint8_t bytes[ITEM_MAX];
	} above[DEPTH_MAX];
	int depth = 0, err = 0;

	while (!err && (node || depth)) {
		if (!node) {
			depth--;
			add_target(d, s, above[depth].at, above[depth].bytes, out, n);
			node = pointer_at(above[depth].bytes, s->k.node + s->k.right);
			continue;
		}
		if (depth == DEPTH_MAX || *n > UINT16_MAX * 16UL)
			return -EBADMSG;
		above[depth].at = node - (unsigned)s->k.node;
		err = kernel_read(s->view, above[depth].at, above[depth].bytes, (unsigned)s->k.size);
		node = err ? 0 : pointer_at(above[depth].bytes, s->k.node + s->k.left);
		depth++;
	}
	return err;
}

int epoll_view_targets(struct dump *d, int efd, struct epoll_view_target **out, size_t *n)
{
	struct epoll_view *s = dump_state(d, &epoll_view_subsys);
	kaddr_t at;
	int err = 0;

	*out = NULL;
	*n = 0;
	if (!s->tried)
		err = open_view(d, s);
	s->tried = true;
	if (err || !s->view)
		return err ?: -ENOTSUP;
	err = kernel_file_of(s->view, efd, &at);
	err = err ?: kernel_read_pointer(s->view, kaddr_plus(at, s->k.private_data), &at);
	err = err ?: kernel_read_pointer(s->view, kaddr_plus(at, s->k.root), &at);
	return err ?: walk_items(d, s, at, out, n);
}
