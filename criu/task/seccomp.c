/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Seccomp: strict mode and filters, seccomp(2). Filters are read with ptrace, oldest first, and stand once each in
 * a table with the index of the filter below, so that threads and tasks with the same chain share its entries. CRIU's
 * image has each chain by itself, from the newest to the oldest: `prev` of a filter is the one that was installed next,
 * and a thread names the oldest.
 * While criu holds the tasks, filters are suspended (PTRACE_O_SUSPEND_SECCOMP).
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "arch/arch_abi.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "lib/arena_hash.h"
#include "seccomp.pb-c.h"
#include "task/answer.h"
#include "tree/inventory.h"

#define NO_FILTER  UINT32_MAX
/* What the kernel tells of a filter (PTRACE_SECCOMP_GET_METADATA). */
#define KEPT_FLAGS SECCOMP_FILTER_FLAG_LOG
/*
 * Of flags in an image, those that belong to the filter and not to the call that installed it. (It is installed for all
 * threads where they have it in common; a listener is a descriptor, which no filter of a checkpoint has.)
 */
#define CALL_FLAGS                                                                                                     \
	(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC_ESRCH |              \
	 SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)

extern const struct task_part seccomp_part;

/* ---- the table ---- */

/* Two filters are the same if the filter below, their flags and their program are. The key is all of it. */
struct seen_filter {
	uint32_t index;
	uint32_t *key;
	UT_hash_handle hh;
};

struct filters {
	struct seen_filter *by_key;
	SeccompEntry *table; /* prev is the filter below */
};

/* The index of a filter, which is added if it is not there yet. */
static uint32_t add_filter(struct arena *a, struct filters *all, uint32_t prev, const SeccompFilter *filter)
{
	size_t size = filter->filter.len, key_size = size + 2 * sizeof(uint32_t);
	_cleanup_free_ uint32_t *key = malloc(key_size);
	struct seen_filter *f = NULL;
	SeccompFilter *e;

	if (!key)
		abort();
	key[0] = prev;
	key[1] = filter->flags & ~(uint32_t)CALL_FLAGS;
	memcpy(key + 2, filter->filter.data, size);
	HASH_FIND(hh, all->by_key, key, key_size, f);
	if (f)
		return f->index;
	f = arena_new_of(a, struct seen_filter);
	f->key = arena_memdup(a, key, key_size);
	f->index = (uint32_t)all->table->n_seccomp_filters;
	HASH_ADD_KEYPTR_IN(a, hh, all->by_key, f->key, key_size, f);
	e = arena_msg(a, SeccompFilter, seccomp_filter);
	e->filter.data = (uint8_t *)(f->key + 2);
	e->filter.len = size;
	e->has_prev = prev != NO_FILTER;
	e->prev = e->has_prev ? prev : 0;
	e->flags = key[1];
	e->has_flags = e->flags != 0;
	arena_push(a, &all->table->seccomp_filters, &all->table->n_seccomp_filters, e);
	return f->index;
}

/* n times NO_FILTER. */
static uint32_t *no_filters(struct arena *a, size_t n)
{
	uint32_t *all = arena_alloc(a, (n + 1) * sizeof(*all));

	for (size_t i = 0; i < n; i++)
		all[i] = NO_FILTER;
	return all;
}

/* ---- dump ---- */

static struct filters *filters_of(struct dump *d)
{
	struct filters *f = dump_state(d, &seccomp_part);

	if (!f->table)
		f->table = arena_msg(d->arena, SeccompEntry, seccomp_entry);
	return f;
}

enum { NO_SUCH = 1, REFUSED = 2 };

/* REFUSED, or a negative errno; logged. */
static int filter_error(struct thread *th, unsigned i, int err)
{
	if (err == -EMEDIUMTYPE || err == -EACCES || err == -EINVAL || err == -EIO) {
		log_refusal(err, "%s: seccomp filter %u: ptrace(PTRACE_SECCOMP_GET_FILTER): %s", task_thread_name(th),
		            i,
		            err == -EACCES        ? "it takes CAP_SYS_ADMIN in the first user namespace, and "
		                                    "criu itself must have no filter"
		            : err == -EMEDIUMTYPE ? "the kernel has not kept its program"
		                                  : "the kernel was built without CONFIG_CHECKPOINT_RESTORE");
		return REFUSED;
	}
	return log_errno(err, "%s: seccomp filter %u: ptrace(PTRACE_SECCOMP_GET_FILTER)", task_thread_name(th), i);
}

/*
 * Whether it asks a supervisor, who has the listener: a descriptor in the tree is refused as such, one outside shows
 * nowhere. After a restore such a call would be ENOSYS.
 */
static bool asks_supervisor(const struct sock_filter *prog, long n)
{
	for (long i = 0; i < n; i++)
		if (prog[i].code == (BPF_RET | BPF_K) &&
		    (prog[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}

/* Filter number i from the oldest on. *index: of the filter below; then its own. NO_SUCH: there are fewer filters. */
static int dump_seccomp_filter(struct dump *d, struct thread *th, unsigned i, uint32_t *index)
{
	struct sock_filter prog[BPF_MAXINSNS];
	struct __ptrace_seccomp_metadata meta = { .filter_off = i };
	SeccompFilter filter = SECCOMP_FILTER__INIT;
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, th->tid, (void *)(uintptr_t)i, NULL);

	if (n < 0)
		return errno == ENOENT ? NO_SUCH : filter_error(th, i, -errno);
	if (n == 0 || n > BPF_MAXINSNS)
		return log_errno(-EPROTO, "%s: seccomp filter %u has %ld instructions", task_thread_name(th), i, n);
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, th->tid, (void *)(uintptr_t)i, prog) != n)
		return filter_error(th, i, -errno);
	if (asks_supervisor(prog, n)) {
		log_refusal(-EOPNOTSUPP,
		            "%s: seccomp filter %u asks a supervisor (SECCOMP_RET_USER_NOTIF), whose listener is lost "
		            "with the filter; start the program without one",
		            task_thread_name(th), i);
		return REFUSED;
	}
	if (ptrace(PTRACE_SECCOMP_GET_METADATA, th->tid, (void *)sizeof(meta), &meta) < 0)
		meta.flags = 0; /* before Linux 4.16 there were none */
	filter.flags = (uint32_t)meta.flags & KEPT_FLAGS;
	filter.filter = (ProtobufCBinaryData) { .data = (uint8_t *)prog, .len = (size_t)n * sizeof(*prog) };
	*index = add_filter(d->arena, filters_of(d), *index, &filter);
	return 0;
}

static int seccomp_peek(struct dump *d, struct thread *th)
{
	ThreadCoreEntry *core = th->core->thread_core;
	uint32_t mode = th->dump->status->seccomp;
	int err = 0;

	if (mode == SECCOMP_MODE_DISABLED)
		return 0;
	core->has_seccomp_mode = true;
	core->seccomp_mode = mode == SECCOMP_MODE_STRICT ? SECCOMP_MODE__strict : SECCOMP_MODE__filter;
	if (mode == SECCOMP_MODE_STRICT)
		return 0;
	core->seccomp_filter = NO_FILTER;
	for (unsigned i = 0; !err; i++)
		err = dump_seccomp_filter(d, th, i, &core->seccomp_filter);
	if (err != NO_SUCH)
		return err < 0 ? err : 0;
	core->has_seccomp_filter = core->seccomp_filter != NO_FILTER;
	return core->has_seccomp_filter
	           ? 0
	           : log_errno(-EPROTO, "%s: /proc reports a seccomp filter, but ptrace returned none",
	                       task_thread_name(th));
}

/* The chain up to a filter goes to the image; the index of its oldest one there. */
static uint32_t put_chain(struct dump *d, const SeccompEntry *table, SeccompEntry *image, uint32_t newest)
{
	const SeccompFilter *f = table->seccomp_filters[newest];

	for (bool first = true;; first = false) {
		SeccompFilter *e = arena_msg(d->arena, SeccompFilter, seccomp_filter);

		*e = *f;
		e->has_prev = !first;
		e->prev = first ? 0 : (uint32_t)image->n_seccomp_filters - 1;
		arena_push(d->arena, &image->seccomp_filters, &image->n_seccomp_filters, e);
		if (!f->has_prev)
			return (uint32_t)image->n_seccomp_filters - 1;
		f = table->seccomp_filters[f->prev];
	}
}

/* From here on the threads name filters of the image: their cores are written later. */
static int seccomp_write(struct dump *d)
{
	const struct filters *all = filters_of(d);
	SeccompEntry *image = arena_msg(d->arena, SeccompEntry, seccomp_entry);
	uint32_t *put = no_filters(d->arena, all->table->n_seccomp_filters);

	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		for (size_t j = 0; j < t->n_threads; j++) {
			ThreadCoreEntry *core = t->threads[j].core ? t->threads[j].core->thread_core : NULL;

			if (!core || !core->has_seccomp_filter)
				continue;
			if (put[core->seccomp_filter] == NO_FILTER)
				put[core->seccomp_filter] = put_chain(d, all->table, image, core->seccomp_filter);
			core->seccomp_filter = put[core->seccomp_filter];
		}
	}
	return image_write_one(d->dir, IMG_SECCOMP, 0, image);
}

/* ---- restore ---- */

/* The table, or NULL: the checkpoint has no seccomp.img. */
static const SeccompEntry *filters_in(const struct restore *r)
{
	return ((struct filters *)restore_state(r, &seccomp_part))->table;
}

static int check_filters(const SeccompEntry *image)
{
	for (size_t i = 0; i < image->n_seccomp_filters; i++) {
		const SeccompFilter *f = image->seccomp_filters[i];

		/* CRIU writes a filter before the filter that it names, or after: only a circle is an error. */
		if (!f->filter.len || f->filter.len % sizeof(struct sock_filter) ||
		    f->filter.len / sizeof(struct sock_filter) > BPF_MAXINSNS ||
		    (f->has_prev && f->prev >= image->n_seccomp_filters))
			return log_errno(-EINVAL, "seccomp.img: filter %zu is invalid", i);
	}
	return 0;
}

static bool has_filters(const ThreadCoreEntry *core)
{
	return core->has_seccomp_mode && core->seccomp_mode == SECCOMP_MODE__filter && core->has_seccomp_filter;
}

/* Adds the chain that begins with filter i of CRIU's image to the table; its newest one there. NO_FILTER: a circle. */
static uint32_t take_chain(struct restore *r, struct filters *all, const SeccompEntry *image, uint32_t i)
{
	uint32_t newest = NO_FILTER;

	for (size_t n = 0; n < image->n_seccomp_filters; n++) {
		const SeccompFilter *f = image->seccomp_filters[i];

		newest = add_filter(r->arena, all, newest, f);
		if (!f->has_prev)
			return newest;
		i = f->prev;
	}
	return NO_FILTER;
}

/* Whether CRIU had all threads get the chain of the leader: then they have none of their own in the images. */
static bool is_for_all_threads(const SeccompEntry *image, const ThreadCoreEntry *leader)
{
	return has_filters(leader) && leader->seccomp_filter < image->n_seccomp_filters &&
	       image->seccomp_filters[leader->seccomp_filter]->flags & SECCOMP_FILTER_FLAG_TSYNC;
}

static void give_leaders(const SeccompEntry *image, const struct task *t)
{
	const ThreadCoreEntry *leader = t->threads[0].core->thread_core;

	for (size_t i = 1; i < t->n_threads && is_for_all_threads(image, leader); i++) {
		ThreadCoreEntry *core = t->threads[i].core->thread_core;

		if (core->has_seccomp_mode && core->seccomp_mode != SECCOMP_MODE__disabled)
			continue;
		core->has_seccomp_mode = core->has_seccomp_filter = true;
		core->seccomp_mode = SECCOMP_MODE__filter;
		core->seccomp_filter = leader->seccomp_filter;
	}
}

/* From here on the threads name filters of the table. Those that the image has not are refused by the check. */
static void take_filters(struct restore *r, struct filters *all, const SeccompEntry *image)
{
	uint32_t *taken = no_filters(r->arena, image->n_seccomp_filters);

	all->table = arena_msg(r->arena, SeccompEntry, seccomp_entry);
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state == TASK_DEAD)
			continue;
		give_leaders(image, t);
		for (size_t j = 0; j < t->n_threads; j++) {
			ThreadCoreEntry *core = t->threads[j].core->thread_core;
			uint32_t at = core->seccomp_filter;

			if (!has_filters(core))
				continue;
			if (at < image->n_seccomp_filters && taken[at] == NO_FILTER)
				taken[at] = take_chain(r, all, image, at);
			core->seccomp_filter = at < image->n_seccomp_filters ? taken[at] : NO_FILTER;
		}
	}
}

static int seccomp_read(struct restore *r)
{
	struct filters *all = restore_state(r, &seccomp_part);
	SeccompEntry *image = NULL;
	int err = image_read_one(r->dir, IMG_SECCOMP, 0, r->arena, &image) ?: check_filters(image);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (inventory_has_crius_numbers(r->inventory))
		take_filters(r, all, image);
	else
		all->table = image; /* our older ones have the table itself */
	return 0;
}

static const SeccompFilter *filter_below(const struct restore *r, const SeccompFilter *f)
{
	return f->has_prev ? filters_in(r)->seccomp_filters[f->prev] : NULL;
}

/* The filter that a thread installed last; NULL: none. */
static const SeccompFilter *newest_filter(const struct restore *r, const struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;

	return !has_filters(core) ? NULL : filters_in(r)->seccomp_filters[core->seccomp_filter];
}

static size_t chain_depth(const struct restore *r, const SeccompFilter *f)
{
	size_t n = 0;

	for (; f && n <= filters_in(r)->n_seccomp_filters; f = filter_below(r, f))
		n++;
	return n;
}

/* PTRACE_O_SUSPEND_SECCOMP takes CAP_SYS_ADMIN in the first user namespace; only its map has all ids in it. */
static bool in_first_namespace(void)
{
	_cleanup_free_ char *map = NULL;
	unsigned from = 1, to = 1, count = 0;

	return proc_read(AT_FDCWD, "/proc/self/uid_map", &map, NULL) ||
	       (sscanf(map, "%u %u %u", &from, &to, &count) == 3 && !from && !to && count == UINT32_MAX);
}

static bool has_seccomp(const struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;

	return core->has_seccomp_mode && core->seccomp_mode != SECCOMP_MODE__disabled;
}

static int seccomp_check(struct restore *r, const struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	bool told = !is_leader(th) && has_seccomp(&th->task->threads[0]);

	if (!has_seccomp(th))
		return 0;
	if (!told && !in_first_namespace())
		return log_refusal(
		    -EPERM,
		    "%s: has a seccomp filter, which can only be put back with CAP_SYS_ADMIN in the first "
		    "user namespace",
		    task_thread_name(th));
	if (!told && prctl(PR_GET_SECCOMP) > 0)
		return log_refusal(
		    -EPERM,
		    "%s: has a seccomp filter, and criu has one too, under which it cannot suspend others: "
		    "restore from outside of the sandbox",
		    task_thread_name(th));
	if (core->seccomp_mode != SECCOMP_MODE__filter)
		return 0;
	if (!filters_in(r) || !core->has_seccomp_filter || core->seccomp_filter >= filters_in(r)->n_seccomp_filters ||
	    chain_depth(r, newest_filter(r, th)) > filters_in(r)->n_seccomp_filters)
		return log_errno(-EINVAL,
		                 "%s: its seccomp filter is not in seccomp.img, or its filters stand on each other",
		                 task_thread_name(th));
	return 0;
}

/* The newest filter that all threads of a task have in common: installed for all at once, the kernel keeps one copy. */
static const SeccompFilter *common_filter(const struct restore *r, const struct task *t)
{
	const SeccompFilter *common = newest_filter(r, &t->threads[0]);

	for (size_t i = 1; common && i < t->n_threads; i++) {
		const SeccompFilter *f = newest_filter(r, &t->threads[i]);
		size_t n, m;

		if (f == common)
			continue;
		n = chain_depth(r, f);
		m = chain_depth(r, common);
		for (; n > m; n--)
			f = filter_below(r, f);
		for (; m > n; m--)
			common = filter_below(r, common);
		while (f != common) {
			f = filter_below(r, f);
			common = filter_below(r, common);
		}
	}
	return common;
}

/*
 * A thread's area is too small for most programs, so the leader's is used, which is idle then (and this thread's batch
 * runs before the leader's area is used again).
 */
static int install_filter(struct thread *th, struct batch *b, const SeccompFilter *f, uint32_t flags)
{
	struct batch *space = is_leader(th) ? b : agent_batch(th->task->threads[0].restore->agent, "seccomp filters");
	struct arch_sock_fprog prog = { .len = (uint16_t)(f->filter.len / sizeof(struct sock_filter)) };
	raddr_t at;

	batch_reserve(space, 1, f->filter.len + 16 + sizeof(prog));
	prog.filter = batch_data(space, f->filter.data, f->filter.len);
	at = batch_data(space, &prog, sizeof(prog));
	batch_call(b, SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | f->flags, at);
	return batch_run(b);
}

/* The filters above `from` up to `to`, oldest first. */
static int install_chain(struct restore *r, struct thread *th, struct batch *b, const SeccompFilter *from,
                         const SeccompFilter *to, uint32_t flags)
{
	size_t n = chain_depth(r, to) - chain_depth(r, from);
	_cleanup_free_ const SeccompFilter **chain = calloc(n + 1, sizeof(*chain));
	int err = 0;

	if (!chain)
		return -ENOMEM;
	for (size_t i = n; i-- > 0; to = filter_below(r, to))
		chain[i] = to;
	for (size_t i = 0; !err && i < n; i++)
		err = install_filter(th, b, chain[i], flags);
	return err;
}

/* Without privileges, no_new_privs allows filters; and installing a filter for all threads sets it in all of them. */
static void allow_filters(struct thread *th, struct batch *b)
{
	for (size_t i = 0; i < th->task->n_threads; i++) {
		const CredsEntry *creds = th->task->threads[i].core->thread_core->creds;

		if (!creds || !creds->no_new_privs)
			return;
	}
	batch_call(b, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
}

static int seccomp_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	const struct restore_task *rt = th->task->restore;
	uint32_t all = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
	int err = 0;

	if (!has_seccomp(th))
		return 0;
	if (core->seccomp_mode == SECCOMP_MODE__strict) {
		batch_call(b, SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, 0);
		return 0;
	}
	if (is_leader(th)) {
		th->task->restore->common_filter = common_filter(r, th->task);
		allow_filters(th, b);
		err = install_chain(r, th, b, NULL, rt->common_filter, th->task->n_threads > 1 ? all : 0);
	}
	return err ?: install_chain(r, th, b, rt->common_filter, newest_filter(r, th), 0);
}

const struct task_part seccomp_part = {
	.name = "seccomp",
	.state = { .dump = sizeof(struct filters), .restore = sizeof(struct filters) },
	.per_thread = true,
	.peek = seccomp_peek,
	.check = seccomp_check,
	.restore = seccomp_restore,
	.read_images = seccomp_read,
	.write_images = seccomp_write,
};
