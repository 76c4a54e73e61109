/* SPDX-License-Identifier: GPL-2.0-only */
/* UTS namespaces: the names of the host (uts_namespaces(7)). */
#include <sched.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/log.h"
#include "tree/ns_kind.h"
#include "utsns.pb-c.h"

struct uts_names {
	char node[65], domain[65];
};

extern const struct ns_kind uts_ns_kind;

/* ---- dump ---- */

static int look_at_names(void *message)
{
	struct uts_names *names = message;
	struct utsname u;

	if (uname(&u))
		return log_errno(-errno, "uname in a UTS namespace");
	memcpy(names->node, u.nodename, sizeof(names->node));
	memcpy(names->domain, u.domainname, sizeof(names->domain));
	return 0;
}

static int write_names(struct dump *d, uint32_t id, const void *message)
{
	struct uts_names names = *(const struct uts_names *)message;
	UtsnsEntry m = UTSNS_ENTRY__INIT;

	m.nodename = names.node;
	m.domainname = names.domain;
	return image_write_one(d->dir, IMG_UTSNS, id, &m);
}

/* ---- restore ---- */

static int read_names(struct restore *r, uint32_t id, void *message)
{
	struct uts_names *names = message;
	UtsnsEntry *m;
	int err = image_read_one(r->dir, IMG_UTSNS, id, r->arena, &m);

	if (err)
		return err;
	if (strlen(m->nodename) >= sizeof(names->node) || strlen(m->domainname) >= sizeof(names->domain))
		return log_errno(-EINVAL, "utsns-%u.img: a name of more than %zu bytes", id, sizeof(names->node) - 1);
	strcpy(names->node, m->nodename);
	strcpy(names->domain, m->domainname);
	return 0;
}

static int set_names(void *message)
{
	const struct uts_names *names = message;

	if (sethostname(names->node, strlen(names->node)))
		return log_errno(-errno, "sethostname(%s) in a new UTS namespace", names->node);
	if (setdomainname(names->domain, strlen(names->domain)))
		return log_errno(-errno, "setdomainname(%s) in a new UTS namespace", names->domain);
	return 0;
}

const struct ns_kind uts_ns_kind = {
	.flag = CLONE_NEWUTS,
	.message = sizeof(struct uts_names),
	.look = look_at_names,
	.write = write_names,
	.read = read_names,
	.fill = set_names,
};
