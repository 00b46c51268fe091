/* SPDX-License-Identifier: MIT */
/* outcome.h - writes the outcomes of log-ins that have their session to the database, many in one transaction. */
#ifndef CHASQUI_DISPATCHER_OUTCOME_H
#define CHASQUI_DISPATCHER_OUTCOME_H

#include "dispatcher/dispatcher.h"

struct outcomes *outcomes_new(struct dispatcher *d);
void outcomes_destroy(struct dispatcher *d);
/* Records it together with others (store_logins_done), which says what may not be among them. `done` is called as by
 * store_submit. */
void outcome_record(struct dispatcher *d, struct store_login_done *op, store_done_fn *done, void *arg);

#endif
