/* SPDX-License-Identifier: GPL-2.0-only */
/* criu lazy-pages: brings the memory of tasks that criu restore --lazy-pages has left missing. */
#include <sys/socket.h>

#include "cmd/cmd.h"
#include "files/files.h"
#include "lazy/lazy.h"
#include "lib/arena.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "options/background.h"
#include "options/socket_file.h"
#include "inventory.pb-c.h"

static int serve(const struct options *o, struct stages *stages, struct image_dir *dir, struct arena *a,
                 struct page_asker *asker)
{
	const struct socket_spec spec = { .name = LAZY_SOCKET, .what = "", .type = SOCK_STREAM, .mode = 0600 };
	struct socket_file file;
	bool parent = false;
	int listener = -1, err = socket_file_listen(o, &spec, &file, &listener);

	if (!err)
		err = background_ready(o, stages, o->restore_detached, &parent);
	if (!err && !parent) {
		fault_init(o->kill_at);
		err = lazy_serve(dir, a, asker, &file, &listener);
	}
	if (!parent)
		socket_file_remove(&file);
	cleanup_close(&listener);
	return err;
}

/* Where the pages come from is there before a restore may be. */
static int serve_from(const struct options *o, struct stages *stages, struct image_dir *dir, struct arena *a)
{
	struct page_asker asker;
	int err;

	if (!o->page_server)
		return serve(o, stages, dir, a, NULL);
	err = page_asker_open(o, dir, &asker);
	err = err ?: serve(o, stages, dir, a, &asker);
	page_asker_close(&asker);
	return err;
}

int cmd_lazy_pages(const struct options *o, struct stages *stages)
{
	struct arena *a = arena_new();
	struct image_dir *dir = NULL;
	InventoryEntry *inventory;
	int err = a ? image_dir_open(o->images_dir, o->allow_edited_images, &dir) : -ENOMEM;

	files_raise_limit();
	if (!err)
		err = image_read_one(dir, IMG_INVENTORY, 0, a, &inventory);
	if (err == -ENOENT)
		log_errno(err, "%s: inventory.img is missing: there is no checkpoint in this directory (see -D)",
		          o->images_dir);
	err = err ?: serve_from(o, stages, dir, a);
	image_dir_close(dir);
	arena_free(a);
	return err;
}
