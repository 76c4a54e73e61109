/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/futex.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/blob/blob.h"
#include "agent/liveness.h"
#include "arch_page.h"

/* At the start of a common part: the death word, and behind it what has the kernel find it. */
struct liveness {
	uint32_t word;
	struct robust_list node;
};

static __thread struct {
	struct robust_list_head head;
	struct robust_list_head *before; /* the libc's */
	size_t before_len, n;
} registered; /* lint: global: the kernel has one list for each thread, in which all common parts are */

size_t liveness_common_size(void)
{
	return PAGE_SIZE + round_up((size_t)(agent_blob_end - agent_blob), PAGE_SIZE);
}

static void begin_list(void)
{
	registered.head.list.next = &registered.head.list;
	registered.head.futex_offset = (long)offsetof(struct liveness, word) - (long)offsetof(struct liveness, node);
	syscall(SYS_get_robust_list, 0, &registered.before, &registered.before_len);
	syscall(SYS_set_robust_list, &registered.head, sizeof(registered.head));
}

/* The list is whole at any instant: criu may be killed between two instructions. */
struct liveness *liveness_register(void *common)
{
	struct liveness *d = common;

	memcpy((char *)common + COMMON_ENTRY, agent_blob, (size_t)(agent_blob_end - agent_blob));
	/* FUTEX_WAITERS, or the kernel would not wake any agent. */
	__atomic_store_n(&d->word, (uint32_t)gettid() | FUTEX_WAITERS, __ATOMIC_RELEASE);
	if (!registered.n++)
		begin_list();
	d->node.next = registered.head.list.next;
	__atomic_store_n(&registered.head.list.next, &d->node, __ATOMIC_RELEASE);
	return d;
}

void liveness_forget(struct liveness *d)
{
	struct robust_list *at = &registered.head.list;

	while (at->next != &d->node)
		at = at->next;
	__atomic_store_n(&at->next, d->node.next, __ATOMIC_RELEASE);
	if (!--registered.n)
		syscall(SYS_set_robust_list, registered.before, registered.before_len);
}
