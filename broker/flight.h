/* SPDX-License-Identifier: MIT */
/* flight.h - requests that a dispatcher works on, or will. */
#ifndef CHASQUI_BROKER_FLIGHT_H
#define CHASQUI_BROKER_FLIGHT_H

#include "broker/broker.h"
#include "broker/fairq.h"

#include "common/map.h"

#include <sys/queue.h>

/* What becomes of a flight: exactly one of these is called, unless flight_end() comes first. It is over when
 * `reply` and `failed` are called; `head` begins a stream. All may end the flight's owner. */
struct flight_user {
    void (*reply)(void *arg, const struct msg_REPLY *m, struct str payload);
    void (*head)(void *arg, const struct msg_REPLY_HEAD *m); /* NULL: such an answer is refused */
    void (*failed)(void *arg, enum err e);
};

LIST_HEAD(flight_list, flight);

enum flight_state { FLIGHT_NONE, FLIGHT_QUEUED, FLIGHT_SENT, FLIGHT_STREAMING };

/* A request for a dispatcher. Zero-initialised, part of its owner. The owner fills the first block; what the
 * pointers in `request` and `payload` point to stays as it is until the flight is over. */
struct flight {
    const struct flight_user *user;
    void *arg;
    enum op op;
    struct msg_REQUEST request; /* id, lane, op and deadline_ms are set at each sending */
    struct str payload;
    uint64_t fair_key;       /* whose turn it uses */
    uint64_t deadline_at_ms; /* clock_ms() */

    enum flight_state state;
    enum op op_now; /* op, or JOB_AWAIT once a log-in's dispatcher died */
    struct broker *b;
    uint64_t id;           /* of its last sending; 0 = never sent */
    struct map_node by_id; /* its key is `id` */
    struct fairq_item item;
    struct loop_timer timer;                       /* deadline; of a stream: silence */
    uint64_t queued_at_ms, sent_at_ms, over_at_ms; /* sent: the last time; 0 = not, or not yet */
    struct peer *peer;                             /* who works on it (SENT, STREAMING) */
    LIST_ENTRY(flight) of_peer;
    bool was_resent;
    uint64_t job_id;       /* from ACCEPTED; 0 = none came */
    char job_uid[33];      /* from ACCEPTED; "" = the request's */
    struct stream *stream; /* STREAMING: where chunks go; NULL once nobody reads it */
    uint64_t lent;         /* of the memory that streams share, until the stream has it */
};

struct flights *flights_new(struct broker *b);
void flights_destroy(struct flights **fp);
/* Queues it and sends it when a dispatcher has credit. May call `failed` at once. */
void flight_start(struct broker *b, struct flight *f);
/* Nobody waits any more: it leaves the queue, or the dispatcher is told (log-ins go on by themselves). No
 * callback. No-op when it is over. */
void flight_end(struct flight *f);
/* The same, but nobody is told. */
void flight_close(struct flight *f);
/* How long it waited in its queue, and at its dispatcher; 0 when it was not there. */
uint64_t flight_waited_ms(const struct flight *f);
uint64_t flight_worked_ms(const struct flight *f);
/* Sends what can be sent. After credit came, a peer was greeted, a flight was queued. */
void flights_pump(struct broker *b);
/* What a dispatcher said. `from` is who; answers of flights that others work on by now are dropped and counted. */
void flights_take(struct broker *b, struct peer *from, const struct msg *m);
/* The dispatcher is gone: its flights (a list that peer_drop() empties) are sent again, awaited or failed, as
 * their ops allow. */
void flights_peer_gone(struct broker *b, const struct flight_list *of_peer);
/* No dispatcher is there any more: what waits fails. */
void flights_none_there(struct broker *b);
void flights_stats(struct broker *b); /* gauges, before they are shown */
uint64_t flights_open(const struct broker *b);
uint64_t flights_queued(const struct broker *b);
uint64_t flights_depth(const struct broker *b, enum lane lane);
uint64_t flights_oldest_ms(const struct broker *b, enum lane lane); /* age; 0 = nothing waits */
uint64_t flights_in_flight(const struct broker *b, enum lane lane);
void flights_metrics(const struct broker *b, struct buf *out);

#endif
