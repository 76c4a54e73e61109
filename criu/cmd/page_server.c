/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu page-server: one connection of a dump that runs elsewhere, whose pages are written here; with --lazy-pages of a
 * lazy-pages daemon that fetches pages from here.
 */
#include "cmd/page_server.h"

#include "cmd/cmd.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "options/background.h"
#include "pages/page_receive.h"
#include "pages/pages_dedup.h"
#include "pages/pages_given.h"

int page_server_open(struct page_server *s, const struct options *o)
{
	int err;

	*s = (struct page_server) { .opts = o, .listener = -1 };
	s->images.fd = -1;
	err = o->lazy_pages ? 0 : image_received_begin(&s->images, o->images_dir, o->prev_images_dir);
	if (!err)
		err = page_peer_listen(o, &s->listener, &s->port);
	if (!err && s->listener >= 0)
		log_info("page server: listens on %s, port %u", o->address ?: "any address", s->port);
	return err;
}

/* A dump that has failed in the end has left nothing that takes the place of the older checkpoint. */
static void dedup_received(const struct options *o, const struct page_peer *peer)
{
	if (!page_receive_committed(peer))
		log_msg(
		    "--auto-dedup: the dump has not said that it has committed (criu dump --auto-dedup does): nothing "
		    "is given back; criu dedup does it when all images are in %s",
		    o->images_dir);
	else if (pages_dedup(o->images_dir, true))
		log_warn("all pages are in %s; those of older checkpoints could not be given back", o->images_dir);
}

int page_server_run(struct page_server *s)
{
	struct page_peer peer;
	int err = page_peer_accept(s->opts, s->listener, &peer);

	if (err)
		return err;
	/* It serves one: another dump is told at once, rather than waiting for what never comes. */
	if (s->listener >= 0)
		close(s->listener);
	s->listener = -1;
	err = s->opts->lazy_pages ? pages_give_images(s->opts, &peer) : page_receive(&peer, &s->images);
	if (!err && s->opts->auto_dedup && !s->opts->lazy_pages)
		dedup_received(s->opts, &peer);
	page_peer_close(&peer);
	if (!err && !s->opts->lazy_pages)
		log_info("page server: all pages are in %s", s->opts->images_dir);
	return err;
}

void page_server_close(struct page_server *s)
{
	image_received_end(&s->images);
	if (s->listener >= 0)
		close(s->listener);
}

int cmd_page_server(const struct options *o, struct stages *stages)
{
	struct page_server s;
	bool parent = false;
	int err;

	fault_init(o->kill_at);
	err = page_server_open(&s, o);
	if (!err && !o->port && s.port)
		log_msg("port %u", s.port);
	if (!err)
		err = background_ready(o, stages, o->restore_detached, &parent);
	if (!err && !parent)
		err = page_server_run(&s);
	if (!parent)
		page_server_close(&s);
	return err;
}
