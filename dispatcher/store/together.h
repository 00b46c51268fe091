/* SPDX-License-Identifier: MIT */
/* together.h - what requests of one moment write to the database, many in one transaction. */
#ifndef CHASQUI_DISPATCHER_TOGETHER_H
#define CHASQUI_DISPATCHER_TOGETHER_H

#include "dispatcher/store/store.h"

struct together;

struct together *together_new(struct loop *loop, struct store *store);
void together_destroy(struct together **tp);
/* store_reserve(), store_login_done() and store_adopt(), each with others of its kind; store_reserves(),
 * store_logins_done() and store_adopts() say what may not be among them. The op is lent until `done` is called, as by
 * store_submit. */
void reserve_together(struct together *t, struct store_reserve *op, store_done_fn *done, void *arg);
void record_together(struct together *t, struct store_login_done *op, store_done_fn *done, void *arg);
void adopt_together(struct together *t, struct store_adopt *op, store_done_fn *done, void *arg);

#endif
