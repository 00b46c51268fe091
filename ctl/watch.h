/* SPDX-License-Identifier: MIT */
/* watch.h - `chasqui stats --watch`: all of it on one screen, in tabs. */
#ifndef CHASQUI_CTL_WATCH_H
#define CHASQUI_CTL_WATCH_H

#include "ctl/ctl.h"

enum ctl_exit watch_command(struct ctl *c);

#endif
