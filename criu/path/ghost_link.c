/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Links of CRIU's --link-remap, link_remap.N: a restore takes them away when it has come to its end, as CRIU does. Ours
 * have other names, and stay as long as the checkpoint.
 */
#include <string.h>

#include "lib/log.h"
#include "path/file_names.h"
#include "path/ghost_make.h"

static bool is_crius_link(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && !strncmp(slash + 1, CRIU_LINK, strlen(CRIU_LINK));
}

static int unlink_used(const struct undo *u)
{
	const struct stat *used = u->data;
	struct stat st;

	if (lstat(u->path, &st) || st.st_dev != used->st_dev || st.st_ino != used->st_ino)
		return -ENOENT;
	return unlink(u->path) ? -errno : 0;
}

static struct undo removal_of(const struct ghost *g)
{
	return (struct undo) { .type = FORWARD_CALL,
		               .call = unlink_used,
		               .fd = -1,
		               .path = g->link->name,
		               .data = g->used_link,
		               .data_len = sizeof(*g->used_link) };
}

int ghost_link_note(struct restore *r, struct ghost *g)
{
	struct undo u;
	int number;

	if (!g->link || g->base < 0 || !is_crius_link(g->link->name))
		return 0;
	g->used_link = arena_new_of(r->arena, struct stat);
	if (fstat(g->base, g->used_link))
		return log_errno(-errno, "%s: fstat", g->link->name);
	u = removal_of(g);
	number = guardian_note(r->guardian, &u);
	return MIN(number, 0);
}

void ghost_link_remove(const struct ghost *g)
{
	struct undo u;
	int err;

	if (!g->used_link)
		return;
	u = removal_of(g);
	err = unlink_used(&u);
	if (err && err != -ENOENT)
		log_warn("%s: unlink: %s: this link of the checkpoint is left", u.path, strerror(-err));
}
