/* SPDX-License-Identifier: MIT */
/*
 * batch_body.c - records the lines of one BATCH_BODY.
 *
 * Owns: the lines, what they were found to be, and how far it came. A step is
 * one transaction. Runs on database threads, since reading and sealing a quarter
 * of a megabyte would keep the loop from its other work; nothing here is shared
 * while a step is under way. Plain params exist in the lines only, which are
 * wiped.
 */
#include "dispatcher/queue/batch_body.h"
#include "dispatcher/store/store_sql.h"

#include "common/check.h"
#include "common/jv.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MIN 17 /* {"company_id":1} and its newline */

/* How often a company came before, in this body. Open addressing; company 0 = free. */
struct lap {
    uint64_t company_id;
    uint32_t n;
};

struct batch_body {
    const struct seal *seal;
    uint64_t batch_id, token_id, index; /* index of the next line */
    char portal[PORTAL_ROOM];           /* "" until the first step */
    char *payload;
    size_t len, at;
    uint64_t *companies;
    struct batch_rules rules;
    struct batch_line line;
    struct lap *laps;
    size_t n_laps; /* a power of two, over twice the items that fit in */
    struct batch_item item[DB_BULK_MAX];
    unsigned n;
    struct buf sealed; /* params of item[] */
    uint64_t n_accepted, n_rejected, n_added;
    struct jv *rejected;
    enum store_rc rc;
    enum body_outcome outcome;
};

struct batch_body *batch_body_new(const struct seal *seal, uint64_t batch_id, uint64_t token_id, bool all,
                                  uint64_t *companies, unsigned n_companies, char *payload, size_t len,
                                  uint64_t first_index)
{
    struct batch_body *b = xcalloc(1, sizeof(*b));
    b->seal = seal;
    b->batch_id = batch_id;
    b->token_id = token_id;
    b->index = first_index;
    b->payload = payload;
    b->len = len;
    b->companies = companies;
    batch_companies_sort(companies, n_companies);
    b->rules = (struct batch_rules){
        .all = all, .companies = companies, .n_companies = n_companies, .may_have_params = seal != NULL};
    for (b->n_laps = 16; b->n_laps < 2 * (len / LINE_MIN + 1);)
        b->n_laps *= 2;
    b->laps = xcalloc(b->n_laps, sizeof(*b->laps));
    b->rejected = jv_new_array();
    return b;
}

void batch_body_free(struct batch_body **bp)
{
    struct batch_body *b = *bp;
    if (!b)
        return;
    if (b->payload)
        explicit_bzero(b->payload, b->len);
    free(b->payload);
    free(b->companies);
    free(b->laps);
    buf_wipe(&b->line.params);
    buf_free(&b->sealed);
    jv_free(b->rejected);
    free(b);
    *bp = NULL;
}

static uint32_t lap_next(struct batch_body *b, uint64_t company_id)
{
    size_t at = (size_t)(company_id * 0x9e3779b97f4a7c15ull >> 20) & (b->n_laps - 1);
    while (b->laps[at].company_id && b->laps[at].company_id != company_id)
        at = (at + 1) & (b->n_laps - 1);
    b->laps[at].company_id = company_id;
    return b->laps[at].n++;
}

static void line_accept(struct batch_body *b)
{
    struct batch_item *it = &b->item[b->n++];
    const struct buf *params = &b->line.params;
    it->idx = b->index;
    it->company_id = b->line.company_id;
    it->lap = lap_next(b, it->company_id);
    it->has_params = params->len > 0;
    if (!it->has_params)
        return;
    seal_hash(b->seal, "batch-item", params->data, params->len, it->digest, sizeof(it->digest));
    it->params_at = b->sealed.len;
    seal_wrap(b->seal, it->company_id, b->portal, "params", params->data, params->len, &b->sealed);
    it->params_len = b->sealed.len - it->params_at;
}

static void line_reject(struct batch_body *b)
{
    if (++b->n_rejected > BATCH_REJECTED_MAX) {
        jv_free(b->line.errors);
        return;
    }
    struct jv *why = jv_new_object();
    jv_set_int(why, "index", (int64_t)b->index);
    jv_set_str(why, "error", err_code(b->line.error));
    jv_set(why, "errors", b->line.errors);
    jv_push(b->rejected, why);
}

/* The items of the next step: as many lines as one transaction takes. */
static void lines_read(struct batch_body *b)
{
    b->n = 0;
    buf_clear(&b->sealed);
    while (b->at < b->len && b->n < DB_BULK_MAX) {
        const char *text = b->payload + b->at, *end = memchr(text, '\n', b->len - b->at);
        size_t len = end ? (size_t)(end - text) : b->len - b->at;
        b->at += len + (end != NULL);
        if (batch_line_is_blank(text, len))
            continue;
        batch_line_read(&b->line, text, len, &b->rules);
        if (b->line.error)
            line_reject(b);
        else
            line_accept(b);
        b->index++;
    }
}

static enum body_outcome outcome_of(struct batch_body *b, const struct store_batch_append *op)
{
    if (op->is_gone)
        return BODY_GONE;
    if (op->n_differ)
        return op->is_cancelled ? BODY_CANCELLED : BODY_DIFFERS;
    b->n_accepted += op->n;
    b->n_added += op->n_added;
    b->n = 0;
    return b->at < b->len ? BODY_MORE : BODY_DONE;
}

void batch_body_step(struct db *db, void *arg)
{
    struct batch_body *b = arg;
    if (!b->portal[0]) {
        b->rc = store_rc_of(db ? batch_portal(db, b->batch_id, b->token_id, b->portal) : DB_GONE);
        b->outcome = b->rc == STORE_OK ? BODY_GONE : BODY_MORE;
        if (!b->portal[0])
            return;
    }
    if (!b->n) /* else the last step failed: the same items again */
        lines_read(b);
    struct store_batch_append op = {
        .batch_id = b->batch_id, .token_id = b->token_id, .n = b->n, .item = b->item, .params = b->sealed.data};
    if (b->n) {
        store_batch_append(db, &op);
        b->rc = op.rc;
    } else {
        b->rc = STORE_OK;
    }
    b->outcome = b->rc == STORE_OK ? outcome_of(b, &op) : BODY_MORE;
}

enum store_rc batch_body_rc(const struct batch_body *b)
{
    return b->rc;
}

enum body_outcome batch_body_outcome(const struct batch_body *b)
{
    return b->outcome;
}

uint64_t batch_body_added(const struct batch_body *b)
{
    return b->n_added;
}

uint64_t batch_body_rejected(const struct batch_body *b)
{
    return b->n_rejected;
}

struct jv *batch_body_answer(struct batch_body *b)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "accepted", (int64_t)b->n_accepted);
    jv_set_int(body, "rejected_total", (int64_t)b->n_rejected);
    jv_set(body, "rejected", b->rejected);
    b->rejected = NULL;
    return body;
}
