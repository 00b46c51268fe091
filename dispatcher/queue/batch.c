/* SPDX-License-Identifier: MIT */
/*
 * batch.c - batches: opened, filled, closed, shown and cancelled for clients.
 *
 * Owns: the bodies that are being recorded, and those that wait for their turn;
 * at most half of the database threads work on bodies, so that interactive
 * work never waits behind an upload. A body whose request is gone stops after
 * its step; what it recorded stays, and is found again when it is sent again.
 * Says WAKE only after the commit.
 */
#include "dispatcher/queue/batch.h"
#include "dispatcher/queue/batch_body.h"
#include "dispatcher/queue/queue.h"
#include "dispatcher/queue/webhook.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct upload {
    struct dispatcher *d;
    uint64_t key; /* its request, 0 = gone */
    uint64_t batch_id;
    struct batch_body *body;
    STAILQ_ENTRY(upload) link; /* while it waits */
};

struct batches {
    unsigned n_running, most;
    STAILQ_HEAD(uploads, upload) waiting;
};

struct batches *batches_new(struct dispatcher *d)
{
    struct batches *bs = xcalloc(1, sizeof(*bs));
    STAILQ_INIT(&bs->waiting);
    bs->most = d->conf->dispatcher_db_threads > 1 ? (unsigned)d->conf->dispatcher_db_threads / 2 : 1;
    return bs;
}

static void upload_free(struct upload *u)
{
    batch_body_free(&u->body);
    free(u);
}

void batches_destroy(struct batches **bp)
{
    struct batches *bs = *bp;
    while (bs && !STAILQ_EMPTY(&bs->waiting)) {
        struct upload *u = STAILQ_FIRST(&bs->waiting);
        STAILQ_REMOVE_HEAD(&bs->waiting, link);
        upload_free(u);
    }
    free(bs);
    *bp = NULL;
}

static void errors_reply(struct dispatcher *d, struct request *r, const char *field, const char *why)
{
    struct jv *extra = jv_new_object(), *errors = jv_new_object(), *list = jv_new_array();
    jv_push_str(list, why);
    jv_set(errors, field, list);
    jv_set(extra, "errors", errors);
    reply_error(d, r, ERR_VALIDATION_FAILED, NULL, extra);
}

static struct batch_viewer viewer_of(const struct request *r)
{
    return (struct batch_viewer){.all = r->all_companies, .token_id = r->token_id};
}

static void status_reply(struct dispatcher *d, struct request *r, uint64_t batch_id, const char *status)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "batch_id", (int64_t)batch_id);
    jv_set_str(body, "status", status);
    reply_jv(d, r, 200, body);
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

/* Within the token. Without a seal key nothing in a body is secret (params are refused), and a plain hash does. */
static void key_fill(const struct dispatcher *d, const struct request *r, struct idempotency *key)
{
    struct buf scope = {0};
    buf_addf(&scope, "batches %llu %s", (unsigned long long)r->token_id, r->idempotency_key);
    key->is_set = true;
    if (d->seal) {
        seal_hash(d->seal, "idempotency-scope", scope.data, scope.len, key->scope, sizeof(key->scope));
        seal_hash(d->seal, "idempotency-body", r->body_digest, sizeof(r->body_digest), key->digest,
                  sizeof(key->digest));
    } else {
        id_sha256(scope.data, scope.len, key->scope);
        id_sha256(r->body_digest, sizeof(r->body_digest), key->digest);
    }
    buf_free(&scope);
}

static void open_done(void *arg, void *op_arg)
{
    struct store_batch_open *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (r && op->mismatch) {
        reply_error(d, r, ERR_IDEMPOTENCY_MISMATCH, NULL, NULL);
    } else if (r && op->too_many) {
        reply_error(d, r, ERR_RATE_LIMITED,
                    "1,000 batches of this token have not ended; wait for some, or cancel them.", NULL);
    } else if (r) {
        r->replayed = op->replayed;
        status_reply(d, r, op->batch_id, op->status);
    }
    buf_free(&op->step_params);
    free(op);
}

/* What each item does after its log-in. false: answered. */
static bool steps_take(struct dispatcher *d, struct request *r, struct store_batch_open *op)
{
    struct steps steps;
    char words[STEPS_WHY_ROOM];
    enum jv_bad bad;
    struct jv *then = r->params_len ? jv_parse(r->params, r->params_len, &bad) : NULL;
    bool is_good = steps_read(then, &d->conf->actions, r->portal, &steps, words);
    jv_free(then);
    if (!is_good || (steps.n && !d->seal)) {
        errors_reply(d, r, "then",
                     is_good ? "results cannot be kept: the dispatcher has no seal.key_file" : words);
        steps_free(&steps);
        return false;
    }
    strcpy(op->steps, steps.names);
    strcpy(op->name, r->name);
    op->closes = r->closes;
    if (steps.params) {
        size_t len;
        char *text = jv_dump(steps.params, &len);
        seal_wrap(d->seal, 0, r->portal, "then", text, len, &op->step_params);
        explicit_bzero(text, len);
        free(text);
    }
    steps_free(&steps);
    return true;
}

static void open_start(struct dispatcher *d, struct request *r)
{
    const struct action *action = action_find(&d->conf->actions, r->action);
    if (!action || action->session != ACTION_CREATE) {
        errors_reply(d, r, "action", "This dispatcher does not know it as a log-in.");
        return;
    }
    if (strcmp(action->portal, r->portal) != 0) {
        errors_reply(d, r, "portal", "is not the portal of this action");
        return;
    }
    if (!r->idempotency_key[0]) {
        errors_reply(d, r, "Idempotency-Key", "is needed");
        return;
    }
    struct store_batch_open *op = xcalloc(1, sizeof(*op));
    if (!steps_take(d, r, op)) {
        free(op);
        return;
    }
    op->token_id = r->token_id;
    op->user_id = r->user_id;
    strcpy(op->portal, r->portal);
    strcpy(op->action, r->action);
    op->priority = r->priority;
    strcpy(op->request_id, r->request_id);
    strcpy(op->callback_url, r->callback_url);
    op->available_at_ms = (int64_t)r->available_at_ms;
    key_fill(d, r, &op->key);
    store_submit(d->store, store_batch_open, op, open_done, asked_new(d, r));
}

/* ---- items -------------------------------------------------------------------------------------------------- */

static void upload_stepped(void *arg, void *body);

static void upload_step(struct upload *u)
{
    u->d->batches->n_running++;
    store_submit(u->d->store, batch_body_step, u->body, upload_stepped, u);
}

static void uploads_pump(struct dispatcher *d)
{
    struct batches *bs = d->batches;
    while (!STAILQ_EMPTY(&bs->waiting) && bs->n_running < bs->most) {
        struct upload *u = STAILQ_FIRST(&bs->waiting);
        STAILQ_REMOVE_HEAD(&bs->waiting, link);
        if (u->key)
            upload_step(u);
        else
            upload_free(u);
    }
}

static void upload_wait(struct upload *u)
{
    STAILQ_INSERT_TAIL(&u->d->batches->waiting, u, link);
}

static void upload_cancelled(struct dispatcher *d, struct request *r)
{
    (void)d;
    struct upload *u = r->work;
    u->key = 0; /* freed when its step, or its turn, comes back */
    r->work = NULL;
}

static void upload_reply(struct upload *u, struct request *r)
{
    struct dispatcher *d = u->d;
    r->work = NULL;
    r->on_cancel = NULL;
    r->db_ms = (int64_t)(clock_us() - r->arrived_us) / 1000;
    if (batch_body_rc(u->body) != STORE_OK) {
        reply_store(d, r, batch_body_rc(u->body));
        return;
    }
    switch (batch_body_outcome(u->body)) {
    case BODY_MORE:
    case BODY_DONE:
        reply_jv(d, r, 200, batch_body_answer(u->body));
        return;
    case BODY_GONE:
        reply_error(d, r, ERR_BATCH_NOT_FOUND, NULL, NULL);
        return;
    case BODY_DIFFERS:
        reply_error(d, r, ERR_IDEMPOTENCY_MISMATCH, NULL, NULL);
        return;
    case BODY_CANCELLED:
        reply_error(d, r, ERR_WRONG_STATE, "The batch was cancelled.", NULL);
        return;
    }
}

static void upload_stepped(void *arg, void *body)
{
    struct upload *u = arg;
    struct dispatcher *d = u->d;
    (void)body;
    d->batches->n_running--;
    bool more = batch_body_rc(u->body) == STORE_OK && batch_body_outcome(u->body) == BODY_MORE;
    struct request *r = u->key ? request_find(d, u->key) : NULL;
    if (more && r) {
        upload_wait(u); /* behind the others */
    } else {
        stat_add(batch_items_rejected_total, batch_body_rejected(u->body));
        if (batch_body_added(u->body)) {
            stat_add(batch_items_total, batch_body_added(u->body));
            queue_wake(d);
            peers_wake(d, "work");
            queue_batch_touched(d, u->batch_id);
        }
        if (r)
            upload_reply(u, r);
        upload_free(u);
    }
    uploads_pump(d);
}

static void body_start(struct dispatcher *d, struct request *r)
{
    struct upload *u = xcalloc(1, sizeof(*u));
    u->d = d;
    u->key = r->key;
    u->batch_id = r->batch_id;
    u->body = batch_body_new(d->seal, r->batch_id, r->token_id, r->all_companies, r->companies, r->n_companies,
                             r->params, r->params_len, r->index);
    r->companies = NULL;
    r->n_companies = 0;
    r->params = NULL;
    r->params_len = 0;
    r->work = u;
    r->on_cancel = upload_cancelled;
    upload_wait(u);
    uploads_pump(d);
}

static void close_done(void *arg, void *op_arg)
{
    struct store_batch_close *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    bool is_good = op->rc == STORE_OK && op->found && !op->differs;
    if (is_good)
        peers_event(d, "batch", op->batch_id, 0, op->status);
    if (is_good && strcmp(op->status, "done") == 0)
        webhook_soon(d);
    if (r && op->found && op->differs)
        reply_error(d, r, ERR_IDEMPOTENCY_MISMATCH, NULL, NULL);
    else if (r && op->found)
        status_reply(d, r, op->batch_id, op->status);
    else if (r)
        reply_error(d, r, ERR_BATCH_NOT_FOUND, NULL, NULL);
    free(op);
}

static void close_batch_start(struct dispatcher *d, struct request *r)
{
    struct store_batch_close *op = xcalloc(1, sizeof(*op));
    op->batch_id = r->batch_id;
    op->token_id = r->token_id;
    op->lines = r->index;
    store_submit(d->store, store_batch_close, op, close_done, asked_new(d, r));
}

/* ---- looking ------------------------------------------------------------------------------------------------ */

static void batch_done(void *arg, void *op_arg)
{
    struct store_batch *op = op_arg;
    asked_json(arg, op->rc, op->found ? ERR_OK : ERR_BATCH_NOT_FOUND, &op->json);
    free(op);
}

static void get_start(struct dispatcher *d, struct request *r)
{
    struct store_batch *op = xcalloc(1, sizeof(*op));
    op->portals = &d->conf->portals;
    robots_room(d, &op->room);
    op->batch_id = r->batch_id;
    op->viewer = viewer_of(r);
    op->with_course = r->course;
    store_submit(d->store, store_batch, op, batch_done, asked_new(d, r));
}

static void items_done(void *arg, void *op_arg)
{
    struct store_batch_items *op = op_arg;
    answer_json(arg, op->rc, op->found ? ERR_OK : ERR_BATCH_NOT_FOUND, &op->json);
    free(op);
}

static void items_start(struct dispatcher *d, struct request *r)
{
    struct store_batch_items *op = xcalloc(1, sizeof(*op));
    op->batch_id = r->batch_id;
    op->viewer = viewer_of(r);
    snprintf(op->state, sizeof(op->state), "%.20s", r->state);
    strcpy(op->error, r->error);
    strcpy(op->robot_error, r->robot_error);
    op->cursor = r->cursor;
    op->limit = r->limit;
    store_submit(d->store, store_batch_items, op, items_done, asked_new(d, r));
}

static void list_done(void *arg, void *op_arg)
{
    struct store_batches *op = op_arg;
    asked_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void batches_list_start(struct dispatcher *d, struct request *r)
{
    struct store_batches *op = xcalloc(1, sizeof(*op));
    op->portals = &d->conf->portals;
    robots_room(d, &op->room);
    snprintf(op->state, sizeof(op->state), "%.20s", r->state);
    op->cursor = r->cursor;
    op->limit = r->limit;
    store_submit(d->store, store_batches, op, list_done, asked_new(d, r));
}

/* ---- cancelling --------------------------------------------------------------------------------------------- */

/* Goes on step by step, also when its request is gone. */
static void cancel_done(void *arg, void *op_arg)
{
    struct store_batch_cancel *op = op_arg;
    struct asked *a = arg;
    struct dispatcher *d = a->d;
    if (op->rc == STORE_OK && op->more) {
        store_submit(d->store, store_batch_cancel, op, cancel_done, a);
        return;
    }
    struct request *r = asked_answer(a, op->rc);
    if (op->asked) {
        leases_renew_soon(d);
        peers_wake(d, "cancel");
    }
    if (op->begun)
        queue_batch_touched(d, op->batch_id);
    if (r && !op->found)
        reply_error(d, r, ERR_BATCH_NOT_FOUND, NULL, NULL);
    else if (r && op->wrong_state)
        reply_error(d, r, ERR_WRONG_STATE, "The batch has ended.", NULL);
    else if (r)
        status_reply(d, r, op->batch_id, op->status);
    free(op);
}

static void cancel_start(struct dispatcher *d, struct request *r)
{
    struct store_batch_cancel *op = xcalloc(1, sizeof(*op));
    op->batch_id = r->batch_id;
    op->viewer = viewer_of(r);
    request_actor(r, &op->by);
    store_submit(d->store, store_batch_cancel, op, cancel_done, asked_new(d, r));
}

/* Goes on step by step, also when its request is gone. */
static void priority_done(void *arg, void *op_arg)
{
    struct store_batch_priority *op = op_arg;
    struct asked *a = arg;
    struct dispatcher *d = a->d;
    if (op->rc == STORE_OK && op->more) {
        store_submit(d->store, store_batch_priority, op, priority_done, a);
        return;
    }
    struct request *r = asked_answer(a, op->rc);
    if (op->begun)
        queue_wake(d);
    if (r && !op->found) {
        reply_error(d, r, ERR_BATCH_NOT_FOUND, NULL, NULL);
    } else if (r && op->wrong_state) {
        reply_error(d, r, ERR_WRONG_STATE, "The batch has ended.", NULL);
    } else if (r) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_int(body, "batch_id", (int64_t)op->batch_id);
        jv_set_int(body, "priority", op->priority);
        reply_jv(d, r, 200, body);
    }
    free(op);
}

static void priority_start(struct dispatcher *d, struct request *r)
{
    struct store_batch_priority *op = xcalloc(1, sizeof(*op));
    op->batch_id = r->batch_id;
    op->priority = r->priority;
    request_actor(r, &op->by);
    store_submit(d->store, store_batch_priority, op, priority_done, asked_new(d, r));
}

void batch_start(struct dispatcher *d, struct request *r)
{
    switch ((int)r->op) {
    case OP_BATCH_OPEN:
        open_start(d, r);
        return;
    case OP_BATCH_BODY:
        body_start(d, r);
        return;
    case OP_BATCH_CLOSE:
        close_batch_start(d, r);
        return;
    case OP_BATCH_GET:
        get_start(d, r);
        return;
    case OP_BATCH_ITEMS:
        items_start(d, r);
        return;
    case OP_BATCH_CANCEL:
        cancel_start(d, r);
        return;
    case OP_OPS_BATCH_PRIORITY:
        priority_start(d, r);
        return;
    case OP_OPS_BATCHES:
        batches_list_start(d, r);
        return;
    default:
        CHECK(false, "op %d is not about a batch", (int)r->op);
    }
}
