/* SPDX-License-Identifier: GPL-2.0-only */
#include <asm/termbits.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tty/params.h"

/* The format has 19 words for control characters, but CRIU fills them as bytes: four to a word, the rest unused. */
#define CC_WORDS 19

static TermiosEntry *termios_to_entry(struct arena *a, const struct termios2 *t)
{
	TermiosEntry *e = arena_msg(a, TermiosEntry, termios_entry);

	e->c_iflag = t->c_iflag;
	e->c_oflag = t->c_oflag;
	e->c_cflag = t->c_cflag;
	e->c_lflag = t->c_lflag;
	e->c_line = t->c_line;
	e->c_ispeed = t->c_ispeed;
	e->c_ospeed = t->c_ospeed;
	e->n_c_cc = CC_WORDS;
	e->c_cc = arena_array(a, uint32_t, CC_WORDS);
	memcpy(e->c_cc, t->c_cc, sizeof(t->c_cc));
	return e;
}

static struct termios2 termios_from_entry(const TermiosEntry *e)
{
	struct termios2 t = {
		.c_iflag = e->c_iflag,
		.c_oflag = e->c_oflag,
		.c_cflag = e->c_cflag,
		.c_lflag = e->c_lflag,
		.c_line = (cc_t)e->c_line,
		.c_ispeed = e->c_ispeed,
		.c_ospeed = e->c_ospeed,
	};

	memcpy(t.c_cc, e->c_cc, MIN(sizeof(t.c_cc), e->n_c_cc * sizeof(*e->c_cc)));
	return t;
}

int tty_params_read(struct arena *a, int fd, bool master, TtyInfoEntry *info)
{
	struct termios2 now, locked = { 0 };
	struct termios locked_short;
	struct winsize ws;
	int v;

	if (ioctl(fd, TCGETS2, &now) || ioctl(fd, TIOCGLCKTRMIOS, &locked_short) || ioctl(fd, TIOCGWINSZ, &ws))
		return -errno;
	locked.c_iflag = locked_short.c_iflag;
	locked.c_oflag = locked_short.c_oflag;
	locked.c_cflag = locked_short.c_cflag;
	locked.c_lflag = locked_short.c_lflag;
	locked.c_line = locked_short.c_line;
	memcpy(locked.c_cc, locked_short.c_cc, sizeof(locked.c_cc));
	info->termios = termios_to_entry(a, &now);
	info->termios_locked = termios_to_entry(a, &locked);
	info->winsize = arena_msg(a, WinsizeEntry, winsize_entry);
	info->winsize->ws_row = ws.ws_row;
	info->winsize->ws_col = ws.ws_col;
	info->winsize->ws_xpixel = ws.ws_xpixel;
	info->winsize->ws_ypixel = ws.ws_ypixel;
	if (ioctl(fd, TIOCGEXCL, &v))
		return -errno;
	info->exclusive = v;
	if (!master)
		return 0;
	if (ioctl(fd, TIOCGPTLCK, &v))
		return -errno;
	info->locked = v;
	if (ioctl(fd, TIOCGPKT, &v))
		return -errno;
	info->packet_mode = v;
	return 0;
}

static int set_locked(int fd, const TermiosEntry *e)
{
	struct termios2 t = termios_from_entry(e);
	struct termios s = {
		.c_iflag = t.c_iflag,
		.c_oflag = t.c_oflag,
		.c_cflag = t.c_cflag,
		.c_lflag = t.c_lflag,
		.c_line = t.c_line,
	};

	memcpy(s.c_cc, t.c_cc, sizeof(s.c_cc));
	return ioctl(fd, TIOCSLCKTRMIOS, &s) ? -errno : 0;
}

/* Speeds of 0 (CRIU's images have them) mean that those in c_cflag count. */
int tty_params_set_termios(int fd, const TtyInfoEntry *info)
{
	const TermiosEntry *l = info->termios_locked;
	struct termios2 t;

	if (!info->termios)
		return 0;
	t = termios_from_entry(info->termios);
	if (!t.c_ispeed && !t.c_ospeed) {
		struct termios s = { t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag, t.c_line, { 0 } };

		memcpy(s.c_cc, t.c_cc, sizeof(s.c_cc));
		if (ioctl(fd, TCSETS, &s))
			return -errno;
	} else if (ioctl(fd, TCSETS2, &t)) {
		return -errno;
	}
	return l && (l->c_iflag || l->c_oflag || l->c_cflag || l->c_lflag) ? set_locked(fd, l) : 0;
}

int tty_params_set_size(int fd, const TtyInfoEntry *info)
{
	const WinsizeEntry *w = info->winsize;
	struct winsize ws;

	if (!w)
		return 0;
	ws.ws_row = (unsigned short)w->ws_row;
	ws.ws_col = (unsigned short)w->ws_col;
	ws.ws_xpixel = (unsigned short)w->ws_xpixel;
	ws.ws_ypixel = (unsigned short)w->ws_ypixel;
	return ioctl(fd, TIOCSWINSZ, &ws) ? -errno : 0;
}
