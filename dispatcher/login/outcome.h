/* SPDX-License-Identifier: MIT */
/* outcome.h - outcomes of batches' log-ins on their way to the database: many in one transaction. */
#ifndef CHASQUI_DISPATCHER_OUTCOME_H
#define CHASQUI_DISPATCHER_OUTCOME_H

#include "dispatcher/dispatcher.h"

struct outcomes *outcomes_new(struct dispatcher *d);
void outcomes_destroy(struct dispatcher *d);
/* Records it with others (store_logins_done); `done` is called as store_submit's. */
void outcome_record(struct dispatcher *d, struct store_login_done *op, store_done_fn *done, void *arg);

#endif
