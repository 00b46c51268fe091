/*
 * asked.c - an op of the store on behalf of a request. Owns nothing: the request
 * is found again by its key, or is gone.
 */
#include "dispatcher/asked.h"

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
        reply_error(d, r, ERR_DATABASE_UNAVAILABLE, NULL, NULL);
        return NULL;
    }
    return r;
}

void asked_reply(struct dispatcher *d, struct request *r, int status, struct buf *json)
{
    buf_room(json, json->len + 4096);
    robots_hide_urls(d, json->data, json->room);
    json->len = strlen(json->data);
    reply_take(d, r, status, "application/json", NULL, json);
}
