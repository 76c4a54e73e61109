/* SPDX-License-Identifier: GPL-2.0-only */
/* The terminals of a dump or a restore: tty-info.img and tty-data.img, and the state that all files here share. */
#include "lib/log.h"
#include "path/pathfile.h"
#include "tty/tty_images.h"

extern const struct subsys tty_images_subsys;

/* ---- dump ---- */

struct tty_dump *tty_dump_of(struct dump *d)
{
	return dump_state(d, &tty_images_subsys);
}

int tty_images_write(struct dump *d)
{
	const struct tty_dump *td = tty_dump_of(d);
	_cleanup_image_ struct image *infos = NULL, *data = NULL;
	int err = image_create(d->dir, IMG_TTY_INFO, 0, &infos);

	for (size_t i = 0; !err && i < td->n; i++) {
		err = image_write(infos, td->all[i]->entry);
		if (!err && td->all[i]->data && !data)
			err = image_create(d->dir, IMG_TTY_DATA, 0, &data);
		if (!err && td->all[i]->data)
			err = image_write(data, td->all[i]->data);
	}
	if (!err)
		err = image_close(move_ptr(infos));
	return err || !data ? err : image_close(move_ptr(data));
}

/* ---- restore ---- */

struct tty_restore *tty_restore_of(struct restore *r)
{
	struct tty_restore *s = restore_state(r, &tty_images_subsys);

	if (!s->used)
		s->own = -1;
	s->used = true;
	return s;
}

struct tty_info *tty_info_of(struct restore *r, uint32_t id)
{
	struct tty_info *ti;

	HASH_FIND(hh, tty_restore_of(r)->infos, &id, sizeof(id), ti);
	return ti;
}

struct tty_info *tty_of_session(struct restore *r, uint32_t sid)
{
	struct session_terminal *s;

	HASH_FIND(hh, tty_restore_of(r)->sessions, &sid, sizeof(sid), s);
	return s ? s->info : NULL;
}

const RegFileEntry *tty_path_of(struct restore *r, const TtyFileEntry *m)
{
	return m ? pathfile_message(r, m->has_regf_id ? m->regf_id : m->id) : NULL;
}

static struct pty *add_pty(struct restore *r, const TtyInfoEntry *e)
{
	struct tty_restore *s = tty_restore_of(r);
	struct pty *p, key = { .key.by_pair = e->has_pair };

	key.key.number = e->has_pair ? e->pair : e->pty->index;
	HASH_FIND(hh, s->ptys, &key.key, sizeof(key.key), p);
	if (!p) {
		p = arena_new_of(r->arena, struct pty);
		p->key = key.key;
		p->index = e->pty->index;
		p->master = p->slave = -1;
		HASH_ADD_IN(r->arena, hh, s->ptys, key, sizeof(p->key), p);
	}
	return p;
}

/* (/dev/tty only leads to a terminal.) If both ends of a pair name the session, the slave is its terminal. */
static void note_session(struct restore *r, struct tty_info *ti)
{
	struct tty_restore *s = tty_restore_of(r);
	struct session_terminal *ts;
	uint32_t sid = ti->entry->sid;

	if (!sid || ti->entry->type == TTY_TYPE__CTTY)
		return;
	HASH_FIND(hh, s->sessions, &sid, sizeof(sid), ts);
	if (!ts) {
		ts = arena_new_of(r->arena, struct session_terminal);
		ts->sid = sid;
		ts->info = ti;
		HASH_ADD_IN(r->arena, hh, s->sessions, sid, sizeof(ts->sid), ts);
	}
	if (pty_side_of(ti->entry) == PTY_SLAVE)
		ts->info = ti;
}

/* CRIU writes no settings of a terminal that was hung up, since it answers no ioctl(2). */
static bool was_hung_up(const TtyInfoEntry *e)
{
	return e->hung_up || (e->type == TTY_TYPE__PTY && !e->termios);
}

static int add_info(struct restore *r, void *msg)
{
	TtyInfoEntry *e = msg;
	struct tty_restore *s = tty_restore_of(r);
	struct tty_info *ti = tty_info_of(r, e->id);

	if (ti)
		return log_errno(-EINVAL, "tty-info.img: terminal %u occurs twice", e->id);
	ti = arena_new_of(r->arena, struct tty_info);
	ti->id = e->id;
	ti->entry = e;
	ti->job_fd = -1;
	e->has_hung_up = e->hung_up = was_hung_up(e);
	if (e->type == TTY_TYPE__PTY && !e->hung_up) {
		if (!e->pty)
			return log_errno(-EINVAL, "tty-info.img: terminal %u has no index", e->id);
		ti->pty = add_pty(r, e);
		ti->pty->info[pty_side_of(e)] = e;
	}
	HASH_ADD_IN(r->arena, hh, s->infos, id, sizeof(ti->id), ti);
	note_session(r, ti);
	return 0;
}

static int add_queue(struct restore *r, void *msg)
{
	const TtyDataEntry *e = msg;
	struct tty_info *ti = tty_info_of(r, e->tty_id);
	enum pty_side side;

	if (!ti || !ti->pty)
		return log_errno(-EINVAL, "tty-data.img: terminal %u is not a pseudo terminal of tty-info.img",
		                 e->tty_id);
	side = pty_side_of(ti->entry);
	if (ti->pty->data[side])
		return log_errno(-EINVAL, "tty-data.img: terminal %u occurs twice", e->tty_id);
	ti->pty->data[side] = e;
	return 0;
}

static int read_all_messages(struct restore *r, enum image_type type, const ProtobufCMessageDescriptor *pb,
                             int (*add)(struct restore *r, void *msg))
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, type, 0, &img);
	void *msg;

	if (err)
		return err == -ENOENT ? 0 : err;
	while ((err = image_read(img, pb, r->arena, &msg)) > 0) {
		err = add(r, msg);
		if (err)
			return err;
	}
	return err;
}

int tty_images_read(struct restore *r)
{
	int err = read_all_messages(r, IMG_TTY_INFO, &tty_info_entry__descriptor, add_info);

	return err ?: read_all_messages(r, IMG_TTY_DATA, &tty_data_entry__descriptor, add_queue);
}

const struct subsys tty_images_subsys = {
	.name = "terminals in the images",
	.state = { .dump = sizeof(struct tty_dump), .restore = sizeof(struct tty_restore) },
};
