/* SPDX-License-Identifier: MIT */
/* boots.c - see boots.h. */
#include "common/boots.h"

#include "common/jv.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_other(const struct boots *b, const char *boot_id)
{
    return b->other[0] && strcmp(b->other, boot_id) == 0;
}

bool boots_are_two(const struct boots *b, uint64_t now_ms)
{
    return b->other[0] && now_ms < b->other_seen_ms + BOOTS_TWO_MS && now_ms < b->now_seen_ms + BOOTS_TWO_MS;
}

static enum boot_news two(struct boots *b, const char *boot_id, uint64_t now_ms)
{
    bool was_two = boots_are_two(b, now_ms) && is_other(b, boot_id);
    strcpy(b->other, boot_id);
    b->other_seen_ms = now_ms;
    b->next[0] = 0;
    return was_two ? BOOT_SAME : BOOT_TWO;
}

/* Handles the known boot id. It proves a second process when the question was asked after another id was first
 * seen. */
static enum boot_news same(struct boots *b, uint64_t asked_ms, uint64_t now_ms)
{
    char next[BOOT_ROOM];
    b->now_seen_ms = now_ms;
    if (!b->next[0] || asked_ms < b->next_seen_ms)
        return BOOT_SAME;
    strcpy(next, b->next);
    return two(b, next, now_ms);
}

static enum boot_news fresh(struct boots *b, const char *boot_id, uint64_t now_ms)
{
    if (strcmp(b->next, boot_id) != 0) {
        strcpy(b->next, boot_id);
        b->next_seen_ms = now_ms;
    }
    return BOOT_NEW;
}

enum boot_news boots_see(struct boots *b, const char *boot_id, uint64_t asked_ms, uint64_t now_ms)
{
    if (!*boot_id || strlen(boot_id) >= BOOT_ROOM)
        return BOOT_SAME;
    if (!b->now[0])
        boots_take(b, boot_id, now_ms);
    if (strcmp(b->now, boot_id) == 0)
        return same(b, asked_ms, now_ms);
    if (is_other(b, boot_id)) { /* the first process has been silent for long: it is gone */
        if (now_ms >= b->now_seen_ms + BOOTS_TWO_MS)
            return fresh(b, boot_id, now_ms);
        return two(b, boot_id, now_ms);
    }
    for (unsigned i = 0; i < BOOTS_PAST && i < b->n_past; i++)
        if (strcmp(b->past[i], boot_id) == 0)
            return asked_ms < b->replaced_ms[i] ? BOOT_STALE : two(b, boot_id, now_ms);
    return fresh(b, boot_id, now_ms);
}

void boots_take(struct boots *b, const char *boot_id, uint64_t now_ms)
{
    bool is_known = b->now[0] != 0;
    if (is_known && strcmp(b->now, boot_id) == 0)
        return;
    if (is_known) {
        unsigned at = b->n_past++ % BOOTS_PAST;
        strcpy(b->past[at], b->now);
        b->replaced_ms[at] = strcmp(b->next, boot_id) == 0 ? b->next_seen_ms : now_ms;
    }
    strcpy(b->now, boot_id);
    b->now_seen_ms = now_ms;
    b->next[0] = 0;
    if (is_other(b, boot_id))
        b->other[0] = 0;
}

void boot_id_read(const struct jv *health, const char *header, char out[BOOT_ROOM])
{
    const struct jv *said = jv_get(health, "boot_id");
    size_t len = 0;
    char *number = jv_type(said) == JV_INT || jv_type(said) == JV_REAL ? jv_dump(said, &len) : NULL;
    const char *text = number ? number : jv_str(said);
    text_token(out, text, text ? strlen(text) : 0);
    free(number);
    if (!out[0])
        snprintf(out, BOOT_ROOM, "%s", header);
}
