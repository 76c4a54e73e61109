/* SPDX-License-Identifier: GPL-2.0-only */
#include "image/image_stream.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "img-streamer.pb-c.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/rights.h"

#define CAPTURE_SOCKET "streamer-capture.sock"
#define SERVE_SOCKET   "streamer-serve.sock"
#define ANSWER_MAX     64U /* bytes of an answer, which is a truth value */
#define STEP           (256UL << 10)
#define BLOCK          (64UL << 10) /* a multiple of every size of pages */
#define PIPE_SIZE      (1 << 20)
#define WAIT_LEAST_US  100
#define WAIT_MOST_US   10000

/* A file that is kept, in the memory of the stream. */
struct kept {
	char *name;
	struct image_stretch where;
	UT_hash_handle hh; /* by name; in the order in which they came */
};

struct image_stream {
	pthread_mutex_t lock;
	int sock;
	unsigned limit;
	int memory;   /* a memfd with all files, one behind the other, each from a block on */
	uint64_t end; /* of what is used of it */
	struct kept *kept;
};

static void cleanup_stream(struct image_stream **s)
{
	image_stream_close(*s);
}

int image_stream_connect(int dirfd, const char *path, bool capture, unsigned limit, struct image_stream **sp)
{
	__attribute__((cleanup(cleanup_stream))) struct image_stream *s = calloc(1, sizeof(*s));
	const char *name = capture ? CAPTURE_SOCKET : SERVE_SOCKET;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (!s)
		return log_errno(-ENOMEM, "%s", path);
	pthread_mutex_init(&s->lock, NULL);
	s->limit = limit;
	s->memory = memfd_create("images", MFD_CLOEXEC);
	s->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->memory < 0 || s->sock < 0)
		return log_errno(-errno, "memfd_create or socket, for the image streamer");
	/* However long the directory's path is. */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dirfd, name);
	if (connect(s->sock, (struct sockaddr *)&addr, sizeof(addr)))
		return log_errno(-errno, "%s/%s: connect; with --stream an image streamer has to listen there", path,
		                 name);
	*sp = move_ptr(s);
	return 0;
}

void image_stream_close(struct image_stream *s)
{
	struct kept *k, *next;

	if (!s)
		return;
	HASH_ITER(hh, s->kept, k, next)
	{
		HASH_DEL(s->kept, k);
		free(k->name);
		free(k);
	}
	cleanup_close(&s->sock);
	cleanup_close(&s->memory);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- the other side ---- */

/* Until the descriptor is ready. */
static int await_ready(const struct image_stream *s, int fd, short events, const char *name)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, (int)s->limit * 1000);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return log_errno(-errno, "%s: poll", name);
	if (!n)
		return log_errno(-ETIMEDOUT, "%s: the image streamer has done nothing for %u seconds (--timeout)", name,
		                 s->limit);
	return 0;
}

static int streamer_gone(const char *name)
{
	return log_errno(-EPIPE, "%s: the image streamer has closed its end", name);
}

/* What sending gave: 0: again; negative: an error (logged). */
static int sending_failed(const char *name, int err)
{
	if (err == -EAGAIN || err == -EINTR)
		return 0;
	if (err == -EPIPE || err == -ECONNRESET)
		return streamer_gone(name);
	return log_errno(err, "%s: sending to the image streamer", name);
}

static int socket_send(struct image_stream *s, const char *name, const void *data, size_t len)
{
	int err = 0;

	for (const uint8_t *at = data; !err && len;) {
		ssize_t n;

		err = await_ready(s, s->sock, POLLOUT, name);
		if (err)
			break;
		n = send(s->sock, at, len, MSG_NOSIGNAL);
		if (n < 0) {
			err = sending_failed(name, -errno);
			continue;
		}
		at += n;
		len -= (size_t)n;
	}
	return err;
}

static int socket_send_fd(struct image_stream *s, const char *name, int fd)
{
	int err, sent;

	do {
		err = await_ready(s, s->sock, POLLOUT, name);
		sent = err ? 0 : rights_send(s->sock, "", 1, &fd, 1);
		if (sent)
			err = sending_failed(name, sent);
	} while (!err && sent);
	return err;
}

static int socket_receive(struct image_stream *s, const char *name, void *data, size_t len)
{
	for (uint8_t *at = data; len;) {
		int err = await_ready(s, s->sock, POLLIN, name);
		ssize_t n = err ? 0 : recv(s->sock, at, len, 0);

		if (err)
			return err;
		if (!n || (n < 0 && errno == ECONNRESET))
			return streamer_gone(name);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return log_errno(-errno, "%s: recv from the image streamer", name);
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int send_request(struct image_stream *s, const char *name)
{
	ImgStreamerRequestEntry m = IMG_STREAMER_REQUEST_ENTRY__INIT;
	uint8_t bytes[sizeof(uint32_t) + 320];
	uint32_t len;

	m.filename = (char *)name;
	len = (uint32_t)img_streamer_request_entry__get_packed_size(&m);
	if (len > sizeof(bytes) - sizeof(len))
		return log_errno(-ENAMETOOLONG, "%s", name);
	img_streamer_request_entry__pack(&m, bytes + sizeof(len));
	memcpy(bytes, &(uint32_t) { htole32(len) }, sizeof(len));
	return socket_send(s, name, bytes, sizeof(len) + len);
}

/* 1: the streamer has the file; 0: it has not. */
static int receive_answer(struct image_stream *s, const char *name)
{
	ImgStreamerReplyEntry *m;
	uint8_t bytes[ANSWER_MAX];
	uint32_t len;
	int err = socket_receive(s, name, &len, sizeof(len));

	if (err)
		return err;
	len = le32toh(len);
	if (len > sizeof(bytes))
		return log_errno(-EBADMSG, "%s: the image streamer begins an answer of %u bytes", name, len);
	err = socket_receive(s, name, bytes, len);
	if (err)
		return err;
	m = img_streamer_reply_entry__unpack(NULL, len, bytes);
	if (!m)
		return log_errno(-EBADMSG, "%s: the answer of the image streamer is none", name);
	err = m->exists;
	img_streamer_reply_entry__free_unpacked(m, NULL);
	return err;
}

/* The streamer gets the end of a pipe that it is to read (sending) or write; the other one is ours. */
static int share_pipe(struct image_stream *s, const char *name, bool sending)
{
	_cleanup_close_ int theirs = -1, ours = -1;
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC))
		return log_errno(-errno, "%s: pipe2", name);
	theirs = ends[sending ? 0 : 1];
	ours = ends[sending ? 1 : 0];
	fcntl(ours, F_SETPIPE_SZ, PIPE_SIZE); /* faster, where it is allowed */
	/* Of this end's description alone: the streamer's end stays as it expects. */
	if (fcntl(ours, F_SETFL, O_NONBLOCK))
		return log_errno(-errno, "%s: fcntl(F_SETFL)", name);
	err = socket_send_fd(s, name, theirs);
	return err ?: move_fd(&ours);
}

/* ---- files in memory ---- */

static struct kept *find_kept(struct image_stream *s, const char *name)
{
	struct kept *k;

	HASH_FIND_STR(s->kept, name, k);
	return k;
}

static uint64_t whole_blocks(uint64_t size)
{
	return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* Its pages are given back. */
static void drop_stretch(struct image_stream *s, const struct image_stretch *w)
{
	if (w->size)
		fallocate(s->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)w->at,
		          (off_t)whole_blocks(w->size));
}

static int note_kept(struct image_stream *s, const char *name, uint64_t size, struct image_stretch *where)
{
	struct kept *k = find_kept(s, name);

	if (k) {
		drop_stretch(s, &k->where);
	} else {
		k = calloc(1, sizeof(*k));
		if (k)
			k->name = strdup(name);
		if (!k || !k->name) {
			free(k);
			return log_errno(-ENOMEM, "%s", name);
		}
		HASH_ADD_KEYPTR(hh, s->kept, k->name, strlen(k->name), k);
	}
	k->where = (struct image_stretch) { s->memory, s->end, size };
	s->end += whole_blocks(size);
	if (where)
		*where = k->where;
	return 0;
}

static int copy_bytes(int to, uint64_t to_at, int from, uint64_t from_at, uint64_t size, const char *name)
{
	_cleanup_free_ uint8_t *buf = malloc(STEP);
	int err = buf ? 0 : log_errno(-ENOMEM, "%s", name);

	while (!err && size) {
		ssize_t n = io_pread_all(from, buf, MIN(size, STEP), (off_t)from_at);

		if (n <= 0)
			return log_errno(n ? (int)n : -EBADMSG, "%s: pread", name);
		err = io_pwrite_all(to, buf, (size_t)n, (off_t)to_at);
		if (err)
			return log_errno(err, "%s: pwrite to memory", name);
		from_at += (uint64_t)n;
		to_at += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return err;
}

int image_stream_copy(const struct image_stretch *where, const char *name)
{
	_cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC);
	int err;

	if (fd < 0)
		return log_errno(-errno, "%s: memfd_create", name);
	err = copy_bytes(fd, 0, where->fd, where->at, where->size, name);
	return err ?: move_fd(&fd);
}

void image_stream_forget(struct image_stream *s, const char *name)
{
	struct kept *k;

	pthread_mutex_lock(&s->lock);
	k = find_kept(s, name);
	if (k) {
		drop_stretch(s, &k->where);
		HASH_DEL(s->kept, k);
		free(k->name);
		free(k);
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- dump ---- */

int image_stream_keep(struct image_stream *s, const char *name, int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	int err;

	if (size < 0)
		return log_errno(-errno, "%s: lseek", name);
	pthread_mutex_lock(&s->lock);
	err = copy_bytes(s->memory, s->end, fd, 0, (uint64_t)size, name);
	if (!err)
		err = note_kept(s, name, (uint64_t)size, NULL);
	pthread_mutex_unlock(&s->lock);
	return err;
}

int image_stream_begin(struct image_stream *s, const char *name)
{
	int fd;

	pthread_mutex_lock(&s->lock);
	fd = send_request(s, name);
	if (!fd)
		fd = share_pipe(s, name, true);
	pthread_mutex_unlock(&s->lock);
	return fd;
}

/* A pipe that nobody reads any more is an error, not a signal. */
static ssize_t write_to_pipe(int fd, const void *data, size_t len)
{
	const struct timespec none = { 0 };
	sigset_t sigpipe, before;
	ssize_t n;
	int err;

	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
	n = write(fd, data, len);
	err = errno;
	if (n < 0 && err == EPIPE)
		while (sigtimedwait(&sigpipe, NULL, &none) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = err;
	return n;
}

int image_stream_write(struct image_stream *s, const char *name, int fd, const void *data, size_t len)
{
	for (const uint8_t *at = data; len;) {
		ssize_t n = write_to_pipe(fd, at, len);

		if (n < 0 && errno == EAGAIN) {
			int err = await_ready(s, fd, POLLOUT, name);

			if (err)
				return err;
		} else if (n < 0 && errno == EPIPE) {
			return streamer_gone(name);
		} else if (n < 0 && errno != EINTR) {
			return log_errno(-errno, "%s: write to the image streamer", name);
		} else if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Until nothing is left in the pipe: what lies there would be lost with the streamer. No event tells of it. */
static int await_empty(struct image_stream *s, const char *name, int fd)
{
	uint64_t since = clock_now_us();
	unsigned pause_us = WAIT_LEAST_US;
	int before = 0, left = 0;

	for (;;) {
		struct pollfd p = { .fd = fd };

		if (poll(&p, 1, 0) > 0 && (p.revents & POLLERR))
			return streamer_gone(name);
		if (ioctl(fd, FIONREAD, &left))
			return log_errno(-errno, "%s: ioctl(FIONREAD)", name);
		if (!left)
			return 0;
		if (left != before) {
			before = left;
			since = clock_now_us();
			pause_us = WAIT_LEAST_US;
		}
		if (clock_now_us() - since > s->limit * 1000000ULL)
			return log_errno(-ETIMEDOUT,
			                 "%s: the image streamer has done nothing for %u seconds (--timeout)", name,
			                 s->limit);
		nanosleep(&(struct timespec) { .tv_nsec = pause_us * 1000L }, NULL);
		pause_us = MIN(2 * pause_us, WAIT_MOST_US);
	}
}

int image_stream_end(struct image_stream *s, const char *name, int *fd)
{
	int err = await_empty(s, name, *fd);

	cleanup_close(fd);
	*fd = -1;
	return err;
}

static int send_kept_file(struct image_stream *s, const struct kept *k)
{
	_cleanup_free_ uint8_t *buf = malloc(STEP);
	_cleanup_close_ int fd = -1;
	int err = buf ? send_request(s, k->name) : log_errno(-ENOMEM, "%s", k->name);

	if (err)
		return err;
	fd = share_pipe(s, k->name, true);
	err = MIN(fd, 0);
	for (uint64_t at = 0; !err && at < k->where.size; at += STEP) {
		size_t len = MIN(k->where.size - at, STEP);
		ssize_t n = io_pread_all(s->memory, buf, len, (off_t)(k->where.at + at));

		err = n != (ssize_t)len ? log_errno(n < 0 ? (int)n : -EBADMSG, "%s: pread of memory", k->name)
		                        : image_stream_write(s, k->name, fd, buf, len);
	}
	return err ?: image_stream_end(s, k->name, &fd);
}

int image_stream_send_kept(struct image_stream *s)
{
	struct pollfd p = { .fd = s->sock, .events = POLLIN | POLLRDHUP };
	struct kept *k, *next;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	HASH_ITER(hh, s->kept, k, next)
	{
		err = err ?: send_kept_file(s, k);
		HASH_DEL(s->kept, k);
		free(k->name);
		free(k);
	}
	if (!err && !ftruncate(s->memory, 0))
		s->end = 0;
	/* A streamer says nothing during a dump: what can be read is its end. */
	if (!err && poll(&p, 1, 0))
		err = streamer_gone("socket");
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* ---- restore ---- */

/* What is in the pipe, to its end, goes behind all that is kept. */
static int drain_pipe(struct image_stream *s, const char *name, int fd, uint64_t most, uint64_t *size)
{
	_cleanup_free_ uint8_t *buf = malloc(STEP);

	if (!buf)
		return log_errno(-ENOMEM, "%s", name);
	for (*size = 0;;) {
		ssize_t n = read(fd, buf, STEP);
		int err = 0;

		if (!n)
			return 0;
		if (n < 0 && errno == EAGAIN)
			err = await_ready(s, fd, POLLIN, name);
		else if (n < 0 && errno != EINTR)
			err = log_errno(-errno, "%s: read from the image streamer", name);
		else if (n > 0 && (uint64_t)n > most - *size)
			err = log_errno(-EBADMSG,
			                "%s: the image streamer sends more than the %" PRIu64 " bytes that it has",
			                name, most);
		else if (n > 0 && (err = io_pwrite_all(s->memory, buf, (size_t)n, (off_t)(s->end + *size))))
			log_errno(err, "%s: pwrite to memory", name);
		if (err)
			return err;
		*size += n > 0 ? (uint64_t)n : 0;
	}
}

static int fetch_locked(struct image_stream *s, const char *name, uint64_t most, struct image_stretch *where)
{
	const struct kept *k = find_kept(s, name);
	_cleanup_close_ int fd = -1;
	uint64_t size = 0;
	int err;

	if (k) {
		*where = k->where;
		return 0;
	}
	err = send_request(s, name);
	if (err)
		return err;
	err = receive_answer(s, name);
	if (err <= 0)
		return err ?: -ENOENT;
	fd = share_pipe(s, name, false);
	if (fd < 0)
		return fd;
	err = drain_pipe(s, name, fd, most, &size);
	return err ?: note_kept(s, name, size, where);
}

int image_stream_fetch(struct image_stream *s, const char *name, uint64_t most, struct image_stretch *where)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = fetch_locked(s, name, most, where);
	pthread_mutex_unlock(&s->lock);
	return err;
}
