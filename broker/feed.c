/* SPDX-License-Identifier: MIT */
/*
 * feed.c - live changes for operators: each EVENT of the dispatchers, for all companies; changes of portals and
 * pauses from changes.c; the statistics each second.
 *
 * Nothing is buffered for late subscribers. A slow subscriber receives the number of events it lost; of statistics
 * it receives only the newest. Its first statistics hold the whole last hour, later ones only the end of it.
 */
#include "broker/feed.h"
#include "broker/exchange.h"
#include "broker/sse.h"
#include "broker/stats.h"
#include "broker/summary.h"
#include "broker/trend.h"

#include "common/check.h"
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define HOUR_END_POINTS 2

struct reader {
    struct feed *feed;
    LIST_ENTRY(reader) of_feed;
    struct sse *sse;
    uint64_t lost;    /* since it took all; nothing more is sent until it has */
    bool is_counting; /* wants statistics */
    bool has_hour;    /* and has received the whole hour */
};

struct feed {
    LIST_HEAD(readers, reader) list;
};

static void refill(void *arg)
{
    struct reader *r = arg;
    struct buf text = {0};
    if (!r->lost)
        return;
    buf_addf(&text, "{\"count\":%llu}", (unsigned long long)r->lost);
    r->lost = 0;
    sse_event(r->sse, "lost", text.data, text.len);
    buf_free(&text);
}

static void gone(void *arg)
{
    struct reader *r = arg;
    LIST_REMOVE(r, of_feed);
    free(r);
}

static const struct sse_user reader_user = {.refill = refill, .gone = gone};

/* Skips a reader that has not taken the previous one yet. */
static void stats_send(struct reader *r, const char *text, size_t len)
{
    if (sse_is_empty(r->sse))
        r->has_hour |= sse_event(r->sse, "stats", text, len);
}

void feed_tick(struct broker *b)
{
    char *text[2] = {NULL, NULL}; /* the hour, its end */
    size_t len[2];
    struct reader *r;
    if (!LIST_EMPTY(&b->feed->list))
        summary_watched(b); /* changes of portals and pauses come from summaries */
    LIST_FOREACH(r, &b->feed->list, of_feed) {
        unsigned which = r->has_hour;
        if (!r->is_counting)
            continue;
        if (!text[which]) {
            struct jv *now = stats_jv(b, which ? HOUR_END_POINTS : TREND_POINTS);
            text[which] = jv_dump_measured(now, &len[which]);
            jv_free(now);
        }
        stats_send(r, text[which], len[which]);
    }
    free(text[0]);
    free(text[1]);
}

void feed_follow(struct exchange *x, bool is_counting)
{
    struct feed *f = x->b->feed;
    struct reader *r = xcalloc(1, sizeof *r);
    r->feed = f;
    LIST_INSERT_HEAD(&f->list, r, of_feed);
    r->sse = sse_new(x, &reader_user, r);
    r->is_counting = is_counting;
}

void feed_say(struct broker *b, const char *kind, struct jv *v)
{
    size_t len;
    char *text = jv_dump(v, &len);
    jv_free(v);
    struct reader *r;
    LIST_FOREACH(r, &b->feed->list, of_feed)
        if (r->lost || !sse_event(r->sse, kind, text, len)) {
            r->lost++;
            stat_inc(sse_lost_total);
        }
    free(text);
}

void feed_take(struct broker *b, const struct msg_EVENT *m)
{
    static const char *const kinds[] = {"job", "batch", "session"};
    const char *kind = NULL;
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (str_is(m->kind, kinds[i]))
            kind = kinds[i];
    if (!kind || LIST_EMPTY(&b->feed->list))
        return;
    struct jv *v = jv_new_object();
    jv_set_int(v, "id", (int64_t)m->id);
    jv_set_int(v, "company_id", (int64_t)m->company_id);
    jv_set_strn(v, "state", m->state.p, m->state.len);
    feed_say(b, kind, v);
}

struct feed *feed_new(void)
{
    return xcalloc(1, sizeof(struct feed));
}

void feed_destroy(struct feed **fp)
{
    struct feed *f = *fp;
    if (!f)
        return;
    *fp = NULL;
    CHECK(LIST_EMPTY(&f->list), "events are read");
    free(f);
}
