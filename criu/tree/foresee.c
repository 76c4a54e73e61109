/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/foresee.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tree/subsys.h"
#include "lib/lookup.h"

struct foresee_state {
	struct own_rights own;
	bool read, failed;
};

extern const struct subsys foresee_rights_subsys;

const struct subsys foresee_rights_subsys = { .name = "criu's own rights at dump",
	                                      .state = { .dump = sizeof(struct foresee_state) } };

const struct own_rights *foresee_rights(struct dump *d)
{
	struct foresee_state *s = dump_state(d, &foresee_rights_subsys);

	if (!s->read && !s->failed)
		s->failed = own_rights_read(d->arena, &s->own) != 0;
	s->own.lent = d->opts->lent_caps;
	s->read = true;
	return s->failed ? NULL : &s->own;
}

bool foresee_lacks(struct dump *d, unsigned cap)
{
	const struct own_rights *own = foresee_rights(d);

	return own && !(own->status.cap_eff & 1ULL << cap);
}

/* What only the owner of a file may ask for. */
static int check_noatime(struct dump *d, const char *path)
{
	const struct own_rights *own = foresee_rights(d);
	struct stat st;

	if (!foresee_lacks(d, CAP_FOWNER) || lookup_stat(path, &st))
		return 0;
	return st.st_uid == own->status.uid[3] ? 0 : -EPERM;
}

int foresee_open(struct dump *d, const char *path, uint32_t flags)
{
	int mode = flags & O_PATH                    ? F_OK
	           : (flags & O_ACCMODE) == O_RDONLY ? R_OK
	           : (flags & O_ACCMODE) == O_WRONLY ? W_OK
	                                             : R_OK | W_OK;

	/* What is not there, or too long a path, is another matter. */
	if (foresee_lacks(d, CAP_DAC_OVERRIDE) && faccessat(AT_FDCWD, lookup_path(path), mode, AT_EACCESS) &&
	    errno == EACCES)
		return -EACCES;
	return flags & O_NOATIME && !(flags & O_PATH) ? check_noatime(d, path) : 0;
}

int foresee_make(struct dump *d, const char *dir)
{
	if (!foresee_lacks(d, CAP_DAC_OVERRIDE) || !faccessat(AT_FDCWD, lookup_path(dir), W_OK | X_OK, AT_EACCESS))
		return 0;
	return errno == EACCES || errno == EROFS ? -errno : 0;
}
