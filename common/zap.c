/* SPDX-License-Identifier: MIT */
/* zap.c - judges requests against the allow-list. Any request that is not plainly valid is refused. */
#include "common/zap.h"

#include "common/allow.h"
#include "common/buf.h"
#include "common/check.h"
#include "common/log.h"
#include "common/stat.h"
#include <stdlib.h>
#include <string.h>

#define REFRESH_MS 2000
#define LOG_MS 1000

struct zap {
    struct loop *loop;
    struct allow *allow;
    struct loop_timer refresh_timer;
    uint64_t logged_ms;
    unsigned since_logged; /* refusals not logged yet */
};

static void refresh_due(void *arg)
{
    struct zap *z = arg;
    allow_refresh(z->allow);
    loop_timer_in(z->loop, &z->refresh_timer, REFRESH_MS);
}

struct zap *zap_new(struct loop *l, const char *curve_dir)
{
    struct zap *z = xcalloc(1, sizeof *z);
    struct buf dir = {0};
    buf_addf(&dir, "%s/allow", curve_dir);
    z->loop = l;
    z->allow = allow_new(dir.data);
    buf_free(&dir);
    z->refresh_timer.fn = refresh_due;
    z->refresh_timer.arg = z;
    loop_timer_in(l, &z->refresh_timer, REFRESH_MS);
    return z;
}

void zap_destroy(struct zap **zp)
{
    struct zap *z = *zp;
    if (!z)
        return;
    *zp = NULL;
    loop_timer_stop(z->loop, &z->refresh_timer);
    allow_destroy(&z->allow);
    free(z);
}

static bool frame_is(const struct bus_frame *f, const char *text)
{
    return f->len == strlen(text) && memcmp(f->data, text, f->len) == 0;
}

static void refuse(struct zap *z, const struct bus_frame *address, const char *why)
{
    char text[64] = "";
    stat_inc(bus_refused_total);
    z->since_logged++;
    uint64_t now = loop_now_ms(z->loop);
    if (z->logged_ms && now - z->logged_ms < LOG_MS)
        return;
    if (address)
        snprintf(text, sizeof text, "%.*s", (int)address->len, (const char *)address->data);
    log_line(LOG_WARN, "bus_refused", "address", text, "why", why, "count", log_i(z->since_logged), NULL);
    z->logged_ms = now;
    z->since_logged = 0;
}

const char *zap_judge(struct zap *z, const struct bus_frame *request, unsigned n)
{
    const struct bus_frame *address = n > 3 ? &request[3] : NULL;
    const char *role = NULL;
    if (n < 6 || !frame_is(&request[0], "1.0") || !frame_is(&request[2], ZAP_DOMAIN))
        refuse(z, address, "malformed request");
    else if (n != 7 || !frame_is(&request[5], "CURVE") || request[6].len != KEY_BYTES)
        refuse(z, address, "not CURVE");
    else if (!(role = allow_role(z->allow, request[6].data)))
        refuse(z, address, "the key is not in allow/");
    return role;
}
