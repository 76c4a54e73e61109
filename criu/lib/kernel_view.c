/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>

#include "lib/kernel_view.h"

#define PIECE    32768 /* bytes that are read at once */
#define PAGE     4096  /* of x86-64 */

#define FDS_MAX  (1U << 24) /* more is not believed */

#define HOPS_MAX 8          /* pointers that one run follows */
#define NO_HOP   UINT64_MAX /* and no more */

/* The memory that the program shares with us: the one element of an array. */
struct shared {
	uint64_t at, len;        /* in; used on the way */
	uint64_t from_task;      /* in: begin at our own task instead of `at` */
	uint64_t hops[HOPS_MAX]; /* in: a pointer lies so far from where the last one leads */
	uint64_t last;           /* in: and the bytes so far from there */
	int64_t ret;             /* out, as the next */
	struct kernel_now now;
	uint8_t data[PIECE];
};

struct kernel_view {
	int map, prog;
	struct shared *shared;
	struct btf_types *types;
	int to_fds[3]; /* hops from a task to its array of descriptors; 0: not looked for yet */
	/* Where pages are, when that is known: their struct page, its size, and their contents. */
	bool looked;
	kaddr_t first_page, first_byte; /* 0: not known */
	uint64_t page_struct;
};

static int bpf_call(int cmd, union bpf_attr *a)
{
	int ret = (int)syscall(SYS_bpf, cmd, a, sizeof(*a));

	return ret < 0 ? -errno : ret;
}

static int make_map(struct kernel_view *v)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_ARRAY,
		             .key_size = 4,
		             .value_size = sizeof(struct shared),
		             .max_entries = 1,
		             .map_flags = BPF_F_MMAPABLE };
	void *p;

	v->map = bpf_call(BPF_MAP_CREATE, &a);
	if (v->map < 0)
		return v->map;
	p = mmap(NULL, sizeof(*v->shared), PROT_READ | PROT_WRITE, MAP_SHARED, v->map, 0);
	if (p == MAP_FAILED)
		return -errno;
	v->shared = p;
	return 0;
}

#define INSN(c, d, s, o, i)                                                                                            \
	{                                                                                                              \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                                    \
	}
#define AT(member) ((int16_t)offsetof(struct shared, member))

/* r7 = *(r7 + hop): a pointer that cannot be read becomes 0, and so does whatever comes of that. */
#define HOP(n)                                                                                                         \
	INSN(BPF_LDX | BPF_MEM | BPF_DW, 3, 6, AT(hops) + (n)*8, 0), INSN(BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 6, -1),     \
	    INSN(BPF_ALU64 | BPF_ADD | BPF_X, 3, 7, 0, 0), INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),              \
	    INSN(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, AT(at)), INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 8),         \
	    INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel),                                             \
	    INSN(BPF_LDX | BPF_MEM | BPF_DW, 7, 6, AT(at), 0)

/*
 * shared->now from three calls; r7 = shared->at or our task; the hops; and then
 * shared->ret = bpf_probe_read_kernel(shared->data, shared->len, r7 + shared->last)
 */
static int load_program(struct kernel_view *v)
{
	const struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 6, BPF_PSEUDO_MAP_VALUE, 0, v->map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_current_task),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 6, 0, AT(now.task), 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ktime_get_ns),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 6, 0, AT(now.monotonic), 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ktime_get_boot_ns),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 6, 0, AT(now.boottime), 0),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 7, 6, AT(at), 0),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 2, 6, AT(from_task), 0),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 7, 6, AT(now.task), 0),
		HOP(0),
		HOP(1),
		HOP(2),
		HOP(3),
		HOP(4),
		HOP(5),
		HOP(6),
		HOP(7),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 2, 6, AT(len), 0),
		INSN(BPF_JMP | BPF_JGT | BPF_K, 2, 0, 6, PIECE),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 3, 6, AT(last), 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_X, 3, 7, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, AT(data)),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 6, 0, AT(ret), 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	union bpf_attr a = { .prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		             .insns = (uintptr_t)insns,
		             .insn_cnt = ARRAY_SIZE(insns),
		             .license = (uintptr_t) "GPL" };

	v->prog = bpf_call(BPF_PROG_LOAD, &a);
	return MIN(v->prog, 0);
}

/* n is at most HOPS_MAX. */
static void set_hops(struct kernel_view *v, const int *hops, size_t n, int last)
{
	for (size_t i = 0; i < HOPS_MAX; i++)
		v->shared->hops[i] = i < n ? (uint64_t)hops[i] : NO_HOP;
	v->shared->last = (uint64_t)last;
}

/* It says what our own task is, whatever comes of the read. */
static int run_program(struct kernel_view *v, kaddr_t at, size_t len)
{
	union bpf_attr a = { .test = { .prog_fd = (uint32_t)v->prog } };
	int err;

	v->shared->at = at;
	v->shared->len = len;
	v->shared->ret = -EIO;
	err = bpf_call(BPF_PROG_TEST_RUN, &a);
	return MIN(err, 0);
}

int kernel_view_open(struct kernel_view **out, const char **call)
{
	struct kernel_view *v = calloc(1, sizeof(*v));
	int err;

	*call = "calloc";
	if (!v)
		return -ENOMEM;
	v->map = v->prog = -1;
	*call = "bpf(BPF_MAP_CREATE)";
	err = make_map(v);
	if (!err) {
		set_hops(v, NULL, 0, 0);
		*call = "bpf(BPF_PROG_LOAD)";
		err = load_program(v);
	}
	if (!err) {
		*call = "/sys/kernel/btf/vmlinux";
		err = btf_read(&v->types);
	}
	if (!err) {
		*call = "bpf(BPF_PROG_TEST_RUN)";
		err = run_program(v, 0, 0);
	}
	if (err)
		kernel_view_close(v);
	else
		*out = v;
	return err;
}

void kernel_view_close(struct kernel_view *v)
{
	if (!v)
		return;
	if (v->shared)
		munmap(v->shared, sizeof(*v->shared));
	cleanup_close(&v->prog);
	cleanup_close(&v->map);
	btf_free(v->types);
	free(v);
}

const struct btf_types *kernel_types(const struct kernel_view *v)
{
	return v->types;
}

static int read_piece(struct kernel_view *v, kaddr_t at, void *buf, size_t len)
{
	int err = run_program(v, at, len);

	if (err || v->shared->ret)
		return err ?: (int)v->shared->ret;
	memcpy(buf, v->shared->data, len);
	return 0;
}

int kernel_read(struct kernel_view *v, kaddr_t at, void *buf, size_t len)
{
	int err = 0;

	for (size_t done = 0, n; !err && done < len; done += n) {
		n = MIN(len - done, (size_t)PIECE);
		err = read_piece(v, at + done, (uint8_t *)buf + done, n);
	}
	return err;
}

int kernel_read_pointer(struct kernel_view *v, kaddr_t at, kaddr_t *out)
{
	return kernel_read(v, at, out, sizeof(*out));
}

int kernel_read_number(struct kernel_view *v, kaddr_t at, size_t len, uint64_t *out)
{
	*out = 0; /* little-endian, as all that criu runs on */
	return kernel_read(v, at, out, MIN(len, sizeof(*out)));
}

int kernel_now(struct kernel_view *v, struct kernel_now *now)
{
	int err = run_program(v, 0, 0);

	*now = v->shared->now;
	return err;
}

/* Beyond the table's end is other memory, which is taken for a file. */
static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* task_struct.files -> files_struct.fdt -> fdtable.fd[] */
int kernel_file_of(struct kernel_view *v, int fd, kaddr_t *file)
{
	int files = btf_offset(v->types, "task_struct", "files"), fdt = btf_offset(v->types, "files_struct", "fdt"),
	    array = btf_offset(v->types, "fdtable", "fd");
	kaddr_t at;
	int err;

	if (files < 0 || fdt < 0 || array < 0)
		return -ENOENT;
	if (!is_open(fd))
		return -EBADF;
	err = run_program(v, 0, 0);
	at = v->shared->now.task + (unsigned)files;
	err = err ?: kernel_read_pointer(v, at, &at);
	err = err ?: kernel_read_pointer(v, at + (unsigned)fdt, &at);
	err = err ?: kernel_read_pointer(v, at + (unsigned)array, &at);
	err = err ?: kernel_read_pointer(v, at + (unsigned)fd * sizeof(at), &at);
	if (!err && !at)
		err = -EBADF;
	*file = at;
	return err;
}

int kernel_read_of_file(struct kernel_view *v, int fd, const struct kernel_way *way, void *buf, size_t len)
{
	int all[HOPS_MAX], err;

	if (!v->to_fds[0]) {
		v->to_fds[0] = btf_offset(v->types, "task_struct", "files");
		v->to_fds[1] = btf_offset(v->types, "files_struct", "fdt");
		v->to_fds[2] = btf_offset(v->types, "fdtable", "fd");
	}
	memcpy(all, v->to_fds, sizeof(v->to_fds));
	if (all[0] < 0 || all[1] < 0 || all[2] < 0 || len > PIECE)
		return -ENOENT;
	if (!way->open && !is_open(fd))
		return -EBADF;
	all[3] = fd * (int)sizeof(kaddr_t);
	memcpy(&all[4], way->hops, sizeof(way->hops));
	set_hops(v, all, 4 + MIN(way->n, ARRAY_SIZE(way->hops)), way->last);
	v->shared->from_task = 1;
	err = run_program(v, 0, len);
	v->shared->from_task = 0;
	set_hops(v, NULL, 0, 0);
	err = err ?: (int)v->shared->ret;
	if (!err)
		memcpy(buf, v->shared->data, len);
	return err;
}

/* A pidfd has its struct pid in the file, or in the inode of a file system of its own (since Linux 6.9). */
static int pid_of_file(struct kernel_view *v, kaddr_t file, kaddr_t *pid)
{
	int private_data = btf_offset(v->types, "file", "private_data"),
	    inode = btf_offset(v->types, "file", "f_inode"), private = btf_offset(v->types, "inode", "i_private");
	int err;

	if (private_data < 0 || inode < 0 || private < 0)
		return -ENOENT;
	err = kernel_read_pointer(v, file + (unsigned)private_data, pid);
	if (err || *pid)
		return err;
	err = kernel_read_pointer(v, file + (unsigned)inode, pid);
	return err ?: kernel_read_pointer(v, *pid + (unsigned)private, pid);
}

/* pid.tasks[PIDTYPE_TGID] leads to task_struct.pid_links[PIDTYPE_TGID]. */
int kernel_task_of(struct kernel_view *v, int pidfd, kaddr_t *task)
{
	const unsigned type = 1;
	int tasks = btf_offset(v->types, "pid", "tasks"), links = btf_offset(v->types, "task_struct", "pid_links"),
	    head = btf_size(v->types, "hlist_head"), node = btf_size(v->types, "hlist_node");
	kaddr_t at;
	int err;

	if (tasks < 0 || links < 0 || head < 0 || node < 0)
		return -ENOENT;
	err = kernel_file_of(v, pidfd, &at);
	err = err ?: pid_of_file(v, at, &at);
	err = err ?: kernel_read_pointer(v, at + (unsigned)tasks + type * (unsigned)head, &at);
	if (!err && !at)
		err = -ESRCH;
	*task = at - (unsigned)links - type * (unsigned)node;
	return err;
}

int kernel_table_of(struct kernel_view *v, int pidfd, kaddr_t *table, kaddr_t **files, size_t *n)
{
	int files_at = btf_offset(v->types, "task_struct", "files"),
	    fdt_at = btf_offset(v->types, "files_struct", "fdt"), max_at = btf_offset(v->types, "fdtable", "max_fds"),
	    array_at = btf_offset(v->types, "fdtable", "fd");
	kaddr_t task, fdt, array;
	uint32_t max;
	int err;

	if (files_at < 0 || fdt_at < 0 || max_at < 0 || array_at < 0)
		return -ENOENT;
	err = kernel_task_of(v, pidfd, &task);
	err = err ?: kernel_read_pointer(v, task + (unsigned)files_at, table);
	if (err || !files)
		return err;
	err = kernel_read_pointer(v, *table + (unsigned)fdt_at, &fdt);
	err = err ?: kernel_read(v, fdt + (unsigned)max_at, &max, sizeof(max));
	err = err ?: kernel_read_pointer(v, fdt + (unsigned)array_at, &array);
	if (err || max > FDS_MAX)
		return err ?: -EBADMSG;
	*files = calloc(max + 1UL, sizeof(**files));
	*n = max;
	if (!*files)
		return -ENOMEM;
	err = kernel_read(v, array, *files, max * sizeof(**files));
	if (err)
		free(move_ptr(*files));
	return err;
}

/* ---- pages ---- */

/*
 * The kernel has all memory in one mapping, and a struct page for each page in one array; where both begin is chosen at
 * boot. A page of ours, of which we know the number of its frame and, in a pipe, its struct page, tells where the array
 * begins; and where the mapping begins is the one place, in steps of 1 GiB, from which its contents are found.
 */
struct known_page {
	uint8_t *bytes;
	uint64_t frame;
	kaddr_t page;
};

static int frame_of(const void *p, uint64_t *frame)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t e;

	if (fd < 0 || pread(fd, &e, sizeof(e), (off_t)((uintptr_t)p / PAGE * sizeof(e))) != sizeof(e))
		return -EPERM;
	*frame = e & ((1ULL << 55) - 1); /* 0 for who may not know it */
	return e >> 63 && *frame ? 0 : -EPERM;
}

/* What a pipe got from splice(2) is the file's very page. */
static int page_in_pipe(struct kernel_view *v, int file, kaddr_t *page)
{
	int private_data = btf_offset(v->types, "file", "private_data"),
	    bufs = btf_offset(v->types, "pipe_inode_info", "bufs"),
	    at_page = btf_offset(v->types, "pipe_buffer", "page");
	_cleanup_close_ int in = -1, out = -1;
	int p[2], err;
	loff_t off = 0;
	kaddr_t at;

	if (private_data < 0 || bufs < 0 || at_page < 0)
		return -ENOENT;
	if (pipe2(p, O_CLOEXEC))
		return -errno;
	in = p[0];
	out = p[1];
	if (splice(file, &off, out, NULL, PAGE, 0) != PAGE)
		return -EIO;
	err = kernel_file_of(v, in, &at);
	err = err ?: kernel_read_pointer(v, at + (unsigned)private_data, &at);
	err = err ?: kernel_read_pointer(v, at + (unsigned)bufs, &at);
	return err ?: kernel_read_pointer(v, at + (unsigned)at_page, page);
}

static bool lies_at(struct kernel_view *v, const struct known_page *k, kaddr_t first_byte)
{
	uint8_t bytes[PAGE];

	return !kernel_read(v, first_byte + k->frame * PAGE, bytes, 64) && !memcmp(bytes, k->bytes, 64) &&
	       !kernel_read(v, first_byte + k->frame * PAGE, bytes, PAGE) && !memcmp(bytes, k->bytes, PAGE);
}

static int find_first(struct kernel_view *v, const struct known_page *k)
{
	const uint64_t step = 1ULL << 30;
	kaddr_t at = round_down(v->shared->now.task, step); /* a struct task_struct lies in that mapping */

	v->page_struct = (uint64_t)btf_size(v->types, "page");
	if ((int64_t)v->page_struct <= 0)
		return -ENOENT;
	for (unsigned i = 0; i < 1U << 14; i++, at -= step)
		if (lies_at(v, k, at)) {
			v->first_byte = at;
			v->first_page = k->page - k->frame * v->page_struct;
			return 0;
		}
	return -ENOENT;
}

static int find_pages(struct kernel_view *v)
{
	_cleanup_close_ int file = memfd_create("known page", MFD_CLOEXEC);
	struct known_page k;
	int err = -EPERM;
	void *p;

	if (file < 0 || ftruncate(file, PAGE))
		return -errno;
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_LOCKED, file, 0);
	if (p == MAP_FAILED)
		return -errno;
	k.bytes = p;
	if (getrandom(p, PAGE, 0) == PAGE)
		err = page_in_pipe(v, file, &k.page);
	err = err ?: frame_of(p, &k.frame);
	err = err ?: find_first(v, &k);
	munmap(p, PAGE);
	return err;
}

int kernel_read_page(struct kernel_view *v, kaddr_t page, size_t offset, void *buf, size_t len)
{
	if (!v->looked && find_pages(v))
		v->first_byte = 0;
	v->looked = true;
	if (!v->first_byte || page < v->first_page || (page - v->first_page) % v->page_struct)
		return -ENOTSUP;
	return kernel_read(v, v->first_byte + (page - v->first_page) / v->page_struct * PAGE + offset, buf, len);
}
