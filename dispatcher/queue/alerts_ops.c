/* SPDX-License-Identifier: MIT */
/*
 * alerts_ops.c - brokers say what is wrong (OPS_ALERTS_SAID); operators look at it, acknowledge it, let it not be told for a while, and try whether
 * what is told arrives (OPS_ALERTS, OPS_ALERT_SET, OPS_ALERTS_TEST).
 */
#include "dispatcher/queue/alerts_ops.h"
#include "dispatcher/queue/alerts.h"
#include "dispatcher/store/store_alerts.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

/* ---- what brokers say --------------------------------------------------------------------------------------- */

static void text_take(char *out, size_t room, const struct jv *v, size_t most)
{
    const char *text = jv_str(v);
    text_clean(out, room, text, text ? strlen(text) : 0, most);
}

/* The code is an identifier; false: it is none. */
static bool code_take(char out[ALERT_CODE_ROOM], const char *code)
{
    size_t len = code ? strlen(code) : 0;
    if (!len || len >= ALERT_CODE_ROOM || strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
        return false;
    strcpy(out, code);
    return true;
}

static bool said_take(struct alert_said *one, const struct jv *v)
{
    const char *level = jv_str(jv_get(v, "level"));
    one->is_bad = level && strcmp(level, "bad") == 0;
    text_take(one->who, sizeof(one->who), jv_get(v, "who"), ALERT_WHO_MAX);
    text_take(one->text, sizeof(one->text), jv_get(v, "text"), ALERT_TEXT_MAX);
    text_take(one->text_es, sizeof(one->text_es), jv_get(v, "text_es"), ALERT_TEXT_MAX);
    text_take(one->todo, sizeof(one->todo), jv_get(v, "todo"), ALERT_TODO_MAX);
    text_take(one->todo_es, sizeof(one->todo_es), jv_get(v, "todo_es"), ALERT_TODO_MAX);
    return code_take(one->code, jv_str(jv_get(v, "code"))) && one->text[0];
}

static int by_code_and_who(const void *a, const void *b)
{
    const struct alert_said *x = a, *y = b;
    int by_code = strcmp(x->code, y->code);
    return by_code ? by_code : strcmp(x->who, y->who);
}

static void said_done(void *arg, void *op_arg)
{
    struct store_alerts_said *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    if (op->rc == STORE_OK)
        alerts_written(d);
    else
        alerts_unwritten(d, op->one, op->n);
    alerts_soon(d);
    asked_json(arg, op->rc, ERR_OK, &op->json);
    free(op->one);
    free(op);
}

static void said_start(struct dispatcher *d, struct request *r)
{
    enum jv_bad bad;
    struct jv *list = jv_parse(r->params ? r->params : "[]", r->params ? r->params_len : 2, &bad);
    size_t n = jv_len(list) < ALERTS_SAID_MAX ? jv_len(list) : ALERTS_SAID_MAX;
    struct store_alerts_said *op = xcalloc(1, sizeof(*op));
    op->one = xcalloc(n + 1, sizeof(*op->one));
    for (size_t i = 0; i < n; i++)
        op->n += said_take(&op->one[op->n], jv_at(list, i));
    qsort(op->one, op->n, sizeof(*op->one), by_code_and_who);
    jv_free(list);
    store_submit(d->store, store_alerts_said, op, said_done, asked_new(d, r));
}

/* ---- what operators want ------------------------------------------------------------------------------------ */

static void listed(void *arg, void *op_arg)
{
    struct store_alerts_list *op = op_arg;
    asked_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void list_start(struct dispatcher *d, struct request *r)
{
    struct store_alerts_list *op = xcalloc(1, sizeof(*op));
    op->limit = r->limit;
    store_submit(d->store, store_alerts_list, op, listed, asked_new(d, r));
}

static struct jv *set_jv(const struct store_alert_set *op)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    if (op->wish == ALERT_ACK)
        jv_set_int(body, "id", (int64_t)op->id);
    jv_set_str(body, "code", op->code);
    jv_set_str(body, "who", op->who[0] ? op->who : NULL);
    if (op->wish == ALERT_ACK)
        jv_set_str(body, "acked_by", op->by.name);
    if (op->wish == ALERT_MUTE)
        jv_set_time(body, "muted_until", op->until_ms);
    return body;
}

static void set_done(void *arg, void *op_arg)
{
    struct store_alert_set *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (r && !op->found)
        reply_error(d, r, ERR_NOT_FOUND,
                    op->wish == ALERT_ACK ? "There is no such alert." : "Nothing is muted by that.", NULL);
    else if (r && op->refused[0])
        reply_error(d, r, ERR_WRONG_STATE, op->refused, NULL);
    else if (r)
        reply_jv(d, r, 200, set_jv(op));
    free(op);
}

static void set_start(struct dispatcher *d, struct request *r)
{
    struct store_alert_set *op = xcalloc(1, sizeof(*op));
    op->wish = strcmp(r->state, "ack") == 0    ? ALERT_ACK
               : strcmp(r->state, "mute") == 0 ? ALERT_MUTE
                                               : ALERT_UNMUTE;
    op->id = r->index;
    op->for_s = (int64_t)(r->for_ms / 1000);
    text_clean(op->who, sizeof(op->who), r->subject, strlen(r->subject), ALERT_WHO_MAX);
    request_actor(r, &op->by);
    if (op->wish == ALERT_ACK || code_take(op->code, r->action)) {
        store_submit(d->store, store_alert_set, op, set_done, asked_new(d, r));
        return;
    }
    free(op);
    reply_error(d, r, ERR_BAD_REQUEST, NULL, NULL);
}

static void tested(struct dispatcher *d, uint64_t key, struct jv *channels)
{
    struct request *r = request_find(d, key);
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set(body, "channels", channels);
    if (r)
        reply_jv(d, r, 200, body);
    else
        jv_free(body);
}

void alerts_ops_start(struct dispatcher *d, struct request *r)
{
    if (r->op == OP_OPS_ALERTS_SAID)
        said_start(d, r);
    else if (r->op == OP_OPS_ALERTS)
        list_start(d, r);
    else if (r->op == OP_OPS_ALERT_SET)
        set_start(d, r);
    else if (!alerts_test(d, r->key, tested))
        reply_error(d, r, ERR_QUEUE_FULL, NULL, NULL);
}
