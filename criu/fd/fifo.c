/* SPDX-License-Identifier: GPL-2.0-only */
/* FIFOs: pipes with a path. */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "files/fown.h"
#include "lib/log.h"
#include "path/pathfile.h"
#include "fd/pipe_queue.h"
#include "fd/pipe_table.h"
#include "fifo.pb-c.h"

extern const struct fd_kind fifo_kind;

static bool fifo_match(const struct fd_info *info)
{
	return S_ISFIFO(info->st.st_mode) && !(info->flags & O_PATH) && info->link[0] == '/';
}

static int fifo_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct pipe_table **table = dump_state(d, &fifo_kind);
	FifoEntry *m = msg;
	int err = pathfile_dump_extra(d, info, &m->regf_id);

	m->has_regf_id = true;
	if (err == PATHFILE_EXTERNAL) {
		m->pipe_id = (uint32_t)info->st.st_ino;
		return 0;
	}
	return err ?: pipe_table_add(d, info, IMG_FIFO_DATA, table, &m->pipe_id);
}

static int fifo_write_images(struct dump *d)
{
	struct pipe_table **table = dump_state(d, &fifo_kind);

	return pipe_table_finish(*table);
}

static struct pipe_queue **fifo_queues_of(struct restore *r)
{
	return restore_state(r, &fifo_kind);
}

static int fifo_read_images(struct restore *r)
{
	return pipe_queues_read(r, IMG_FIFO_DATA, fifo_queues_of(r));
}

/* Older images have the path under the FIFO's own id. */
static const RegFileEntry *fifo_path(struct restore *r, const FifoEntry *m)
{
	return pathfile_message(r, m->has_regf_id ? m->regf_id : m->id);
}

static int fifo_check(struct restore *r, const void *msg, const char **why)
{
	const RegFileEntry *path = fifo_path(r, msg);

	if (path)
		return pathfile_check(r, path, why);
	*why = "no path for this FIFO in files.img";
	return -EINVAL;
}

/* Size and bytes, once; not the bytes where the FIFO still has them, kept open by a process outside of the tree. */
static int fill_fifo(struct pipe_queue *q, int fd, const char *name)
{
	int pending = 0;

	if (q->filled)
		return 0;
	q->filled = true;
	if (ioctl(fd, FIONREAD, &pending))
		return log_errno(-errno, "%s: ioctl(FIONREAD)", name);
	if (pending && q->entry && q->entry->bytes) {
		log_warn("%s: %d bytes are in this FIFO already (a process has kept it open); the %u of the checkpoint "
		         "are left out",
		         name, pending, q->entry->bytes);
		return 0;
	}
	return pipe_queue_put(q, fd, name);
}

static int fifo_open(struct restore *r, const void *msg)
{
	const FifoEntry *m = msg;
	const RegFileEntry *path = fifo_path(r, m);
	_cleanup_close_ int both = -1;
	int fd, err;

	if (!path)
		return -EINVAL;
	/* With both ends open in one descriptor no open of a single end waits for the other. */
	both = pathfile_open(r, path, O_RDWR | O_NONBLOCK);
	if (both < 0)
		return both;
	err = fill_fifo(pipe_queue_of(r, fifo_queues_of(r), m->pipe_id), both, path->name);
	if (err)
		return err;
	fd = pathfile_open(r, path, path->flags & ~(uint32_t)O_DIRECT);
	if (fd >= 0 && (path->flags & O_DIRECT) && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT)) {
		err = log_errno(-errno, "%s: fcntl(F_SETFL) of O_DIRECT", path->name);
		close(fd);
		return err;
	}
	return fd;
}

static void fifo_resource(struct restore *r, const void *msg, char *buf, size_t size, bool *is_external)
{
	const RegFileEntry *path = fifo_path(r, msg);

	if (!path)
		return;
	snprintf(buf, size, "%s", path->name);
	*is_external = path->has_ext && path->ext;
}

static bool fifo_accepts(struct restore *r, const void *msg, const struct fd_info *ours)
{
	return pathfile_accepts(fifo_path(r, msg), ours);
}

/* Its owner and O_ASYNC stand with its path, where files/ does not look. */
static int fifo_post_open(struct restore *r, const void *msg, int fd)
{
	const RegFileEntry *path = fifo_path(r, msg);

	return path ? fown_restore(r, fd, path->fown, path->flags) : -EINVAL;
}

const struct fd_kind fifo_kind = {
	.name = "FIFO",
	.state = { .dump = sizeof(struct pipe_table *), .restore = sizeof(struct pipe_queue *) },
	.type = FD_TYPES__FIFO,
	.field = 17,
	.pb = &fifo_entry__descriptor,
	.match = fifo_match,
	.dump = fifo_dump,
	.check = fifo_check,
	.resource = fifo_resource,
	.accepts_inherited = fifo_accepts,
	.open = fifo_open,
	.post_open = fifo_post_open,
	.read_images = fifo_read_images,
	.write_images = fifo_write_images,
};
