/* SPDX-License-Identifier: MIT */
/*
 * news.h - what a lower floor tells those above it. A floor calls only what is below it (docs/ARCHITECTURE.md, Floors); what goes
 * up is news, and news.c names who hears it. All of it is called on the loop's thread, at once.
 */
#ifndef CHASQUI_DISPATCHER_NEWS_H
#define CHASQUI_DISPATCHER_NEWS_H

#include "dispatcher/dispatcher.h"
#include "dispatcher/store/trouble.h"

#define BULKHEAD_TEXT_MAX 300 /* of PING: which bounds are reached */

struct news {
    /* wire/ */
    void (*request_came)(struct dispatcher *d, struct request *r); /* to be answered, now or later */
    void (*request_ends)(struct dispatcher *d, struct request *r); /* it is about to be freed */
    void (*broker_known)(struct dispatcher *d, unsigned peer);     /* it knows us, too, from now on */
    void (*woken)(
        struct dispatcher *d,
        struct str
            what); /* somebody, here or at another dispatcher, did something: the words of WAKE in SPEC.md */
    unsigned (*tokens_of_others)(const struct dispatcher *d); /* for HELLO: where else than here tokens are made */
    /* What the next PING says of tokens, events and limits; appends to troubles. */
    void (*ping_asks)(struct dispatcher *d, char troubles[TROUBLE_TEXT_MAX + 1],
                      char at_limit[BULKHEAD_TEXT_MAX + 1]);
    /* robot/ and what calls robots */
    void (*robot_changed)(struct dispatcher *d, uint32_t robot_id,
                          const char *reason);                           /* as migrate_robot_changed() */
    void (*robot_stays_silent)(struct dispatcher *d, uint32_t robot_id); /* long enough for its sessions to move */
    void (*robot_down)(struct dispatcher *d, uint32_t robot_id); /* its calls under way will not be answered */
    void (*robot_to_compare)(struct dispatcher *d,
                             uint32_t robot_id);   /* its own list of sessions may differ from ours */
    void (*robots_reloaded)(struct dispatcher *d); /* the registry is another one */
    void (*robots_known)(struct dispatcher *d);    /* more is known of robots: who waits for one looks again */
    /* session/ */
    void (*session_wanted)(struct dispatcher *d, uint64_t job_id); /* somebody waits for a session that moves */
    void (*lease_rescued)(struct dispatcher *d, struct rescued *job,
                          const struct lease *lease); /* a log-in, migration or round of another */
    /* queued work: one that runs ended; a batch has an item less; there may be work, at once or in ms */
    void (*work_ended)(struct dispatcher *d);
    void (*batch_touched)(struct dispatcher *d, uint64_t batch_id); /* 0 = none */
    void (*work_ready)(struct dispatcher *d);
    void (*work_due_in)(struct dispatcher *d, int64_t ms);
    /* everywhere: the next tick of sweep.c comes at once */
    void (*tick_wanted)(struct dispatcher *d);
};
extern const struct news news_of_floors;

#endif
