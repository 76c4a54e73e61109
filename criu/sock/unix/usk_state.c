/* SPDX-License-Identifier: GPL-2.0-only */
#include <unistd.h>

#include "lib/log.h"
#include "sock/unix/usk.h"

#define NEXT(state) (1U << (state))

/* What a machine is called, its states as messages have them, and by state which ones may follow, as bits. */
struct machine {
	const char *name;
	const char *const *states;
	const unsigned *next;
};

static const char *const use_names[] = { "none", "in a queue", "in a descriptor table" };
static const unsigned use_next[] = { [USE_NONE] = NEXT(USE_QUEUE) | NEXT(USE_TABLE), [USE_TABLE] = 0 };

static const char *const made_names[] = { "not made",      "made by socket(2)", "inherited", "made by socketpair(2)",
	                                  "an end of two", "accepted" };
static const unsigned made_next[] = {
	[MADE_NOT_YET] =
	    NEXT(MADE_PLAIN) | NEXT(MADE_INHERITED) | NEXT(MADE_HALF) | NEXT(MADE_END) | NEXT(MADE_ACCEPTED),
	[MADE_ACCEPTED] = 0,
};

static const char *const link_names[] = { "not connected", "listening", "connected to its other half",
	                                  "parted from its other half", "connected" };
static const unsigned link_next[] = {
	[LINK_NONE] = NEXT(LINK_LISTENING) | NEXT(LINK_HALF) | NEXT(LINK_DONE),
	[LINK_HALF] = NEXT(LINK_PARTED) | NEXT(LINK_DONE),
	[LINK_PARTED] = NEXT(LINK_DONE),
	[LINK_DONE] = 0,
};

static const char *const at_names[] = { "nowhere", "at its abstract name", "in the scratch root", "in a hidden folder",
	                                "in its place" };
static const unsigned at_next[] = {
	[AT_NOWHERE] = NEXT(AT_ABSTRACT) | NEXT(AT_SCRATCH) | NEXT(AT_HIDDEN),
	[AT_HIDDEN] = NEXT(AT_FILE),
	[AT_FILE] = 0,
};

static const char *const temp_names[] = { "none", "without a name", "with a name" };
static const unsigned temp_next[] = {
	[TEMP_NONE] = NEXT(TEMP_UNNAMED),
	[TEMP_UNNAMED] = NEXT(TEMP_NAMED) | NEXT(TEMP_NONE),
	[TEMP_NAMED] = NEXT(TEMP_NONE),
};

static const struct machine use_machine = { "its use", use_names, use_next },
                            made_machine = { "its making", made_names, made_next },
                            link_machine = { "its connection", link_names, link_next },
                            at_machine = { "its name", at_names, at_next },
                            temp_machine = { "its temporary peer", temp_names, temp_next };

static int check_step(const struct usk *u, const struct machine *m, unsigned from, unsigned to)
{
	if (m->next[from] & NEXT(to))
		return 0;
	return log_errno(-EBADMSG,
	                 "%s: %s cannot go from '%s' to '%s': the image contradicts itself, or this is a bug of criu's",
	                 u->text, m->name, m->states[from], m->states[to]);
}

int usk_set_use(struct usk *u, enum usk_use use)
{
	int err = check_step(u, &use_machine, u->use, use);

	if (!err)
		u->use = use;
	return err;
}

int usk_set_made(struct usk *u, enum usk_made how, int fd)
{
	int err = check_step(u, &made_machine, u->made, how);

	if (err) {
		close(fd);
		return err;
	}
	u->made = how;
	u->fd = fd;
	return 0;
}

int usk_set_link(struct usk *u, enum usk_link link)
{
	int err = check_step(u, &link_machine, u->link, link);

	if (!err)
		u->link = link;
	return err;
}

int usk_set_at(struct usk *u, enum usk_at at)
{
	int err = check_step(u, &at_machine, u->at, at);

	if (!err)
		u->at = at;
	return err;
}

int usk_set_temp(struct usk *u, int fd)
{
	int err = check_step(u, &temp_machine, u->temp, TEMP_UNNAMED);

	if (err) {
		close(fd);
		return err;
	}
	u->temp = TEMP_UNNAMED;
	u->temp_fd = fd;
	return 0;
}

int usk_set_temp_named(struct usk *u)
{
	int err = check_step(u, &temp_machine, u->temp, TEMP_NAMED);

	if (!err)
		u->temp = TEMP_NAMED;
	return err;
}

int usk_take_temp(struct usk *u)
{
	u->temp = TEMP_NONE;
	if (u->link == LINK_HALF)
		u->link = LINK_DONE;
	return move_fd(&u->temp_fd);
}
