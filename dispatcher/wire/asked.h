/* SPDX-License-Identifier: MIT */
/*
 * asked.h - an op of the store on behalf of a request: the way back to it.
 */
#ifndef CHASQUI_ASKED_H
#define CHASQUI_ASKED_H

#include "dispatcher/dispatcher.h"

struct asked {
    struct dispatcher *d;
    uint64_t key;
};

struct asked *asked_new(struct dispatcher *d, const struct request *r);
/* The request, when it is still there and the database answered; else it is answered here, or NULL because it is gone. Frees `a`. */
struct request *asked_answer(struct asked *a, enum store_rc rc);
/* The whole end of an op whose answer is JSON: gives that, or the error `e` when it is one. Frees `a`, empties `json`. */
void asked_json(struct asked *a, enum store_rc rc, enum err e, struct buf *json);

#endif
