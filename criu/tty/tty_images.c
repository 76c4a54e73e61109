/* SPDX-License-Identifier: GPL-2.0-only */
/* What the images say of terminals. */
#include "lib/log.h"
#include "path/pathfile.h"
#include "tty/pty.h"

struct tty_state *tty_state_of(struct restore *r)
{
	struct tty_state *s = restore_state(r, &tty_kind);

	if (!s->used)
		s->own = -1;
	s->used = true;
	return s;
}

struct tty_info *tty_info_of(struct restore *r, uint32_t id)
{
	struct tty_info *ti;

	HASH_FIND(hh, tty_state_of(r)->infos, &id, sizeof(id), ti);
	return ti;
}

struct tty_info *tty_of_session(struct restore *r, uint32_t sid)
{
	struct tty_of_session *s;

	HASH_FIND(hh, tty_state_of(r)->sessions, &sid, sizeof(sid), s);
	return s ? s->info : NULL;
}

const RegFileEntry *tty_path_of(struct restore *r, const TtyFileEntry *m)
{
	return m ? pathfile_message(r, m->has_regf_id ? m->regf_id : m->id) : NULL;
}

static struct pty *pty_of(struct restore *r, const TtyInfoEntry *e)
{
	struct tty_state *s = tty_state_of(r);
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

/* /dev/tty only leads to one. Both ends of a pair may name their session: the slave is what it has. */
static void note_session(struct restore *r, struct tty_info *ti)
{
	struct tty_state *s = tty_state_of(r);
	struct tty_of_session *ts;
	uint32_t sid = ti->entry->sid;

	if (!sid || ti->entry->type == TTY_TYPE__CTTY)
		return;
	HASH_FIND(hh, s->sessions, &sid, sizeof(sid), ts);
	if (!ts) {
		ts = arena_new_of(r->arena, struct tty_of_session);
		ts->sid = sid;
		ts->info = ti;
		HASH_ADD_IN(r->arena, hh, s->sessions, sid, sizeof(ts->sid), ts);
	}
	if (pty_side_of(ti->entry) == PTY_SLAVE)
		ts->info = ti;
}

static int add_info(struct restore *r, const TtyInfoEntry *e)
{
	struct tty_state *s = tty_state_of(r);
	struct tty_info *ti = tty_info_of(r, e->id);

	if (ti)
		return log_errno(-EINVAL, "tty-info.img: terminal %u is there twice", e->id);
	ti = arena_new_of(r->arena, struct tty_info);
	ti->id = e->id;
	ti->entry = e;
	if (e->type == TTY_TYPE__PTY && !e->hung_up) {
		if (!e->pty)
			return log_errno(-EINVAL, "tty-info.img: terminal %u has no index", e->id);
		ti->pty = pty_of(r, e);
		ti->pty->info[pty_side_of(e)] = e;
	}
	HASH_ADD_IN(r->arena, hh, s->infos, id, sizeof(ti->id), ti);
	note_session(r, ti);
	return 0;
}

static int add_data(struct restore *r, const TtyDataEntry *e)
{
	struct tty_info *ti = tty_info_of(r, e->tty_id);
	enum pty_side side;

	if (!ti || !ti->pty)
		return log_errno(-EINVAL, "tty-data.img: terminal %u is no pseudo terminal of tty-info.img", e->tty_id);
	side = pty_side_of(ti->entry);
	if (ti->pty->data[side])
		return log_errno(-EINVAL, "tty-data.img: terminal %u is there twice", e->tty_id);
	ti->pty->data[side] = e;
	return 0;
}

static int read_one(struct restore *r, enum image_type type, const ProtobufCMessageDescriptor *pb,
                    int (*add)(struct restore *r, const void *msg))
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

static int take_info(struct restore *r, const void *msg)
{
	return add_info(r, msg);
}

static int take_data(struct restore *r, const void *msg)
{
	return add_data(r, msg);
}

int tty_read_infos(struct restore *r)
{
	int err = read_one(r, IMG_TTY_INFO, &tty_info_entry__descriptor, take_info);

	return err ?: read_one(r, IMG_TTY_DATA, &tty_data_entry__descriptor, take_data);
}
