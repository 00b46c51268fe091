/* SPDX-License-Identifier: MIT */
/* history.h - keeps the sums of minutes up to date (store/store_history.h). Every dispatcher looks; the database lets one do it. */
#ifndef CHASQUI_HISTORY_H
#define CHASQUI_HISTORY_H

struct dispatcher;

struct history *history_new(void);
void history_destroy(struct history **hp); /* after the store */
void history_tick(struct dispatcher *d);   /* from the sweep */

#endif
