/* SPDX-License-Identifier: GPL-2.0-only */
/* The front door: options, the log, and off to the command. The only file that may end the process. */
#include <fcntl.h>

#include "cmd/cmd.h"
#include "options/stages.h"
#include "lib/log.h"
#include "options/options.h"
#include "options/work_dir.h"

#define COMMAND_FUNCTION(id, function, ...) [CMD_##id] = function,
static int (*const commands[CMD_COUNT])(const struct options *, struct stages *) = { COMMANDS(COMMAND_FUNCTION) };
#undef COMMAND_FUNCTION

/* An image must not become descriptor 2 by accident, and take the errors. What is open is left alone: runc puts criu
 * into the container's cgroup as criu starts, and sets its devices: an open of /dev/null fails for an instant (EPERM).
 */
static int open_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -EBADF;
	return 0;
}

/* What --log-pid names its files after where --log-file is not given. */
#define DEFAULT_LOG "criu.log"

static int open_log(const struct options *o)
{
	_cleanup_close_ int fd = -1, dir = -1;
	int err;

	if (o->log_file) {
		fd = work_dir_create(o, o->log_file);
		if (fd < 0)
			return fd;
	}
	err = log_init(fd, (enum log_level)MIN(o->verbosity, (int)LOG_DEBUG));
	if (err || !o->log_pid)
		return err;
	dir = work_dir_open(o);
	if (dir < 0)
		return dir;
	return log_per_task(dir, o->log_file ? o->log_file : DEFAULT_LOG);
}

int main(int argc, char **argv)
{
	struct options options;
	struct stages stages;
	int ret;

	if (open_standard())
		return 1;
	ret = options_parse(&options, argc, argv);
	/* Also for what is wrong with the options: callers look for it in the log. (Each request of swrk names its
	 * own.)
	 */
	if (ret <= 0 && options.command != CMD_NONE && (ret || options.command != CMD_SWRK)) {
		int err = open_log(&options);

		ret = ret ?: err;
	}
	if (!ret) {
		stages_init(&stages, &options);
		ret = commands[options.command](&options, &stages);
	} else if (ret > 0) {
		ret = 0;
	}
	options_free(&options);
	return ret < 0 ? 1 : ret;
}
