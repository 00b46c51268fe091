/*
 * download.c - a file, streamed from the session's robot to the broker.
 *
 * Owns: the chunk being filled. Never holds more than one chunk: without credit
 * the robot's transfer is paused, so the slowest client holds back the robot.
 * A transfer that breaks is cut, never ended as if complete.
 */
#include "dispatcher/robot_answer.h"

#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFUSAL_BYTES 65536

struct download {
    struct dispatcher *d;
    uint64_t key;
    struct robot_call *call;
    struct session_row row;
    struct loop_timer flush; /* what was gathered leaves at the end of the turn */
    char *chunk;             /* CHUNK_MAX bytes, NULL = none yet */
    size_t len;
    bool begun;
    int64_t length;
    uint64_t sent;
};

static void download_end(struct download *w, struct request *r)
{
    loop_timer_stop(w->d->loop, &w->flush);
    activity_drop(w->d, w->row.ref);
    r->work = NULL;
    r->on_cancel = NULL;
    r->on_credit = NULL;
    free(w->chunk);
    free(w);
}

static void download_cancelled(struct dispatcher *d, struct request *r)
{
    struct download *w = r->work;
    (void)d;
    call_stop(w->call);
    download_end(w, r);
}

static void chunk_out(struct download *w, struct request *r)
{
    if (!w->len)
        return;
    char *data = xrealloc(w->chunk, w->len);
    w->chunk = NULL;
    w->sent += w->len;
    stream_chunk(w->d, r, data, w->len);
    w->len = 0;
}

static void flush_due(void *arg)
{
    struct download *w = arg;
    struct request *r = request_find(w->d, w->key);
    CHECK(r, "a download without its request");
    if (stream_credit(r))
        chunk_out(w, r);
}

static void credit_came(struct dispatcher *d, struct request *r)
{
    struct download *w = r->work;
    (void)d;
    if (stream_credit(r))
        chunk_out(w, r);
    if (stream_credit(r))
        call_resume(w->call);
}

/* A name without path, control characters or quotes; the broker encodes it. */
static void name_clean(const char *in, char *out, size_t room)
{
    size_t n = 0;
    const char *base = in;
    for (const char *p = in; *p; p++)
        if (*p == '/' || *p == '\\')
            base = p + 1;
    for (; *base && n + 1 < room; base++)
        if ((unsigned char)*base >= 0x20 && *base != 0x7f && *base != '"')
            out[n++] = *base;
    out[n] = 0;
    if (!n || strcmp(out, ".") == 0 || strcmp(out, "..") == 0)
        snprintf(out, room, "download");
}

static bool type_is_sane(const char *type)
{
    const char *slash = strchr(type, '/');
    if (!slash || slash == type || !slash[1])
        return false;
    for (const char *p = type; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            return false;
    return true;
}

static bool head_came(void *arg, const struct call_answer *a)
{
    struct download *w = arg;
    struct request *r = request_find(w->d, w->key);
    char name[513];
    struct buf clean = {0};
    name_clean(a->disposition_name, name, sizeof(name));
    /* A name that is no UTF-8 would not travel: bad bytes become U+FFFD. */
    struct jv *box = jv_new_object();
    jv_set_str(box, "name", name);
    buf_adds(&clean, jv_str(jv_get(box, "name")));
    jv_free(box);
    if (clean.len > 512)
        clean.data[0] = 0;
    w->begun = true;
    w->length = a->length;
    robots_boot_seen(w->d, w->row.robot_id, a->boot_id);
    stream_begin(w->d, r, 200, type_is_sane(a->content_type) ? a->content_type : "application/octet-stream", a->length, clean.data,
                 strcmp(w->row.session_id, r->session_id) == 0 ? NULL : w->row.session_id, credit_came);
    buf_free(&clean);
    return true;
}

static bool data_came(void *arg, const char *data, size_t len)
{
    struct download *w = arg;
    struct request *r = request_find(w->d, w->key);
    while (len) {
        if (w->len == CHUNK_MAX)
            chunk_out(w, r); /* one more than the credit at most: the pause takes hold after this piece */
        if (!w->chunk)
            w->chunk = xmalloc(CHUNK_MAX);
        size_t n = len < CHUNK_MAX - w->len ? len : CHUNK_MAX - w->len;
        memcpy(w->chunk + w->len, data, n);
        w->len += n;
        data += n;
        len -= n;
    }
    if (w->len == CHUNK_MAX && stream_credit(r))
        chunk_out(w, r);
    else if (w->len && !loop_timer_is_set(&w->flush))
        loop_timer_in(w->d->loop, &w->flush, 1);
    return stream_credit(r) > 0 || w->len < CHUNK_MAX / 2;
}

static void download_answered(void *arg, struct call_answer *a)
{
    struct download *w = arg;
    struct dispatcher *d = w->d;
    struct request *r = request_find(d, w->key);
    const struct robot *robot = robot_by_id(d, w->row.robot_id);
    CHECK(r, "a download without its request");
    enum err failure = answer_failure(a);
    if (failure)
        answer_note(r, robot, "download", a);
    robots_boot_seen(d, w->row.robot_id, a->boot_id);
    if (a->status == 200 && !failure && !w->begun) /* an empty file has a head but no data */
        head_came(w, a);
    if (w->begun) {
        chunk_out(w, r);
        bool broken = failure || (w->length >= 0 && (uint64_t)w->length != w->sent);
        download_end(w, r);
        stream_end(d, r, broken);
        return;
    }
    download_end(w, r);
    if (a->status == 404 && a->result != CALL_BROKEN) {
        reply_error(d, r, ERR_FILE_NOT_FOUND, NULL, NULL);
    } else if (a->status && a->status != 200 && a->result != CALL_TIMEOUT) {
        struct jv *extra = jv_new_object();
        jv_set(extra, "robot", answer_words(d, a));
        reply_error(d, r, ERR_ROBOT_ERROR, NULL, extra);
    } else {
        reply_error(d, r, failure ? failure : ERR_ROBOT_BAD_RESPONSE, NULL, NULL);
    }
}

static void download_resolved(struct dispatcher *d, struct request *r, enum resolve res, const struct session_row *row)
{
    if (res != RESOLVE_OK) {
        resolve_reply(d, r, res, row);
        return;
    }
    int64_t left = request_left_ms(d, r) - 500;
    if (left <= 0) {
        reply_error(d, r, ERR_DEADLINE_EXCEEDED, NULL, NULL);
        return;
    }
    struct download *w = xcalloc(1, sizeof(*w));
    struct buf path = {0};
    w->d = d;
    w->key = r->key;
    w->row = *row;
    w->flush.fn = flush_due;
    w->flush.arg = w;
    buf_adds(&path, "/files/");
    url_encode(&path, r->file_token);
    buf_adds(&path, "?session_id=");
    url_encode(&path, row->session_id);
    int64_t first = d->conf->timeout_download_first_byte_ms;
    struct call_spec spec = {.method = "GET",
                             .base_url = robot_by_id(d, row->robot_id)->base_url,
                             .path = path.data,
                             .request_id = r->request_id,
                             .traceparent = r->traceparent,
                             .connect_ms = d->conf->timeout_connect_ms,
                             .first_byte_ms = first < left ? first : left,
                             .idle_ms = d->conf->timeout_download_idle_ms,
                             .max_bytes = REFUSAL_BYTES,
                             .on_head = head_came,
                             .on_data = data_came,
                             .done = download_answered,
                             .arg = w};
    activity_hold(d, row->ref);
    r->work = w;
    r->on_cancel = download_cancelled;
    w->call = call_start(d->robot_http, &spec);
    buf_free(&path);
}

void download_start(struct dispatcher *d, struct request *r)
{
    resolve_session(d, r, r->session_id, download_resolved);
}
