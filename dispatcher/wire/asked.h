/* SPDX-License-Identifier: MIT */
/*
 * asked.h - an op of the store on behalf of a request, and the way back to that request.
 */
#ifndef CHASQUI_ASKED_H
#define CHASQUI_ASKED_H

#include "dispatcher/dispatcher.h"

struct asked {
    struct dispatcher *d;
    uint64_t key;
};

struct asked *asked_new(struct dispatcher *d, const struct request *r);
/* Returns the request when it still exists and the database answered. Else returns NULL: the request was answered
 * here, or is gone. Frees `a`. */
struct request *asked_answer(struct asked *a, enum store_rc rc);
/* Completes an op whose answer is JSON: answers with the JSON, or with `e` when that is an error. Frees `a`,
 * empties `json`. */
void asked_json(struct asked *a, enum store_rc rc, enum err e, struct buf *json);

#endif
