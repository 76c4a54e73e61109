/* SPDX-License-Identifier: GPL-2.0-only */
/* Whose controlling terminals: TIOCGSID answers only to those who have it, /proc/PID/stat to all. */
#include <string.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "tty/tty_dump.h"

struct group {
	int32_t pgrp;
	uint32_t vpgid;
	UT_hash_handle hh;
};

static int note(struct dump *d, struct tty_dump *td, const struct task *t, struct group **groups, int32_t *fg)
{
	struct tty_session *s;
	struct proc_stat st;
	struct group *g;
	uint32_t dev;
	int err = proc_read_stat(t->dump->proc_fd, 0, &st);

	if (err)
		return log_errno(err, "%s: reading its stat", task_name(t));
	HASH_FIND(hh, *groups, &st.pgrp, sizeof(st.pgrp), g);
	if (!g) {
		g = arena_new_of(d->arena, struct group);
		g->pgrp = st.pgrp;
		g->vpgid = (uint32_t)t->vpgid.v;
		HASH_ADD_IN(d->arena, hh, *groups, pgrp, sizeof(g->pgrp), g);
	}
	*fg = st.tpgid;
	dev = (uint32_t)st.tty_nr;
	HASH_FIND(hh, td->sessions, &dev, sizeof(dev), s);
	if (!dev || s)
		return 0;
	s = arena_new_of(d->arena, struct tty_session);
	s->dev = dev;
	s->sid = (uint32_t)t->vsid.v;
	HASH_ADD_IN(d->arena, hh, td->sessions, dev, sizeof(s->dev), s);
	return 1;
}

/* A foreground group that is outside of the tree (the shell of a job) keeps its number. */
static void set_groups(struct tty_dump *td, struct group *groups, const int32_t *fg)
{
	size_t i = 0;

	for (struct tty_session *s = td->sessions; s; s = s->hh.next) {
		int32_t pgrp = fg[i++];
		struct group *g;

		HASH_FIND(hh, groups, &pgrp, sizeof(pgrp), g);
		s->pgrp = g ? g->vpgid : (uint32_t)MAX(pgrp, 0);
	}
}

static int read_sessions(struct dump *d, struct tty_dump *td)
{
	int32_t *fg = arena_array(d->arena, int32_t, d->tree.n_tasks + 1);
	struct group *groups = NULL;
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->tree.n_tasks; i++) {
		if (d->tree.tasks[i]->state == TASK_DEAD)
			continue;
		err = note(d, td, d->tree.tasks[i], &groups, &fg[n]);
		n += err > 0;
	}
	if (err >= 0)
		set_groups(td, groups, fg);
	td->sessions_read = true;
	return MIN(err, 0);
}

int tty_session_of(struct dump *d, struct tty_dump *td, uint32_t dev, const struct tty_session **sp)
{
	int err = td->sessions_read ? 0 : read_sessions(d, td);
	struct tty_session *s;

	HASH_FIND(hh, td->sessions, &dev, sizeof(dev), s);
	*sp = s;
	return err;
}
