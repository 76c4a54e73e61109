/* SPDX-License-Identifier: GPL-2.0-only */
#include <asm/termbits.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tty/tty_settings.h"

/* The format has 19 words for control characters, but CRIU stores four bytes in a word, and leaves the rest unused. */
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

/* Speeds of 0, as in CRIU's images, do not matter: unless c_cflag has BOTHER, the kernel takes the speed from there. */
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

int tty_settings_read(struct arena *a, int fd, bool master, TtyInfoEntry *info)
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

void tty_settings_to_mode(const TtyInfoEntry *info, struct tty_mode *m)
{
	struct termios2 locked;

	if (info->termios)
		m->termios = termios_from_entry(info->termios);
	m->packet = info->packet_mode;
	if (!info->termios_locked)
		return;
	locked = termios_from_entry(info->termios_locked);
	m->locked.c_iflag = locked.c_iflag;
	m->locked.c_oflag = locked.c_oflag;
	m->locked.c_cflag = locked.c_cflag;
	m->locked.c_lflag = locked.c_lflag;
	m->locked.c_line = locked.c_line;
	memcpy(m->locked.c_cc, locked.c_cc, sizeof(locked.c_cc));
}

int tty_settings_set_termios(int fd, const TtyInfoEntry *info)
{
	static const struct termios none;
	struct tty_mode m = { .packet = 0 };

	if (!info->termios)
		return 0;
	tty_settings_to_mode(info, &m);
	if (ioctl(fd, TCSETS2, &m.termios))
		return -errno;
	if (memcmp(&m.locked, &none, sizeof(none)) && ioctl(fd, TIOCSLCKTRMIOS, &m.locked))
		return -errno;
	return 0;
}

int tty_settings_set_size(int fd, const TtyInfoEntry *info)
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
