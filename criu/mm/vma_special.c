/* SPDX-License-Identifier: GPL-2.0-only */
/* Mappings that the kernel makes in every task, or where something outside asks for them: not in the images. */
#include <inttypes.h>
#include <string.h>

#include "lib/log.h"
#include "tree/vma_kind.h"

extern const struct vma_kind vma_special_kind;

struct special_dump_state {
	bool warned;
};

/* A name in brackets that no row knows is the kernel's own: a new task gets that mapping from there. */
static bool vma_special_match(struct dump *d, const struct proc_map *m)
{
	static const char *const known[] = { "[heap]", "[stack]", "[anon" };

	if (m->ino || *m->name != '[')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strncmp(m->name, known[i], strlen(known[i])))
			return false;
	return true;
}

static int vma_special_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	struct special_dump_state *s = dump_state(d, &vma_special_kind);

	if (!s->warned && strcmp(m->name, "[vsyscall]")) {
		log_warn("%s: mapping %" PRIx64 "-%" PRIx64 " %s is unknown and passed over", task_name(t), m->start,
		         m->end, m->name);
		s->warned = true;
	}
	return VMA_LEFT_OUT;
}

const struct vma_kind vma_special_kind = {
	.name = "mapping of the kernel",
	.state = { .dump = sizeof(struct special_dump_state) },
	.status = VMA_VSYSCALL,
	.kernels = true,
	.match = vma_special_match,
	.dump = vma_special_dump,
};
