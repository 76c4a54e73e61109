/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads have the namespaces, the directories, the descriptors, the credentials and the cgroups of their process,
 * unless one has changed its own. To ask each takes twenty calls, of which a dozen look something up in /proc, most of
 * the time that a thread takes at all. In the kernel's memory it is one read a thread: where all point to the same
 * objects, the leader's answers are everyone's.
 */
#include <string.h>

#include "dump/threads_alike.h"
#include "lib/kernel_view.h"
#include "lib/log.h"
#include "proc/proc.h"

/* To look into the kernel's memory costs as much as asking so many threads. */
#define MANY_THREADS 32

/* The members of task_struct that are compared lie within so many bytes. */
#define BYTES_MAX    8192U

struct aspect {
	const char *member;
	uint8_t len, says; /* enum threads_alike: not alike if this one differs */
};

static const struct aspect aspects[] = {
	{ "nsproxy", 8, ALIKE_NS },
	{ "fs", 8, ALIKE_FS | ALIKE_STATUS },
	{ "files", 8, ALIKE_FILES },
	{ "sysvsem.undo_list", 8, ALIKE_UNDO },
	{ "cgroups", 8, ALIKE_CGROUPS },
	{ "real_cred", 8, ALIKE_STATUS },
	{ "cred", 8, ALIKE_STATUS },
	{ "seccomp.mode", 4, ALIKE_STATUS },
	{ "seccomp.filter_count", 4, ALIKE_STATUS },
	{ "atomic_flags", 8, ALIKE_STATUS }, /* no_new_privs */
};

/* Where members lie: of task_struct, signal_struct and list_head. */
struct places {
	int signal, head, node, next;
	int at[ARRAY_SIZE(aspects)]; /* negative: this kernel has no such member */
	int begin, end;              /* what is read of each thread */
};

/* The part of a thread's task_struct. */
struct part {
	uint8_t bytes[BYTES_MAX];
};

static void widen(struct places *k, int at, int len)
{
	k->begin = MIN(k->begin, at);
	k->end = MAX(k->end, at + len);
}

static int find_places(const struct btf_types *b, struct places *k, unsigned *alike)
{
	k->signal = btf_offset(b, "task_struct", "signal");
	k->head = btf_offset(b, "signal_struct", "thread_head");
	k->node = btf_offset(b, "task_struct", "thread_node");
	k->next = btf_offset(b, "list_head", "next");
	if (k->signal < 0 || k->head < 0 || k->node < 0 || k->next < 0)
		return -ENOENT;
	k->begin = k->node + k->next;
	k->end = k->begin + 8;
	for (size_t i = 0; i < ARRAY_SIZE(aspects); i++) {
		k->at[i] = btf_offset(b, "task_struct", aspects[i].member);
		if (k->at[i] >= 0)
			widen(k, k->at[i], aspects[i].len);
		else
			*alike &= (unsigned)~aspects[i].says;
	}
	return k->end - k->begin > (int)BYTES_MAX ? -ENOTSUP : 0;
}

static unsigned compare_two(const struct places *k, const struct part *a, const struct part *b)
{
	unsigned alike = ALIKE_ALL;

	for (size_t i = 0; i < ARRAY_SIZE(aspects); i++) {
		const uint8_t *x = a->bytes + k->at[i] - k->begin, *y = b->bytes + k->at[i] - k->begin;

		if (k->at[i] < 0 || memcmp(x, y, aspects[i].len) != 0)
			alike &= (unsigned)~aspects[i].says;
	}
	return alike;
}

/* All threads are in one list, whose head the process has. n: so many are there. */
static int compare_threads(struct kernel_view *v, int pidfd, size_t n, unsigned *alike)
{
	kaddr_t leader, signal = 0, head, at;
	struct part first, other;
	struct places k;
	size_t seen = 0, len;
	int err = find_places(kernel_types(v), &k, alike);

	if (err)
		return err;
	len = (size_t)(k.end - k.begin);
	err = kernel_task_of(v, pidfd, &leader);
	err = err ?: kernel_read(v, kaddr_plus(leader, k.begin), first.bytes, len);
	err = err ?: kernel_read_pointer(v, kaddr_plus(leader, k.signal), &signal);
	head = kaddr_plus(signal, k.head);
	err = err ?: kernel_read_pointer(v, kaddr_plus(head, k.next), &at);
	for (; !err && at != head && seen < n; seen++) {
		err = kernel_read(v, at - (unsigned)k.node + (unsigned)k.begin, other.bytes, len);
		if (err)
			break;
		*alike &= compare_two(&k, &first, &other);
		memcpy(&at, other.bytes + k.node + k.next - k.begin, sizeof(at));
	}
	return err ?: seen == n && at == head ? 0 : -EBADMSG;
}

void threads_look_alike(struct kernel_view **view, struct task *t)
{
	const struct proc_stat *st = t->dump->stat;
	unsigned alike = ALIKE_ALL;
	const char *call;
	int err = 0;

	if (t->n_threads <= MANY_THREADS || t->dead_leader || !st)
		return;
	if (!*view)
		err = kernel_view_open(view, &call);
	err = err ?: compare_threads(*view, t->dump->pidfd, (size_t)st->num_threads, &alike);
	if (!err)
		t->dump->alike = alike;
	log_debug("%s: what its %zu threads share is %s (%x)", task_name(t), t->n_threads,
	          err ? "asked of each" : "seen in the kernel's memory", t->dump->alike);
}
