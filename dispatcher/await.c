/*
 * await.c - the outcome of a log-in that somebody else works on: asked again and
 * again until it is terminal. For brokers whose dispatcher died, and for a log-in whose lease was taken over.
 */
#include "dispatcher/dispatcher.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_MS 200
#define UNKNOWN_GRACE_MS 1500 /* the dying dispatcher's commit may still come */

struct awaited {
    struct dispatcher *d;
    uint64_t key, since_ms;
    struct loop_timer timer;
};

static void look(void *arg);

static void awaited_free(struct awaited *w)
{
    loop_timer_stop(w->d->loop, &w->timer);
    free(w);
}

static void answer(struct dispatcher *d, struct request *r, struct store_job *op)
{
    struct jv *extra = jv_new_object();
    const struct session_row *row = &op->session;
    jv_set_int(extra, "job_id", (int64_t)op->job_id);
    jv_set_str(extra, "job_uid", op->job_uid);
    if (strcmp(op->status, "done") == 0 && op->session_ref) {
        const struct robot *robot = robot_by_id(d, row->robot_id);
        struct jv *about = jv_new_object(), *shape = session_jv(row, NULL);
        jv_set_bool(extra, "ok", true);
        jv_set_str(extra, "session_id", row->session_id);
        jv_set(extra, "viewer_url", jv_copy(jv_get(shape, "viewer_url")));
        jv_set(about, "url", NULL);
        jv_set_str(about, "titulo", row->title[0] ? row->title : NULL);
        jv_set_str(about, "worker", robot ? robot->name : NULL);
        jv_set(extra, "robot", about);
        jv_free(shape);
        reply_jv(d, r, 200, extra);
        return;
    }
    enum err e = err_from_code(op->error, (unsigned)strlen(op->error));
    reply_error(d, r, e == ERR_COUNT || e == ERR_OK ? ERR_NO_DISPATCHER : e, op->message, extra);
}

static void looked(void *arg, void *op_arg)
{
    struct awaited *w = arg;
    struct store_job *op = op_arg;
    struct dispatcher *d = w->d;
    struct request *r = request_find(d, w->key);
    bool seen = op->rc == STORE_OK && op->found && r && request_may_see(r, op->company_id);
    if (seen && op->terminal)
        answer(d, r, op);
    else if (r && !seen && op->rc == STORE_OK && clock_ms() > w->since_ms + UNKNOWN_GRACE_MS)
        reply_error(d, r, ERR_JOB_NOT_FOUND, NULL, NULL);
    else if (r) {
        loop_timer_in(d->loop, &w->timer, LOOK_MS);
        w = NULL;
    }
    buf_free(&op->json);
    free(op);
    if (w)
        awaited_free(w);
}

static void look(void *arg)
{
    struct awaited *w = arg;
    struct request *r = request_find(w->d, w->key);
    if (!r) {
        awaited_free(w);
        return;
    }
    struct store_job *op = xcalloc(1, sizeof(*op));
    strcpy(op->job_uid, r->job_uid);
    store_submit(w->d->store, store_job, op, looked, w);
}

void login_await(struct dispatcher *d, struct request *r)
{
    struct awaited *w = xcalloc(1, sizeof(*w));
    w->d = d;
    w->key = r->key;
    w->since_ms = clock_ms();
    w->timer.fn = look;
    w->timer.arg = w;
    look(w);
}
