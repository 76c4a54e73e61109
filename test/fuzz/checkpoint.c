/* SPDX-License-Identifier: GPL-2.0-only */
/* Fuzzing what a restore reads and checks before anything is started: a whole directory of images, up to the plan. */
#include "agent/liveness.h"
#include "arch/arch.h"
#include "restore/plan.h"
#include "restore/restore.h"
#include "tree/kind.h"
#include "tree/subsys.h"
#include "fuzz_mutate.h"
#include "mm/mm.h"
#include "pagemap.pb-c.h"

extern const struct subsys files_restore_subsys;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static int check_thread(struct restore *r, const struct thread *th)
{
	int err = arch_regs_check_core(th->core, task_thread_name(th));

	for (const struct task_part *const *p = task_parts; *p; p++)
		if ((*p)->check && (th == th->task->threads || (*p)->per_thread))
			err = (*p)->check(r, th) ?: err;
	return err;
}

/* Registers of a core that passed its check must be usable; they come from the arena. */
static int check_tasks(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];
		bool lives = t->state != TASK_DEAD;

		for (size_t k = 0; lives && k < t->n_threads; k++) {
			int one = check_thread(r, &t->threads[k]);

			if (!one && !arch_regs_from_core(r->arena, t->threads[k].core))
				abort();
			err = err ?: one;
		}
	}
	return mm_check(r) ?: err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct stats stats;
	struct options o = { .images_dir = fuzz_dir(), .work_dir = fuzz_dir(), .shell_job = true };
	struct restore r = { .opts = &o, .stats = &stats };
	struct plan *plan;

	if (!fuzz_dir_fill(data, size) || image_dir_open(o.images_dir, false, &r.dir))
		return 0;
	r.arena = arena_new();
	o.arena = r.arena;
	if (restore_read_images(&r) == 0) {
		if (check_tasks(&r) == 0)
			plan_make(&r, liveness_common_size(), &plan);
		files_restore_subsys.undo(&r);
	}
	image_dir_close(r.dir);
	arena_free(r.arena);
	return 0;
}

/* ---- changing inputs ---- */

enum extra { NONE, HEAD, BYTES, LENGTH, QUEUES, MAP, FILE_, SEMS, MSGS, SHM };
#define FILE FILE_
static const enum extra extras[] = {
#define IMAGE(id, name, header, magic, message, extra) extra,
#include "images.def"
#undef IMAGE
};
#undef FILE

/* The place of a message in a record: its length field. Raw bytes behind a first message end the search. */
static size_t find_message(unsigned type, const uint8_t *data, size_t size, unsigned wanted, unsigned *index)
{
	size_t at = 0, found = 0;
	uint32_t len;

	for (unsigned i = 0; i <= wanted && size - at >= 4; i++) {
		memcpy(&len, data + at, 4);
		if (len > size - at - 4)
			break;
		found = at;
		*index = i;
		if (extras[type] > HEAD)
			break;
		at += 4 + len;
	}
	return found;
}

/* Changes one message of the record [data, data + size), which can grow to max. Returns its new size. */
static size_t change_record(unsigned type, uint8_t *data, size_t size, size_t max, unsigned *seed)
{
	struct arena *a = arena_new();
	unsigned index = 0;
	size_t at = find_message(type, data, size, (unsigned)rand_r(seed) % 40, &index), packed;
	const ProtobufCMessageDescriptor *pb =
	    extras[type] == HEAD && index == 0 ? &pagemap_head__descriptor : image_pb(type);
	ProtobufCMessage *msg = NULL;
	uint32_t len = 0;

	if (pb && size - at >= 4)
		memcpy(&len, data + at, 4);
	if (pb && size - at >= 4 && len <= size - at - 4)
		msg = protobuf_c_message_unpack(pb, arena_pb(a), len, data + at + 4);
	if (msg) {
		for (int i = rand_r(seed) % 3; i >= 0; i--)
			fuzz_change_message(msg, seed);
		packed = protobuf_c_message_get_packed_size(msg);
		if (size - len + packed <= max) {
			memmove(data + at + 4 + packed, data + at + 4 + len, size - at - 4 - len);
			protobuf_c_message_pack(msg, data + at + 4);
			size = size - len + packed;
			len = (uint32_t)packed;
			memcpy(data + at, &len, 4);
		}
	}
	arena_free(a);
	return size;
}

/* The start of a random record; its size in *len. 0 and 0 where there is none. */
static size_t pick_record(const uint8_t *data, size_t size, unsigned *seed, uint32_t *len)
{
	size_t at = 0, picked = 0;
	unsigned n = 0;

	*len = 0;
	while (size - at >= 9) {
		uint32_t one;

		memcpy(&one, data + at + 5, 4);
		if (one > size - at - 9)
			break;
		if (rand_r(seed) % ++n == 0) {
			picked = at;
			*len = one;
		}
		at += 9 + one;
	}
	return picked;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	uint32_t len, grown;
	size_t at, behind;
	uint8_t *copy;

	if (rand_r(&seed) % 16 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	at = pick_record(data, size, &seed, &len);
	if (!len)
		return LLVMFuzzerMutate(data, size, max_size);
	behind = size - at - 9 - len;
	copy = malloc(len + (max_size - size));
	memcpy(copy, data + at + 9, len);
	grown = (uint32_t)change_record(data[at] % IMG_COUNT, copy, len, len + (max_size - size), &seed);
	memmove(data + at + 9 + grown, data + at + 9 + len, behind);
	memcpy(data + at + 9, copy, grown);
	memcpy(data + at + 5, &grown, 4);
	free(copy);
	return size - len + grown;
}
