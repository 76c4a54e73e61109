/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/blob/blob.h"
#include "agent/liveness.h"
#include "arch_page.h"

struct liveness {
	struct robust_list_head head;
	struct robust_list_head *before; /* the libc's */
	size_t before_len;
};

size_t liveness_common_size(void)
{
	return PAGE_SIZE + round_up((size_t)(agent_blob_end - agent_blob), PAGE_SIZE);
}

struct liveness *liveness_register(struct arena *a, void *common)
{
	struct liveness *d = arena_new_of(a, struct liveness);
	uint32_t *word = common;

	memcpy((char *)common + COMMON_ENTRY, agent_blob, (size_t)(agent_blob_end - agent_blob));
	/* FUTEX_WAITERS, or the kernel would not wake any agent. */
	__atomic_store_n(word, (uint32_t)gettid() | FUTEX_WAITERS, __ATOMIC_RELEASE);
	d->head.list.next = &d->head.list;
	d->head.list_op_pending = (struct robust_list *)word;
	syscall(SYS_get_robust_list, 0, &d->before, &d->before_len);
	syscall(SYS_set_robust_list, &d->head, sizeof(d->head));
	return d;
}

void liveness_forget(struct liveness *d)
{
	syscall(SYS_set_robust_list, d->before, d->before_len);
}
