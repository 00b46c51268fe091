/* SPDX-License-Identifier: MIT */
/* together.h - what log-ins write to the database, many in one transaction. */
#ifndef CHASQUI_DISPATCHER_TOGETHER_H
#define CHASQUI_DISPATCHER_TOGETHER_H

#include "dispatcher/dispatcher.h"

struct together *together_new(struct dispatcher *d);
void together_destroy(struct together **tp);
/* store_reserve() and store_login_done(), each with others of its kind; store_reserves() and store_logins_done() say
 * what may not be among them. `done` is called as by store_submit. */
void reserve_together(struct dispatcher *d, struct store_reserve *op, store_done_fn *done, void *arg);
void record_together(struct dispatcher *d, struct store_login_done *op, store_done_fn *done, void *arg);

#endif
