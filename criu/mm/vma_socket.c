/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of packet sockets that are mapped (PACKET_RX_RING, PACKET_MMAP of packet(7)). A new ring begins at its first
 * block, but the program goes on where it was: so the blocks from there to the end are given to it again, with what it
 * has not read or with nothing, and it meets the kernel at the first block. Of frames none can be empty:
 * mm/ring_frames.h.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "arch_page.h"
#include "files/files.h"
#include "files/files_dump.h"
#include "format.h"
#include "lib/io.h"
#include "lib/log.h"
#include "mm/ring_frames.h"
#include "mm/shmem.h"
#include "packet-sock.pb-c.h"
#include "pages/pages.h"
#include "tree/subsys.h"

extern const struct subsys vma_socket_subsys;
extern const struct vma_kind vma_socket_kind;

/* ---- dump ---- */

struct socket_map {
	struct task *task;
	VmaEntry *entry;
	dev_t dev;
	uint64_t ino;
	int copy; /* a memfd of ours that has the bytes of the ring */
};

struct vma_socket_dump_state {
	struct socket_map *maps;
	size_t n;
};

static bool vma_socket_match(struct dump *d, const struct proc_map *m)
{
	return m->shared && !m->major && !strncmp(m->name, "socket:[", 8);
}

/* Its socket is known when descriptors have been read. */
static int vma_socket_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	struct vma_socket_dump_state *s = dump_state(d, &vma_socket_subsys);
	struct socket_map map = { t, v->entry, makedev(m->major, m->minor), m->ino, -1 };

	v->entry->status |= VMA_SOCKET;
	arena_push(d->arena, &s->maps, &s->n, map);
	return 0;
}

static int refuse_ring(const struct socket_map *m, const char *why)
{
	return log_refusal(-ENOTSUP, "%s: mapping %" PRIx64 "-%" PRIx64 " of socket:[%" PRIu64 "]: %s",
	                   task_name(m->task), m->entry->start, m->entry->end, m->ino, why);
}

/*
 * The kernel goes on with it meanwhile. It is read from its end, so that what is seen to be begun has behind it what
 * was finished before; and again where the two differ, since what is just being finished would be taken for read.
 */
static int read_backwards(const struct socket_map *m, uint8_t *to)
{
	uint64_t at = m->entry->end;
	int err = 0;

	while (!err && at > m->entry->start) {
		struct iovec remote = { (void *)(uintptr_t)(at - PAGE_SIZE), PAGE_SIZE };

		at -= PAGE_SIZE;
		err = io_read_process(m->task->pid, to + (at - m->entry->start), &remote, 1);
	}
	return err ? log_errno(err, "%s: process_vm_readv of the ring at %" PRIx64, task_name(m->task), at) : 0;
}

static int read_settled(const struct socket_map *m, uint8_t *ring, uint64_t len)
{
	_cleanup_free_ uint8_t *before = malloc(len);
	int err = before ? read_backwards(m, ring) : -ENOMEM;

	for (int tries = 0; !err && tries < 5; tries++) {
		memcpy(before, ring, len);
		err = read_backwards(m, ring);
		if (!memcmp(before, ring, len))
			break;
	}
	return err;
}

static int copy_ring(struct dump *d, struct socket_map *m, bool *used)
{
	uint64_t len = m->entry->end - m->entry->start;
	_cleanup_free_ uint8_t *ring = malloc(len);
	struct stat st;
	char path[40];
	int err = ring ? read_settled(m, ring, len) : -ENOMEM;

	if (err)
		return err == -ENOMEM
		           ? log_errno(err, "%s: memory for the ring at %" PRIx64, task_name(m->task), m->entry->start)
		           : err;
	for (uint64_t i = 0; !*used && i < len; i++)
		*used = ring[i];
	m->copy = memfd_create("criu-ring", MFD_CLOEXEC);
	if (m->copy < 0 || fstat(m->copy, &st))
		return log_errno(-errno, "%s: memfd_create for the ring of a packet socket", task_name(m->task));
	err = io_write_all(m->copy, ring, len);
	if (err)
		return log_errno(err, "%s: write to a memfd", task_name(m->task));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->copy);
	shmem_note_object(d, m->task, st.st_ino, false, path);
	m->entry->has_ring_id = true;
	m->entry->ring_id = (uint32_t)st.st_ino;
	return 0;
}

static int collect_ring(struct dump *d, struct socket_map *m)
{
	const struct file_at *at = files_at(d, m->dev, m->ino);
	_cleanup_close_ int fd = -1;
	int domain = 0, version = 0, err;
	socklen_t len = sizeof(domain);
	bool used = false;

	while (at && at->number < 0)
		at = at->next;
	if (!at)
		return refuse_ring(m, "no descriptor is left of the socket; unmap it before the dump");
	m->entry->shmid = at->id;
	fd = (int)syscall(SYS_pidfd_getfd, at->task->dump->pidfd, at->number, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len))
		return log_errno(-errno, "%s: fd %d: pidfd_getfd, or getsockopt(SO_DOMAIN)", task_name(at->task),
		                 at->number);
	if (domain != AF_PACKET)
		return refuse_ring(m,
		                   "mappings of sockets that are no packet sockets are not supported; unmap it before "
		                   "the dump");
	if (m->entry->pgoff)
		return refuse_ring(m, "a part of the ring of a packet socket; unmap it before the dump");
	if (getsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, &len))
		return log_errno(-errno, "%s: fd %d: getsockopt(PACKET_VERSION)", task_name(at->task), at->number);
	err = copy_ring(d, m, &used);
	if (!err && used && version == TPACKET_V1)
		return refuse_ring(m, "the ring of a packet socket that has got packets in frames of TPACKET_V1: "
		                      "where the program is in it cannot be restored; unmap it before the dump");
	return err;
}

static int vma_socket_collect(struct dump *d)
{
	struct vma_socket_dump_state *s = dump_state(d, &vma_socket_subsys);
	int err = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct socket_map *first = s->maps;
		int part = 0;

		while (first->ino != s->maps[i].ino || first->dev != s->maps[i].dev)
			first++;
		if (first == &s->maps[i])
			part = collect_ring(d, &s->maps[i]);
		s->maps[i].entry->shmid = first->entry->shmid;
		s->maps[i].entry->has_ring_id = first->entry->has_ring_id;
		s->maps[i].entry->ring_id = first->entry->ring_id;
		err = err ?: part;
	}
	return err;
}

static void vma_socket_end(struct dump *d)
{
	struct vma_socket_dump_state *s = dump_state(d, &vma_socket_subsys);

	for (size_t i = 0; i < s->n; i++)
		cleanup_close(&s->maps[i].copy);
}

struct vma_socket_restore_state {
	uint32_t *filled; /* sockets, by their number in files.img */
	size_t n;
};

const struct subsys vma_socket_subsys = {
	.name = "rings of packet sockets",
	.state = { sizeof(struct vma_socket_dump_state), sizeof(struct vma_socket_restore_state) },
	.collect = vma_socket_collect,
	.end = vma_socket_end,
};

/* ---- restore ---- */

static const PacketSockEntry *socket_of(struct restore *r, const VmaEntry *v)
{
	const struct fd_kind *kind = NULL;
	const void *m = v->shmid > UINT32_MAX ? NULL : files_message(r, (uint32_t)v->shmid, &kind);

	return m && kind && kind->pb == &packet_sock_entry__descriptor ? m : NULL;
}

static uint64_t ring_bytes(const PacketRing *ring)
{
	return ring ? (uint64_t)ring->block_size * ring->block_nr : 0;
}

static int vma_socket_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	const PacketSockEntry *m = socket_of(r, v);
	const PacketRing *ring = m ? m->rx_ring : NULL;

	if (!m || !(v->flags & MAP_SHARED))
		return vma_damaged(t, v, "is of a socket that files.img does not have as a packet socket");
	if (v->pgoff || ring_bytes(ring) + ring_bytes(m->tx_ring) != v->end - v->start ||
	    (ring && (ring->block_size < PAGE_SIZE || ring->block_size % PAGE_SIZE ||
	              ring->frame_size < sizeof(struct tpacket2_hdr) || ring->frame_size > ring->block_size ||
	              ring->frame_nr != ring->block_size / ring->frame_size * ring->block_nr)))
		return vma_damaged(t, v, "is not the ring of its packet socket");
	return 0;
}

/* The blocks of a ring of TPACKET_V3 as they were. */
struct blocks {
	uint8_t *bytes;
	uint32_t size, n;
};

static struct tpacket_block_desc *block_of(const struct blocks *b, uint32_t i)
{
	return (struct tpacket_block_desc *)(void *)(b->bytes + (size_t)i * b->size);
}

/* What a restore gives out is numbered up to -1: the numbers of a new ring begin with 1. */
static int64_t number_of(const struct blocks *b, uint32_t i)
{
	return (int64_t)block_of(b, i)->hdr.bh1.seq_num;
}

static bool is_given(const struct blocks *b, uint32_t i)
{
	return block_of(b, i)->hdr.bh1.block_status & TP_STATUS_USER;
}

/* Where the program reads next: the oldest block that it was given, or the one that the kernel was filling. */
static uint32_t reads_next(const struct blocks *b, uint32_t *lost)
{
	uint32_t oldest = b->n, newest = 0;

	for (uint32_t i = 0; i < b->n; i++) {
		if (is_given(b, i) && (oldest == b->n || number_of(b, i) < number_of(b, oldest)))
			oldest = i;
		if (number_of(b, i) > number_of(b, newest))
			newest = i;
	}
	if (oldest == b->n)
		return newest;
	for (uint32_t i = 0; i < oldest; i++)
		*lost += is_given(b, i) ? block_of(b, i)->hdr.bh1.num_pkts : 0;
	return oldest;
}

static void give_empty(uint8_t *to, const PacketRing *ring)
{
	struct tpacket_block_desc *desc = (struct tpacket_block_desc *)(void *)to;

	desc->version = 1;
	desc->offset_to_priv = sizeof(*desc);
	desc->hdr.bh1.num_pkts = 0;
	desc->hdr.bh1.offset_to_first_pkt = (uint32_t)(sizeof(*desc) + round_up(ring->sizeof_priv, 8));
	desc->hdr.bh1.blk_len = desc->hdr.bh1.offset_to_first_pkt;
	desc->hdr.bh1.block_status = TP_STATUS_USER;
}

static void fill_blocks(uint8_t *map, const PacketRing *ring, const struct blocks *b)
{
	uint32_t lost = 0, at = reads_next(b, &lost);

	if (lost)
		log_warn("%u packets in the ring of a packet socket are dropped", lost);
	/* At the first block both are at once. */
	for (uint32_t i = at; i < b->n && (at || is_given(b, 0)); i++) {
		uint8_t *to = map + (size_t)i * b->size;

		if (is_given(b, i))
			memcpy(to, block_of(b, i), b->size);
		else
			give_empty(to, ring);
		((struct tpacket_block_desc *)(void *)to)->hdr.bh1.seq_num = (uint64_t)((int64_t)i - b->n);
	}
}

static int fill_ring(int fd, const VmaEntry *v, const PacketSockEntry *m, uint8_t *bytes)
{
	uint8_t *map = mmap(NULL, v->end - v->start, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	const PacketRing *ring = m->rx_ring;
	int err = 0;

	if (map == MAP_FAILED)
		return log_errno(-errno, "mmap of the ring of a packet socket");
	if (m->version == TPACKET_V2)
		err = ring_frames_fill(fd, map, ring, bytes);
	else
		fill_blocks(map, ring, &(struct blocks) { bytes, ring->block_size, ring->block_nr });
	munmap(map, v->end - v->start);
	return err;
}

static int read_ring(struct restore *r, const VmaEntry *v, uint8_t *bytes)
{
	struct pagemap *pages;
	int err = pages_read_object(r, v->ring_id, &pages);

	for (size_t i = 0; !err && i < pages->n_runs; i++) {
		const struct page_run *run = &pages->runs[i];
		raddr_t end = MIN(page_run_end(run), v->end - v->start);

		if (run->at < end) {
			struct page_run part = page_run_part(run, run->at, end);

			err = pages_read_run(pages, &part, bytes + run->at);
		}
	}
	return err;
}

/* Each is filled once, however many tasks map it. */
static bool was_filled(struct restore *r, uint32_t id)
{
	struct vma_socket_restore_state *s = restore_state(r, &vma_socket_subsys);

	for (size_t i = 0; i < s->n; i++)
		if (s->filled[i] == id)
			return true;
	arena_push(r->arena, &s->filled, &s->n, id);
	return false;
}

/* Nothing comes in yet: the socket is bound last. */
static int vma_socket_open(struct restore *r, const VmaEntry *v, bool *own)
{
	const PacketSockEntry *m = socket_of(r, v);
	int fd = files_open(r, (uint32_t)v->shmid), err;
	_cleanup_free_ uint8_t *bytes = NULL;

	if (fd >= 0 && was_filled(r, (uint32_t)v->shmid))
		return fd;
	if (fd < 0 || !v->has_ring_id || m->version == TPACKET_V1 || !m->rx_ring)
		return fd;
	bytes = calloc(1, v->end - v->start);
	if (!bytes)
		return log_errno(-ENOMEM, "memory for the ring of a packet socket");
	err = read_ring(r, v, bytes);
	if (!err)
		err = fill_ring(fd, v, m, bytes);
	return err ?: fd;
}

const struct vma_kind vma_socket_kind = {
	.name = "ring of a packet socket",
	.status = VMA_SOCKET,
	.match = vma_socket_match,
	.dump = vma_socket_dump,
	.check = vma_socket_check,
	.open = vma_socket_open,
};
