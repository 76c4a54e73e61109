/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: a dump whose pages go to a page server (--page-server). The server writes pagemaps and pages files.
 */
#ifndef CRIU_PAGES_PAGE_SEND_H
#define CRIU_PAGES_PAGE_SEND_H

#include "pages/page_io.h"
#include "tree/dump.h"

/* Sends the pages of a task or an object, as the pagemap of that type and number. NULL without memory, not logged. */
struct page_sink *page_send_sink(struct dump *d, enum image_type type, uint64_t id);

#endif
