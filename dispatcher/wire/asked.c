/* SPDX-License-Identifier: MIT */
/*
 * asked.c - an op of the store on behalf of a request. Owns nothing. The request is looked up again by its key and
 * may be gone.
 */
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

struct asked *asked_new(struct dispatcher *d, const struct request *r)
{
    struct asked *a = xcalloc(1, sizeof(*a));
    *a = (struct asked){d, r->key};
    return a;
}

struct request *asked_answer(struct asked *a, enum store_rc rc)
{
    struct request *r = request_find(a->d, a->key);
    struct dispatcher *d = a->d;
    free(a);
    if (r)
        r->db_ms = (int64_t)(clock_us() - r->arrived_us) / 1000;
    if (r && rc != STORE_OK) {
        reply_store(d, r, rc);
        return NULL;
    }
    return r;
}

void asked_json(struct asked *a, enum store_rc rc, enum err e, struct buf *json)
{
    struct dispatcher *d = a->d;
    struct request *r = asked_answer(a, rc);
    if (r && e)
        reply_error(d, r, e, NULL, NULL);
    else if (r)
        reply_take(d, r, 200, "application/json", NULL, json);
    buf_free(json);
}
