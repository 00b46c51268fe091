/* SPDX-License-Identifier: MIT */
/* session_bulk.h - many sessions at once, by what they are: closed or moved by robot, portal, company or time without use. */
#ifndef CHASQUI_CTL_SESSION_BULK_H
#define CHASQUI_CTL_SESSION_BULK_H

#include "ctl/ctl.h"

/* Does one of --worker, --portal, --company, --idle say which? */
bool session_bulk_is_asked(const struct ctl *c);
/* what: "close" or "migrate"; done: what is said of them then. With --preview they are only counted. CTL_FAILED when one was refused. */
enum ctl_exit session_bulk(struct ctl *c, const char *what, const char *done);

#endif
