/* SPDX-License-Identifier: MIT */
/*
 * results.c - what robots answered to the steps of rounds, streamed as NDJSON.
 *
 * Owns: the page of results that is being sent, and what of it is text already.
 * The next page is read when all of that is sent, as the client's credit allows,
 * so that a batch of any size costs the memory of a page. What was sealed with another key ends the
 * stream as broken.
 */
#include "dispatcher/queue/results.h"
#include "dispatcher/store/store_round.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct stream {
    struct dispatcher *d;
    uint64_t key;             /* of the request; 0 = gone */
    struct store_results *op; /* NULL = none */
    bool is_away;             /* op is at the database */
    bool is_begun;
    struct buf text;
    size_t at; /* sent of it */
};

static void page_wipe(struct store_results *op)
{
    for (unsigned i = 0; i < op->n; i++)
        buf_free(&op->row[i].body);
    op->n = 0;
}

static void stream_free(struct stream *s)
{
    page_wipe(s->op);
    free(s->op);
    buf_wipe(&s->text);
    free(s);
}

static void cancelled(struct dispatcher *d, struct request *r)
{
    struct stream *s = r->work;
    (void)d;
    r->work = NULL;
    s->key = 0;
    if (!s->is_away)
        stream_free(s);
}

static void over(struct stream *s, struct request *r, bool is_broken)
{
    struct dispatcher *d = s->d;
    r->work = NULL;
    r->on_cancel = NULL;
    r->on_credit = NULL;
    stream_free(s);
    stream_end(d, r, is_broken);
}

/* A line for each result; its body is JSON in one line already. */
static bool page_write(struct stream *s)
{
    for (unsigned i = 0; i < s->op->n; i++) {
        struct round_result *row = &s->op->row[i];
        char action[ACTION_NAME_MAX + 1];
        struct buf plain = {0};
        steps_name(s->op->names, row->step, action);
        if (!s->d->seal || !seal_unwrap(s->d->seal, row->company_id, s->op->portal, "result", row->body.data,
                                        row->body.len, &plain)) {
            log_line(LOG_WARN, "result_not_opened", "batch", log_i((long long)s->op->batch_id), "index",
                     log_i((long long)row->idx), NULL);
            return false;
        }
        buf_addf(&s->text,
                 "{\"index\":%" PRIu64 ",\"company_id\":%" PRIu64 ",\"job_id\":%" PRIu64
                 ",\"step\":%u,\"action\":\"%s\",\"status\":%u,\"body\":",
                 row->idx, row->company_id, row->job_id, row->step, action, row->status);
        buf_add(&s->text, plain.data, plain.len);
        buf_adds(&s->text, "}\n");
        buf_wipe(&plain);
    }
    page_wipe(s->op);
    return true;
}

static void page_read(struct stream *s);

/* Sends what there is, as far as there is credit; then the next page, or the end. */
static void go_on(struct dispatcher *d, struct request *r)
{
    struct stream *s = r->work;
    if (s->is_away)
        return;
    while (s->at < s->text.len && stream_credit(r) && !r->cut) {
        size_t n = s->text.len - s->at < r->chunk_bytes ? s->text.len - s->at : r->chunk_bytes;
        char *piece = xmalloc(n);
        memcpy(piece, s->text.data + s->at, n);
        s->at += n;
        stream_chunk(d, r, piece, n);
    }
    if (r->cut)
        over(s, r, true);
    else if (s->at == s->text.len && s->op->more)
        page_read(s);
    else if (s->at == s->text.len)
        over(s, r, false);
}

static void page_came(void *arg, void *op)
{
    struct stream *s = arg;
    struct dispatcher *d = s->d;
    struct request *r = s->key ? request_find(d, s->key) : NULL;
    (void)op;
    s->is_away = false;
    if (!r) {
        stream_free(s);
        return;
    }
    if (!s->is_begun && (s->op->rc != STORE_OK || !s->op->found || !s->op->item_found)) {
        enum store_rc rc = s->op->rc;
        bool found = s->op->found;
        r->work = NULL;
        r->on_cancel = NULL;
        stream_free(s);
        if (rc != STORE_OK)
            reply_store(d, r, rc);
        else
            reply_error(d, r, found ? ERR_NOT_FOUND : ERR_BATCH_NOT_FOUND,
                        found ? "The batch has no such item." : NULL, NULL);
        return;
    }
    buf_clear(&s->text);
    s->at = 0;
    bool is_good = s->op->rc == STORE_OK && s->op->found && page_write(s);
    if (!s->is_begun)
        stream_begin(d, r, 200, "application/x-ndjson", -1, NULL, NULL, go_on);
    s->is_begun = true;
    if (is_good)
        go_on(d, r);
    else
        over(s, r, true);
}

static void page_read(struct stream *s)
{
    s->is_away = true;
    store_submit(s->d->store, store_results, s->op, page_came, s);
}

void results_start(struct dispatcher *d, struct request *r)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    s->d = d;
    s->key = r->key;
    s->op = xcalloc(1, sizeof(*s->op));
    s->op->batch_id = r->batch_id;
    s->op->viewer = (struct batch_viewer){.all = r->all_companies, .token_id = r->token_id};
    s->op->is_one = r->one;
    s->op->index = r->index;
    s->op->from_idx = r->one ? r->index : r->cursor;
    r->work = s;
    r->on_cancel = cancelled;
    page_read(s);
}
