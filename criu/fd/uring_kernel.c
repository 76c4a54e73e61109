/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * See uring_kernel.h. A request is in flight when it has been allocated and does not lie among the free ones: so their
 * number is known, also where it is not known where they are. Those that wait lie in a hash table (polls, and what
 * waits for a file by a poll), in lists (timeouts, futexes), or, when their end has come and their task has still to
 * see to it, in the work of that task.
 *
 * What is read may change meanwhile: all is read twice, and has to be the same.
 */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fd/uring_inside.h"
#include "lib/log.h"
#include "tree/subsys.h"

#define MANY_REQUESTS (1U << 17) /* more than a ring has: a list that is being changed may lead anywhere */
#define STRUCT_MAX    4096U

extern const struct subsys uring_kernel_subsys;

struct uring_kernel_state {
	bool tried;
	struct uring_kernel *k;
};

static const char *const field_paths[N_URING_FIELDS] = {
#define URING_PATH(id, path) [URING_##id] = (path),
	URING_FIELDS(URING_PATH, URING_PATH)
#undef URING_PATH
};

static bool is_optional(enum uring_field f)
{
#define URING_NEEDED(id, path)
#define URING_OPTIONAL(id, path) f == URING_##id ||
	return URING_FIELDS(URING_NEEDED, URING_OPTIONAL) false;
#undef URING_NEEDED
#undef URING_OPTIONAL
}

static int place_of_field(const struct btf_types *b, const char *path)
{
	size_t len = strcspn(path, ".");
	char type[64];

	snprintf(type, sizeof(type), "%.*s", (int)len, path);
	return btf_offset(b, type, path + len + 1);
}

static const char *find_fields(struct uring_kernel *k, const struct btf_types *b)
{
	for (int f = 0; f < N_URING_FIELDS; f++) {
		k->at[f] = place_of_field(b, field_paths[f]);
		if (k->at[f] < 0 && !is_optional((enum uring_field)f))
			return field_paths[f];
	}
	k->ctx_size = (size_t)btf_size(b, "io_ring_ctx");
	k->req_size = (size_t)btf_size(b, "io_kiocb");
	k->bucket_size = (size_t)btf_size(b, "io_hash_bucket");
	k->upid_size = (size_t)btf_size(b, "upid");
	k->page_size = (size_t)btf_size(b, "page");
	if (k->ctx_size > STRUCT_MAX || k->req_size > STRUCT_MAX) /* a negative errno is more */
		return "io_ring_ctx";
	return k->bucket_size <= STRUCT_MAX && k->upid_size <= STRUCT_MAX ? NULL : "io_hash_bucket";
}

struct uring_kernel *uring_kernel(struct dump *d)
{
	struct uring_kernel_state *s = dump_state(d, &uring_kernel_subsys);
	struct uring_kernel *k = arena_new_of(d->arena, struct uring_kernel);
	const char *missing, *call;
	int err;

	if (s->tried)
		return s->k;
	s->tried = true;
	err = kernel_view_open(&k->view, &call);
	if (err) {
		log_info("io_uring: %s: %s: what the kernel does not show of a ring is not known", call,
		         strerror(-err));
		return NULL;
	}
	missing = find_fields(k, kernel_types(k->view));
	if (missing) {
		kernel_view_close(k->view);
		log_info("io_uring: this kernel has no %s: what it does not show of a ring is not known", missing);
	} else {
		s->k = k;
	}
	return s->k;
}

/* ---- reading ---- */

uint64_t uring_bytes_number(const struct uring_kernel *k, struct uring_bytes b, enum uring_field f, size_t len)
{
	uint64_t value = 0;

	if (k->at[f] >= 0 && (size_t)k->at[f] + len <= b.len)
		memcpy(&value, b.at + k->at[f], len);
	return value;
}

/* A number of a structure that lies there; 0 at an error, which sticks. */
uint64_t uring_number_at(struct uring_kernel *k, int *err, uint64_t base, enum uring_field f, size_t len)
{
	uint64_t value = 0;

	if (!*err)
		*err = base && k->at[f] >= 0 ? kernel_read_number(k->view, base + (uint64_t)k->at[f], len, &value)
		                             : -EFAULT;
	return *err ? 0 : value;
}

uint64_t uring_pointer_at(struct uring_kernel *k, int *err, uint64_t base, enum uring_field f)
{
	return uring_number_at(k, err, base, f, sizeof(uint64_t));
}

uint64_t uring_word_at(struct uring_kernel *k, int *err, uint64_t at)
{
	uint64_t value = 0;

	if (!*err)
		*err = kernel_read_number(k->view, at, sizeof(value), &value);
	return *err ? 0 : value;
}

/* ---- descriptors, tasks ---- */

/* The table of a task: where it begins, and how many. */
static uint64_t table_of(struct uring_kernel *k, int *err, uint64_t task, uint32_t *n)
{
	uint64_t files = uring_pointer_at(k, err, task, URING_TASK_FILES);
	uint64_t table = uring_pointer_at(k, err, files, URING_FILES_FDT);

	*n = (uint32_t)uring_number_at(k, err, table, URING_FDT_MAX, sizeof(uint32_t));
	return uring_pointer_at(k, err, table, URING_FDT_FD);
}

uint64_t uring_kernel_private(struct uring_kernel *k, uint64_t file)
{
	int err = 0;

	return uring_pointer_at(k, &err, file, URING_FILE_PRIVATE);
}

uint64_t uring_kernel_descriptor(struct uring_kernel *k, uint64_t task, uint32_t number, bool deep)
{
	uint32_t n;
	int err = 0;
	uint64_t table = table_of(k, &err, task, &n), file;

	if (err || number >= n)
		return 0;
	file = uring_word_at(k, &err, table + number * sizeof(uint64_t));
	return file && deep ? uring_pointer_at(k, &err, file, URING_FILE_PRIVATE) : file;
}

int uring_kernel_find(struct uring_kernel *k, uint64_t task, uint64_t what, bool deep)
{
	uint64_t part[64];
	uint32_t n;
	int err = 0;
	uint64_t table = table_of(k, &err, task, &n);

	for (uint32_t i = 0; !err && i < n; i += 64) {
		err = kernel_read(k->view, table + i * sizeof(uint64_t), part, MIN(n - i, 64U) * sizeof(uint64_t));
		for (uint32_t m = 0; !err && m < MIN(n - i, 64U); m++)
			if (part[m] &&
			    (deep ? uring_pointer_at(k, &err, part[m], URING_FILE_PRIVATE) : part[m]) == what)
				return (int)(i + m);
	}
	return err ?: -ENOENT;
}

pid_t uring_kernel_tid(struct uring_kernel *k, uint64_t task)
{
	int err = 0;
	uint64_t pid = uring_pointer_at(k, &err, task, URING_TASK_PID),
	         own = uring_pointer_at(k, &err, k->self, URING_TASK_PID);
	uint64_t level = uring_number_at(k, &err, own, URING_PID_LEVEL, sizeof(uint32_t));
	uint64_t deepest = uring_number_at(k, &err, pid, URING_PID_LEVEL, sizeof(uint32_t)), nr = 0;

	if (!err && level <= deepest)
		err = kernel_read_number(
		    k->view, pid + (uint64_t)(k->at[URING_PID_NUMBERS] + k->at[URING_UPID_NR]) + level * k->upid_size,
		    sizeof(uint32_t), &nr);
	return err ? 0 : (pid_t)nr;
}

/* The next of a list, as long as it is one. */
static bool step(struct uring_kernel *k, int *err, uint64_t *node, uint64_t head)
{
	*node = uring_word_at(k, err, *node);
	return !*err && *node && *node != head;
}

uint64_t uring_kernel_user(struct uring_kernel *k, const struct uring_state *s, pid_t tgid, pid_t tid)
{
	uint64_t head = s->ctx + (uint64_t)k->at[URING_CTX_USERS], node = head;
	unsigned steps = 0;
	int err = 0;

	while (step(k, &err, &node, head) && steps++ < MANY_REQUESTS) {
		uint64_t task = uring_pointer_at(k, &err, node - (uint64_t)k->at[URING_USER_NODE], URING_USER_TASK);
		uint64_t leader = uring_pointer_at(k, &err, task, URING_TASK_LEADER);

		if (!err && (tid ? uring_kernel_tid(k, task) == tid : uring_kernel_tid(k, leader) == tgid))
			return task;
	}
	return 0;
}

uint64_t uring_kernel_registered(struct uring_kernel *k, uint64_t task, unsigned number)
{
	int err = 0;
	uint64_t tctx = uring_pointer_at(k, &err, task, URING_TASK_URING);

	return uring_word_at(k, &err, tctx + (uint64_t)k->at[URING_TCTX_RINGS] + number * sizeof(uint64_t));
}

/* ---- requests ---- */

static int add_request(struct dump *d, struct uring_kernel *k, struct uring_state *s, uint64_t at)
{
	uint8_t bytes[STRUCT_MAX];
	struct uring_bytes req = { bytes, k->req_size };
	struct uring_flying f = { .at = at };
	int err = kernel_read(k->view, at, bytes, k->req_size);

	for (size_t i = 0; i < s->n_flying; i++)
		if (s->flying[i].at == at)
			return 0;
	if (!err && uring_bytes_number(k, req, URING_REQ_CTX, sizeof(uint64_t)) != s->ctx)
		return 0; /* of another ring, in the same task's work */
	if (!err)
		err = uring_request_read(k, s, req, &f);
	if (!err)
		arena_push(d->arena, &s->flying, &s->n_flying, f);
	return err;
}

/* Those in a list, whose nodes lie at `within`; circular ones end at their head. */
static int add_list(struct dump *d, struct uring_kernel *k, struct uring_state *s, uint64_t head, long within)
{
	uint64_t node = head;
	unsigned steps = 0;
	int err = 0;

	while (step(k, &err, &node, head)) {
		if (steps++ > MANY_REQUESTS)
			return -EAGAIN;
		err = add_request(d, k, s, node - (uint64_t)within);
	}
	return err;
}

static int add_hashed(struct dump *d, struct uring_kernel *k, struct uring_state *s, struct uring_bytes ctx)
{
	uint64_t at = uring_bytes_number(k, ctx, URING_CTX_HASH, sizeof(uint64_t));
	uint64_t bits = uring_bytes_number(k, ctx, URING_CTX_HASH_BITS, sizeof(uint32_t));
	int err = 0;

	if (bits > 16)
		return -EAGAIN;
	for (uint64_t i = 0; !err && i < 1ULL << bits; i++)
		err = add_list(d, k, s, at + i * k->bucket_size, k->at[URING_REQ_HASH]);
	return err;
}

/* What tasks have still to do. */
static int add_work(struct dump *d, struct uring_kernel *k, struct uring_state *s)
{
	uint64_t head = s->ctx + (uint64_t)k->at[URING_CTX_USERS], node = head;
	int err = add_list(d, k, s, s->ctx + (uint64_t)k->at[URING_CTX_WORK], k->at[URING_REQ_WORK]);
	unsigned steps = 0;

	while (!err && step(k, &err, &node, head) && steps++ < MANY_REQUESTS) {
		uint64_t task = uring_pointer_at(k, &err, node - (uint64_t)k->at[URING_USER_NODE], URING_USER_TASK);
		uint64_t tctx = uring_pointer_at(k, &err, task, URING_TASK_URING);

		if (!err)
			err = add_list(d, k, s, tctx + (uint64_t)k->at[URING_TCTX_WORK], k->at[URING_REQ_WORK]);
	}
	return err;
}

/* Those that are free, in a list without a head. */
static int count_free(struct uring_kernel *k, struct uring_bytes ctx, uint32_t *n)
{
	uint64_t node = uring_bytes_number(k, ctx, URING_CTX_FREE, sizeof(uint64_t));
	int err = 0;

	for (*n = 0; !err && node; ++*n) {
		if (*n > MANY_REQUESTS)
			return -EAGAIN;
		node = uring_word_at(k, &err, node);
	}
	return err;
}

static int read_requests(struct dump *d, struct uring_kernel *k, struct uring_state *s, struct uring_bytes ctx)
{
	uint32_t allocated = (uint32_t)uring_bytes_number(k, ctx, URING_CTX_ALLOCATED, sizeof(uint32_t)), unused = 0;
	int err = count_free(k, ctx, &unused);

	if (!err && unused > allocated)
		return -EAGAIN;
	s->in_flight = allocated - unused;
	if (err || !s->in_flight)
		return err;
	err = add_hashed(d, k, s, ctx);
	if (!err)
		err = add_list(d, k, s, s->ctx + (uint64_t)k->at[URING_CTX_TIMEOUT_LIST], k->at[URING_TIMEOUT_LIST]);
	if (!err)
		err = add_list(d, k, s, s->ctx + (uint64_t)k->at[URING_CTX_LTIMEOUT_LIST], k->at[URING_TIMEOUT_LIST]);
	if (!err)
		err = add_list(d, k, s, s->ctx + (uint64_t)k->at[URING_CTX_FUTEX_LIST], k->at[URING_REQ_HASH]);
	if (!err)
		err = add_work(d, k, s);
	return !err && s->n_flying > s->in_flight ? -EAGAIN : err;
}

/* ---- a ring ---- */

static int read_thread(struct uring_kernel *k, struct uring_state *s, uint64_t sq_data)
{
	int err = 0;

	if (!sq_data)
		return 0;
	s->sq_users = (uint32_t)uring_number_at(k, &err, sq_data, URING_SQ_REFS, sizeof(uint32_t));
	s->cpu = (uint32_t)uring_number_at(k, &err, sq_data, URING_SQ_CPU, sizeof(uint32_t));
	return err;
}

static int read_eventfd(struct uring_kernel *k, struct uring_state *s, uint64_t ev)
{
	int err = 0;

	if (!ev)
		return 0;
	s->eventfd = uring_pointer_at(k, &err, ev, URING_EV_CTX);
	s->eventfd_async = uring_number_at(k, &err, ev, URING_EV_ASYNC, 1) & 1;
	return err;
}

static void read_tables(struct uring_kernel *k, struct uring_state *s, struct uring_bytes ctx)
{
	struct uring_bytes files = { ctx.at + k->at[URING_CTX_FILES], ctx.len - (size_t)k->at[URING_CTX_FILES] };
	struct uring_bytes buffers = { ctx.at + k->at[URING_CTX_BUFFERS], ctx.len - (size_t)k->at[URING_CTX_BUFFERS] };

	s->n_files = (uint32_t)uring_bytes_number(k, files, URING_TABLE_N, sizeof(uint32_t));
	s->files_at = uring_bytes_number(k, files, URING_TABLE_NODES, sizeof(uint64_t));
	s->n_buffers = (uint32_t)uring_bytes_number(k, buffers, URING_TABLE_N, sizeof(uint32_t));
	s->buffers_at = uring_bytes_number(k, buffers, URING_TABLE_NODES, sizeof(uint64_t));
	s->alloc_start = (uint32_t)uring_bytes_number(k, ctx, URING_CTX_ALLOC_START, sizeof(uint32_t));
	s->alloc_end = (uint32_t)uring_bytes_number(k, ctx, URING_CTX_ALLOC_END, sizeof(uint32_t));
}

static int read_once(struct dump *d, struct uring_kernel *k, struct uring_state *s)
{
	uint8_t bytes[STRUCT_MAX];
	struct uring_bytes ctx = { bytes, k->ctx_size };
	uint64_t overflow = s->ctx + (uint64_t)k->at[URING_CTX_OVERFLOW];
	int err = kernel_read(k->view, s->ctx, bytes, k->ctx_size);

	if (err)
		return err;
	s->flags = (uint32_t)uring_bytes_number(k, ctx, URING_CTX_FLAGS, sizeof(uint32_t));
	s->submitted = (uint32_t)uring_bytes_number(k, ctx, URING_CTX_SQ_HEAD, sizeof(uint32_t));
	s->completed = (uint32_t)uring_bytes_number(k, ctx, URING_CTX_CQ_TAIL, sizeof(uint32_t));
	s->submitter = uring_bytes_number(k, ctx, URING_CTX_SUBMITTER, sizeof(uint64_t));
	s->idle = (uint32_t)uring_bytes_number(k, ctx, URING_CTX_IDLE, sizeof(uint32_t));
	s->restricted = uring_bytes_number(k, ctx, URING_CTX_RESTRICTED, 1);
	s->has_personalities = uring_bytes_number(k, ctx, URING_CTX_PERSONALITIES, sizeof(uint64_t));
	s->has_buffer_groups = uring_bytes_number(k, ctx, URING_CTX_GROUPS, sizeof(uint64_t));
	s->has_receive_queues = uring_bytes_number(k, ctx, URING_CTX_RECEIVE_QUEUES, sizeof(uint64_t));
	s->has_overflow = uring_bytes_number(k, ctx, URING_CTX_OVERFLOW, sizeof(uint64_t)) != overflow;
	read_tables(k, s, ctx);
	err = read_thread(k, s, uring_bytes_number(k, ctx, URING_CTX_SQ_DATA, sizeof(uint64_t)));
	if (!err)
		err = read_eventfd(k, s, uring_bytes_number(k, ctx, URING_CTX_EVENTFD, sizeof(uint64_t)));
	return err ?: read_requests(d, k, s, ctx);
}

static bool is_same(const struct uring_state *a, const struct uring_state *b)
{
	bool same = a->submitted == b->submitted && a->completed == b->completed && a->in_flight == b->in_flight &&
	            a->n_flying == b->n_flying;

	for (size_t i = 0; same && i < a->n_flying; i++)
		same = a->flying[i].at == b->flying[i].at && a->flying[i].opcode == b->flying[i].opcode &&
		       a->flying[i].sqe.user_data == b->flying[i].sqe.user_data;
	return same;
}

int uring_kernel_read(struct dump *d, struct uring_kernel *k, int fd, struct uring_state *s)
{
	struct uring_state first = { 0 };
	struct kernel_now now;
	int err = kernel_now(k->view, &now);

	if (err)
		return err;
	k->self = now.task;
	k->monotonic = now.monotonic;
	k->boottime = now.boottime;
	*s = (struct uring_state) { .ctx = uring_kernel_descriptor(k, now.task, (uint32_t)fd, true) };
	first.ctx = s->ctx;
	if (!s->ctx)
		return -EBADF;
	err = read_once(d, k, &first);
	if (!err)
		err = read_once(d, k, s);
	if (err == -EFAULT || (!err && !is_same(&first, s)))
		return -EAGAIN;
	return err;
}

/* One element is kept by itself. */
bool uring_kernel_same_vector(struct uring_kernel *k, uint64_t iter, const struct iovec *v, size_t n)
{
	int err = 0;
	uint64_t done = uring_pointer_at(k, &err, iter, URING_ITER_DONE),
	         at = uring_pointer_at(k, &err, iter, URING_ITER_AT);
	uint64_t count = uring_pointer_at(k, &err, iter, URING_ITER_COUNT), sum = 0;
	bool same = !done && n;

	for (size_t i = 0; i < n; i++)
		sum += v[i].iov_len;
	if (n == 1)
		same &= at == (uintptr_t)v->iov_base;
	for (size_t i = 0; n > 1 && same && i < n; i++) {
		struct iovec kept = { 0 };

		same = !kernel_read(k->view, at + i * sizeof(kept), &kept, sizeof(kept)) &&
		       kept.iov_base == v[i].iov_base && kept.iov_len == v[i].iov_len;
	}
	return !err && same && sum == count;
}

/* ---- what was registered ---- */

static int read_place(struct uring_kernel *k, uint64_t table, uint32_t i, uint64_t *node, struct uring_place *p)
{
	int err = 0;

	*p = (struct uring_place) { 0 };
	*node = uring_word_at(k, &err, table + i * sizeof(uint64_t));
	if (*node)
		p->tag = uring_pointer_at(k, &err, *node, URING_NODE_TAG);
	return err;
}

int uring_kernel_file(struct uring_kernel *k, const struct uring_state *s, uint32_t i, struct uring_place *p)
{
	uint64_t node;
	int err = read_place(k, s->files_at, i, &node, p);

	if (!err && node)
		p->file = uring_pointer_at(k, &err, node, URING_NODE_FILE) & ~7ULL; /* the low bits are flags */
	return err;
}

int uring_kernel_buffer(struct uring_kernel *k, const struct uring_state *s, uint32_t i, struct uring_place *p)
{
	uint64_t node, buffer;
	int err = read_place(k, s->buffers_at, i, &node, p);

	if (err || !node)
		return err;
	buffer = uring_pointer_at(k, &err, node, URING_NODE_FILE);
	p->addr = uring_pointer_at(k, &err, buffer, URING_BUFFER_ADDR);
	p->len = uring_number_at(k, &err, buffer, URING_BUFFER_LEN, sizeof(uint32_t));
	p->odd = uring_number_at(k, &err, buffer, URING_BUFFER_ODD, 1);
	if (err || k->at[URING_BUFFER_PAGES] < 0 || k->at[URING_PIECE_PAGE] < 0 || k->at[URING_PIECE_OFFSET] < 0)
		return err;
	buffer += (uint64_t)k->at[URING_BUFFER_PAGES];
	p->page = uring_pointer_at(k, &err, buffer, URING_PIECE_PAGE);
	p->offset = uring_number_at(k, &err, buffer, URING_PIECE_OFFSET, sizeof(uint32_t));
	return err;
}

/* A second in ticks is what a ring of ours has whose thread polls for one. */
uint32_t uring_kernel_idle(struct dump *d, struct uring_kernel *k, uint32_t ticks)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 1000 };
	struct uring_state s;

	if (!k->ticks) {
		_cleanup_close_ int fd = (int)syscall(SYS_io_uring_setup, 1, &p);

		if (fd >= 0 && !uring_kernel_read(d, k, fd, &s))
			k->ticks = s.idle;
	}
	return k->ticks ? (uint32_t)(ticks * 1000ULL / k->ticks) : 0;
}

static void uring_kernel_end(struct dump *d)
{
	struct uring_kernel_state *s = dump_state(d, &uring_kernel_subsys);

	if (s->k)
		kernel_view_close(s->k->view);
}

const struct subsys uring_kernel_subsys = {
	.name = "io_uring in the kernel",
	.state = { .dump = sizeof(struct uring_kernel_state) },
	.end = uring_kernel_end,
};
