/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/ns_given.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/message.h"
#include "netdev.pb-c.h"
#include "options/inherited.h"
#include "pidns.pb-c.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"
#include "tree/ns_kind.h"
#include "tree/subsys.h"

extern const struct subsys ns_given_subsys;

/* What of a namespace others outside make and fill, and that a tree can be in all the same. */
static bool can_be_given(const struct ns_type *type)
{
	return type->flag != CLONE_NEWCGROUP;
}

/* ---- dump ---- */

/* "net[4026531840]:KEY"; the key may be missing: then it is what stands before. */
const char *ns_given_key(const struct options *o, const struct ns_type *type, uint64_t ino)
{
	char name[64];
	size_t len = (size_t)snprintf(name, sizeof(name), "%s[%" PRIu64 "]", type->name, ino);

	for (size_t i = 0; can_be_given(type) && i < o->n_external; i++) {
		const char *text = o->external[i];

		if (!strncmp(text, name, len) && (!text[len] || text[len] == ':'))
			return text[len] && text[len + 1] ? text + len + 1 : text;
	}
	return NULL;
}

static InventoryNs *new_note(struct dump *d, const struct ns *ns)
{
	InventoryNs *m = arena_msg(d->arena, InventoryNs, inventory_ns);

	m->has_type = m->has_id = true;
	m->type = ns->type->flag;
	m->id = ns->id;
	return m;
}

/* CRIU knows external network and pid namespaces alone, and would make others with what is in there. */
static int write_key(struct dump *d, const struct ns *ns)
{
	char *key = arena_strdup(d->arena, ns->external);
	InventoryNs *m = new_note(d, ns);
	NetnsEntry net = NETNS_ENTRY__INIT;
	PidnsEntry pid = PIDNS_ENTRY__INIT;

	m->key = key;
	arena_push(d->arena, &d->inventory->external_ns, &d->inventory->n_external_ns, m);
	net.ext_key = pid.ext_key = key;
	if (ns->type->flag == CLONE_NEWNET)
		return image_write_one(d->dir, IMG_NETNS, ns->id, &net);
	if (ns->type->flag == CLONE_NEWPID)
		return image_write_one(d->dir, IMG_PIDNS, ns->id, &pid);
	inventory_only_ours(d);
	return 0;
}

/* Files of criu's own mounts are looked for in criu's, whichever that is. */
static int ns_given_collect(struct dump *d)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < NAMESPACE_TYPES && i < ids->n; i++)
		if (ids->all[i].external && ids->all[i].type->flag == CLONE_NEWNS)
			log_refusal(-ENOTSUP,
			            "--external mnt[%" PRIu64
			            "]: is criu's own mount namespace, in which files are looked "
			            "for anyway; leave it out, and run the restore in another one (nsenter -m)",
			            ids->all[i].ino);
	return 0;
}

static int ns_given_write(struct dump *d)
{
	const struct ns_ids *ids = ns_ids_all(d);
	int err = 0;

	for (size_t i = 0; !err && i < ids->n; i++)
		if (ids->all[i].external)
			err = write_key(d, &ids->all[i]);
	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].pid < 0 && (ids->all[i].external || ids->all[i].type->flag & NAMESPACES_WITHOUT_TASKS))
			arena_push(d->arena, &d->inventory->held_ns, &d->inventory->n_held_ns,
			           new_note(d, &ids->all[i]));
	return err;
}

/* ---- restore ---- */

struct given_ns {
	const struct ns_type *type;
	uint32_t id;
	const char *key, *join; /* one of them */
	const char *extra;      /* of join: what stands behind its comma; NULL: nothing */
	int fd;
};

struct given_all {
	bool listed;
	struct given_ns *v;
	size_t n;
};

static struct given_all *given_of(const struct restore *r)
{
	return restore_state(r, &ns_given_subsys);
}

static struct given_ns *find_given(struct given_all *all, const struct ns_type *type, uint32_t id)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].type == type && all->v[i].id == id)
			return &all->v[i];
	return NULL;
}

static void add_given(const struct restore *r, const struct ns_type *type, uint32_t id, const char *key,
                      const char *join, const char *extra)
{
	struct given_all *all = given_of(r);
	const struct given_ns given = { type, id, key, join, extra, -1 };
	struct given_ns *there = find_given(all, type, id);

	if (there)
		*there = given; /* --join-ns counts more than what the images say */
	else
		arena_push(r->arena, &all->v, &all->n, given);
}

/* Checkpoints of CRIU's. An image that cannot be read is told of where its namespace is made. */
static const char *key_of_image(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	PidnsEntry *pid = NULL;
	NetnsEntry *net = NULL;

	if (type->flag == CLONE_NEWPID)
		return image_read_one(r->dir, IMG_PIDNS, id, r->arena, &pid) ? NULL : pid->ext_key;
	return image_read_one(r->dir, IMG_NETNS, id, r->arena, &net) ? NULL : net->ext_key;
}

static void list_images(const struct restore *r)
{
	static const uint32_t flags[] = { CLONE_NEWPID, CLONE_NEWNET };

	for (size_t k = 0; k < ARRAY_SIZE(flags); k++) {
		const struct ns_type *type = ns_type_of_flag(flags[k]);
		uint32_t last = 0;

		for (size_t i = 0; i < r->tree.n_tasks; i++) {
			const struct task *t = r->tree.tasks[i];
			uint32_t id = t->ids ? message_get_u32(t->ids, type->field) : 0;
			const char *key = id && id != last ? key_of_image(r, type, id) : NULL;

			last = id ?: last;
			if (key)
				add_given(r, type, id, key, NULL, NULL);
		}
	}
}

/* "ipc:123", "net:/run/netns/a"; what may stand behind a comma is for user namespaces. */
static const struct ns_type *parse_join(const struct restore *r, const char *text, const char **path,
                                        const char **extra)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	char *where;

	for (size_t i = 0; i < NAMESPACE_TYPES; i++) {
		const struct ns_type *type = &ns_types[i];

		if (!len || strlen(type->name) != len || strncmp(text, type->name, len) || !colon[1])
			continue;
		where = arena_strdup(r->arena, colon + 1);
		*extra = strchr(where, ',') ? strchr(where, ',') + 1 : NULL;
		where[strcspn(where, ",")] = '\0';
		*path = strspn(where, "0123456789") == strlen(where)
		            ? arena_printf(r->arena, "/proc/%s/ns/%s", where, type->name)
		            : where;
		return type;
	}
	return NULL;
}

static void list_joins(const struct restore *r)
{
	const TaskKobjIdsEntry *root = r->tree.tasks[0]->ids;

	for (size_t i = 0; i < r->opts->n_join_ns; i++) {
		const char *text = r->opts->join_ns[i], *path = NULL, *extra = NULL;
		const struct ns_type *type = parse_join(r, text, &path, &extra);

		if (!type)
			log_refusal(-EINVAL, "--join-ns %s: NS:PID or NS:FILE is expected, like ipc:1234", text);
		else if (!can_be_given(type) || type->flag == CLONE_NEWPID)
			log_refusal(-ENOTSUP,
			            "--join-ns %s: %s namespaces cannot be joined (uts, ipc, net, mnt, user and "
			            "time can%s)",
			            text, type->name,
			            type->flag == CLONE_NEWPID ? "; for pid: --external at dump, and --inherit-fd"
			                                       : "");
		else if (extra && type->flag != CLONE_NEWUSER)
			log_refusal(-EINVAL, "--join-ns %s: only a user namespace takes what stands behind the comma",
			            text);
		else if (!root)
			log_refusal(-EINVAL, "--join-ns %s: the images do not say in which namespaces the tree was",
			            text);
		else
			add_given(r, type, message_get_u32(root, type->field), NULL, path, extra);
	}
}

static struct given_all *list_given(const struct restore *r)
{
	struct given_all *all = given_of(r);
	const InventoryEntry *inv = r->inventory;

	if (all->listed || !r->tree.n_tasks)
		return all;
	all->listed = true;
	list_images(r);
	for (size_t i = 0; inv && i < inv->n_external_ns; i++) {
		const InventoryNs *m = inv->external_ns[i];
		const struct ns_type *type = ns_type_of_flag(m->type);

		if (type && can_be_given(type) && m->id && m->key)
			add_given(r, type, m->id, m->key, NULL, NULL);
		else
			log_refusal(-EBADMSG, "inventory.img: an external namespace is impossible");
	}
	list_joins(r);
	return all;
}

static bool is_used(const struct restore *r, const struct given_ns *g)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i]->ids && message_get_u32(r->tree.tasks[i]->ids, g->type->field) == g->id)
			return true;
	return ns_ids_is_held(r, g->type, g->id) || (g->key && inherited_fd(r->opts, g->key) >= 0);
}

static int refuse_given(const struct given_ns *g, int err, const char *why)
{
	if (g->join)
		return log_refusal(err, "--join-ns %s:%s: %s", g->type->name, g->join, why);
	return log_refusal(err, "the tree was in an external %s namespace (number %u, key %s): %s", g->type->name,
	                   g->id, g->key, why);
}

static int open_given(const struct restore *r, struct given_ns *g)
{
	const struct ns_kind *kind = ns_kind_of(g->type->flag);
	int theirs = g->key ? inherited_fd(r->opts, g->key) : -1;

	if (!kind)
		return refuse_given(g, -ENOTSUP, "that is not supported yet for this type");
	if (g->key && theirs < 0)
		return refuse_given(g, -ENOENT,
		                    arena_printf(r->arena, "give another one by --inherit-fd 'fd[N]:%s'", g->key));
	g->fd = g->key ? fcntl(theirs, F_DUPFD_CLOEXEC, 3) : open(g->join, O_RDONLY | O_CLOEXEC);
	if (g->fd < 0)
		return refuse_given(
		    g, -errno,
		    arena_printf(r->arena, "%s: %s", g->key ? "fcntl(F_DUPFD_CLOEXEC)" : "open", strerror(errno)));
	if (ioctl(g->fd, NS_GET_NSTYPE) != (int)g->type->flag)
		return refuse_given(g, -EINVAL, "what was given is no namespace of this type");
	return 0;
}

/* Before all others look. */
static int ns_given_read(struct restore *r)
{
	struct given_all *all = list_given(r);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		if (is_used(r, &all->v[i]))
			err = open_given(r, &all->v[i]);
	return err ?: log_refusals() ? -EINVAL : 0;
}

int ns_given_fd(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	const struct given_ns *g = find_given(list_given(r), type, id);

	return g ? g->fd : -1;
}

const char *ns_given_extra(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	const struct given_ns *g = find_given(list_given(r), type, id);

	return g ? g->extra : NULL;
}

bool ns_given_takes(const struct restore *r, const char *key)
{
	const struct given_all *all = list_given(r);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].key && !strcmp(all->v[i].key, key))
			return true;
	return false;
}

/* After a failure they are needed to take back what was done in them; then criu ends. */
static void ns_given_committed(struct restore *r)
{
	struct given_all *all = given_of(r);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].fd >= 0)
			close(all->v[i].fd);
	all->n = 0;
}

const struct subsys ns_given_subsys = {
	.name = "namespaces that are given",
	.state = { .restore = sizeof(struct given_all) },
	.collect = ns_given_collect,
	.write_images = ns_given_write,
	.read_images = ns_given_read,
	.committed = ns_given_committed,
};
