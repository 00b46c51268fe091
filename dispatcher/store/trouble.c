/* SPDX-License-Identifier: MIT */
/* trouble.c - the table of duties that fail. Owns nothing else. */
#include "dispatcher/store/trouble.h"

#include <stdio.h>
#include <string.h>

static bool is_over(const struct trouble *r, uint64_t now_ms)
{
    return !r->duty[0] || now_ms > r->last_ms + TROUBLE_KEPT_MS;
}

static struct trouble *row_for(struct troubles *t, const char *duty, const char *kind)
{
    struct trouble *oldest = &t->row[0];
    for (unsigned i = 0; i < TROUBLES_MAX; i++) {
        struct trouble *r = &t->row[i];
        if (strcmp(r->duty, duty) == 0 && strcmp(r->kind, kind) == 0)
            return r;
        if (r->last_ms < oldest->last_ms)
            oldest = r;
    }
    memset(oldest, 0, sizeof(*oldest));
    return oldest;
}

void trouble_note(struct troubles *t, const char *duty, const char *kind, const char *why, uint64_t now_ms)
{
    struct trouble *r = row_for(t, duty, kind);
    if (is_over(r, now_ms)) {
        memset(r, 0, sizeof(*r));
        snprintf(r->duty, sizeof(r->duty), "%s", duty);
        snprintf(r->kind, sizeof(r->kind), "%s", kind);
        r->since_ms = now_ms;
    }
    snprintf(r->why, sizeof(r->why), "%s", why);
    for (char *s = r->why; *s; s++)
        if ((unsigned char)*s < 0x20)
            *s = ' ';
    r->last_ms = now_ms;
    r->n++;
}

void trouble_over(struct troubles *t, const char *duty, uint64_t now_ms)
{
    for (unsigned i = 0; i < TROUBLES_MAX; i++)
        if (strcmp(t->row[i].duty, duty) == 0 &&
            (strcmp(t->row[i].kind, "refused") != 0 || is_over(&t->row[i], now_ms)))
            memset(&t->row[i], 0, sizeof(t->row[i]));
}

void trouble_text(const struct troubles *t, uint64_t now_ms, char out[TROUBLE_TEXT_MAX + 1])
{
    size_t len = 0;
    bool told[TROUBLES_MAX] = {false};
    out[0] = 0;
    for (;;) {
        int most = -1;
        for (int i = 0; i < TROUBLES_MAX; i++)
            if (!told[i] && !is_over(&t->row[i], now_ms) && (most < 0 || t->row[i].n > t->row[most].n))
                most = i;
        if (most < 0)
            return;
        const struct trouble *r = &t->row[most];
        char line[300];
        told[most] = true;
        int n = snprintf(line, sizeof(line), "%s\t%s\t%llu\t%llu\t%s\n", r->duty, r->kind,
                         (unsigned long long)r->n, (unsigned long long)(now_ms - r->since_ms) / 1000, r->why);
        if (len + (size_t)n > TROUBLE_TEXT_MAX)
            return;
        memcpy(out + len, line, (size_t)n + 1);
        len += (size_t)n;
    }
}
