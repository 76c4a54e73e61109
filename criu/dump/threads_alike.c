/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads have the namespaces, the directories, the descriptors, the credentials and the cgroups of their process,
 * unless one has changed its own. To ask each takes twenty calls, of which a dozen look something up in /proc, most of
 * the time that a thread takes at all. In the kernel's memory it is one read a thread: where all point to the same
 * objects, the leader's answers are everyone's. And what only a thread itself can be asked is there as well.
 */
#include <string.h>

#include "dump/threads_alike.h"
#include "lib/kernel_view.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/pid_numbers.h"

#define PF_SUPERPRIV 0x100U /* of the kernel: the thread has used a privilege */

/* To look into the kernel's memory costs as much as asking so many threads. */
#define MANY_THREADS 32

/* The members of task_struct that are read lie within so many bytes. */
#define BYTES_MAX    16384U

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

/* Members that are kept of each thread. One that may be missing shows something (enum thread_shown), or nothing. */
struct member {
	const char *name;
	uint16_t to, len;
	uint8_t may_miss, shows;
};

#define MEMBER(name, field)                                                                                            \
	{                                                                                                              \
		name, offsetof(struct thread_seen, field), sizeof(((struct thread_seen *)NULL)->field), 0, 0           \
	}
#define SHOWS(name, field, what)                                                                                       \
	{                                                                                                              \
		name, offsetof(struct thread_seen, field), sizeof(((struct thread_seen *)NULL)->field), 1, what        \
	}

static const struct member members[] = {
	MEMBER("pid", tid),
	MEMBER("comm", comm),
	MEMBER("clear_child_tid", clear_tid),
	MEMBER("sas_ss_sp", sas_sp),
	MEMBER("sas_ss_size", sas_size),
	MEMBER("sas_ss_flags", sas_flags),
	MEMBER("timer_slack_ns", fixed.timer_slack),
	MEMBER("atomic_flags", fixed.atomic_flags),
	MEMBER("thread_info.flags", fixed.info_flags),
	MEMBER("io_context", fixed.io_context),
	MEMBER("cred", fixed.cred),
	MEMBER("real_cred", fixed.real_cred),
	MEMBER("personality", fixed.personality),
	MEMBER("flags", fixed.flags),
	MEMBER("pdeath_signal", fixed.pdeath_signal),
	MEMBER("policy", fixed.policy),
	MEMBER("static_prio", fixed.static_prio),
	SHOWS("mempolicy", fixed.mempolicy, 0), /* missing: a kernel without NUMA */
	SHOWS("thread_info.syscall_work", fixed.work, SHOWN_WORK),
	SHOWS("pending.signal", pending, SHOWN_QUEUE),
	SHOWS("thread.io_bitmap", ports, SHOWN_PORTS),
	SHOWS("thread.tls_array", tls, SHOWN_TLS),
	SHOWS("robust_list", robust_list, SHOWN_ROBUST),
	SHOWS("rseq", rseq, SHOWN_RSEQ),
	SHOWS("rseq_len", rseq_len, SHOWN_RSEQ),
	SHOWS("rseq_sig", rseq_signature, SHOWN_RSEQ),
};

/* Where members lie: of task_struct, signal_struct and list_head. */
struct places {
	int signal, head, node, next;
	int at[ARRAY_SIZE(aspects)]; /* negative: this kernel has no such member */
	int begin, end;              /* what is read of each thread */
	int seen_at[ARRAY_SIZE(members)];
	bool sees;      /* all members that must not be missing are there */
	unsigned shown; /* enum thread_shown */
	/* Of struct pid: the number of a thread as criu has it. */
	int thread_pid, number;
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

/* A member of another size than is known here means something else. */
static int place_of(const struct btf_types *b, const struct member *m)
{
	int span = btf_span(b, "task_struct", m->name);

	return span < m->len || span >= m->len + 8 ? -ENOENT : btf_offset(b, "task_struct", m->name);
}

static void find_members(const struct btf_types *b, struct places *k)
{
	k->sees = true;
	k->shown = ~0U;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const struct member *m = &members[i];

		k->seen_at[i] = place_of(b, m);
		if (k->seen_at[i] >= 0)
			widen(k, k->seen_at[i], m->len);
		else if (m->may_miss)
			k->shown &= ~(unsigned)m->shows;
		else
			k->sees = false;
	}
}

/* Threads have a number in each pid namespace from the first one down to their own; k->number: where criu's lies. */
static int find_number(struct kernel_view *v, struct places *k)
{
	const struct btf_types *b = kernel_types(v);
	int level = btf_offset(b, "pid", "level"), numbers = btf_offset(b, "pid", "numbers"),
	    size = btf_size(b, "upid"), nr = btf_offset(b, "upid", "nr");
	struct kernel_now now;
	uint64_t depth;
	kaddr_t pid;
	int err;

	k->thread_pid = btf_offset(b, "task_struct", "thread_pid");
	if (k->thread_pid < 0 || level < 0 || numbers < 0 || size < 0 || nr < 0)
		return -ENOENT;
	err = kernel_now(v, &now);
	err = err ?: kernel_read_pointer(v, kaddr_plus(now.task, k->thread_pid), &pid);
	err = err ?: kernel_read_number(v, kaddr_plus(pid, level), 4, &depth);
	if (!err && depth > PID_DEPTH_MAX)
		err = -EBADMSG;
	k->number = err || !depth ? 0 : numbers + (int)depth * size + nr;
	widen(k, k->thread_pid, 8);
	return err;
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
	find_members(b, k);
	return 0;
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

/* In namespaces below the first one the kernel's own number of a thread is not criu's. */
static int see_thread(struct kernel_view *v, const struct places *k, const struct part *p, struct thread_seen *seen)
{
	uint64_t pid, tid;
	int err = 0;

	seen->shown = k->shown;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (k->seen_at[i] >= 0)
			memcpy((uint8_t *)seen + members[i].to, p->bytes + k->seen_at[i] - k->begin, members[i].len);
	seen->fixed.flags &= ~PF_SUPERPRIV;
	if (k->number) {
		memcpy(&pid, p->bytes + k->thread_pid - k->begin, sizeof(pid));
		err = kernel_read_number(v, kaddr_plus(pid, k->number), 4, &tid);
		seen->tid = (pid_t)tid;
	}
	return err;
}

/* The list has them in the order in which they were made, mostly that of ours; *at is where the last one was. */
static struct thread *find_thread(struct task *t, pid_t tid, size_t *at)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		size_t k = (*at + 1 + i) % t->n_threads;

		if (t->threads[k].tid == tid) {
			*at = k;
			return &t->threads[k];
		}
	}
	return NULL;
}

static int note_thread(struct kernel_view *v, struct arena *a, const struct places *k, const struct part *p,
                       struct task *t, size_t *at)
{
	struct thread_seen *seen = arena_new_of(a, struct thread_seen);
	int err = see_thread(v, k, p, seen);
	struct thread *th = err ? NULL : find_thread(t, seen->tid, at);

	if (th)
		th->dump->seen = seen;
	return err;
}

static void forget_seen(struct task *t)
{
	for (size_t i = 0; i < t->n_threads; i++)
		t->threads[i].dump->seen = NULL;
}

/* All threads are in one list, whose head the process has. n: so many are there. */
static int compare_threads(struct kernel_view *v, struct arena *a, struct task *t, size_t n, unsigned *alike)
{
	kaddr_t leader, signal = 0, head, at;
	struct part first, other;
	struct places k = { 0 };
	size_t seen = 0, last = t->n_threads - 1, len;
	int err = find_places(kernel_types(v), &k, alike);

	if (!err && find_number(v, &k))
		k.sees = false;
	len = (size_t)(k.end - k.begin);
	if (err || len > BYTES_MAX)
		return err ?: -ENOTSUP;
	err = kernel_task_of(v, t->dump->pidfd, &leader);
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
		if (k.sees)
			err = note_thread(v, a, &k, &other, t, &last);
	}
	return err ?: seen == n && at == head ? 0 : -EBADMSG;
}

void threads_look_alike(struct kernel_view **view, struct arena *a, struct task *t)
{
	const struct proc_stat *st = t->dump->stat;
	unsigned alike = ALIKE_ALL;
	const char *call;
	int err = 0;

	if (t->n_threads <= MANY_THREADS || t->dead_leader || !st)
		return;
	if (!*view)
		err = kernel_view_open(view, &call);
	err = err ?: compare_threads(*view, a, t, (size_t)st->num_threads, &alike);
	if (err)
		forget_seen(t);
	else
		t->dump->alike = alike;
	log_debug("%s: what its %zu threads share is %s (%x)", task_name(t), t->n_threads,
	          err ? "asked of each" : "seen in the kernel's memory", t->dump->alike);
}
