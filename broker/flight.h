/* SPDX-License-Identifier: MIT */
/* flight.h - requests in flight at a dispatcher, and requests queued for one. */
#ifndef CHASQUI_BROKER_FLIGHT_H
#define CHASQUI_BROKER_FLIGHT_H

#include "broker/broker.h"
#include "broker/fairq.h"

#include "common/map.h"

#include <sys/queue.h>

/* The outcome of a flight. Exactly one of these is called, unless flight_end() comes first. The flight is over
 * when `reply` or `failed` is called; `head` begins a stream. Each of them may end the flight's owner. */
struct flight_user {
    void (*reply)(void *arg, const struct msg_REPLY *m, struct str payload);
    void (*head)(void *arg, const struct msg_REPLY_HEAD *m); /* NULL: streams are refused */
    void (*failed)(void *arg, enum err e);
};

LIST_HEAD(flight_list, flight);

enum flight_state { FLIGHT_NONE, FLIGHT_QUEUED, FLIGHT_SENT, FLIGHT_STREAMING };

/* A request for a dispatcher. Zero-initialised, part of its owner. The owner fills the first block. Data that
 * `request` and `payload` point to must stay unchanged until the flight is over. */
struct flight {
    const struct flight_user *user;
    void *arg;
    enum op op;
    struct msg_REQUEST request; /* id, lane, op and deadline_ms are set at each sending */
    struct str payload;
    uint64_t fair_key;       /* whose turn it uses */
    uint64_t deadline_at_ms; /* clock_ms() */

    enum flight_state state;
    enum op op_now; /* op, or JOB_AWAIT once a log-in's dispatcher has died */
    struct broker *b;
    uint64_t id;           /* of its last sending; 0 = never sent */
    struct map_node by_id; /* its key is `id` */
    struct fairq_item item;
    struct loop_timer timer;                       /* the deadline; for a stream: silence */
    uint64_t queued_at_ms, sent_at_ms, over_at_ms; /* sent: the last time; 0 = not yet */
    struct peer *peer;                             /* the dispatcher it is in flight at (SENT, STREAMING) */
    LIST_ENTRY(flight) of_peer;
    bool was_resent;
    uint64_t job_id;       /* from ACCEPTED; 0 = none received */
    char job_uid[33];      /* from ACCEPTED; "" = the request's */
    struct stream *stream; /* STREAMING: receives the chunks; NULL once its reader is gone */
    uint64_t lent;         /* part of the streams' shared memory, until the stream owns it */
};

struct flights *flights_new(struct broker *b);
void flights_destroy(struct flights **fp);
/* Queues it, and sends it when a dispatcher has credit. May call `failed` at once. */
void flight_start(struct broker *b, struct flight *f);
/* The caller no longer waits. The flight leaves the queue, or its dispatcher is asked to cancel (log-ins continue
 * by themselves). No callback. No-op when it is over. */
void flight_end(struct flight *f);
/* As flight_end, but the dispatcher is not informed. */
void flight_close(struct flight *f);
/* The time it waited in its queue, and at its dispatcher; 0 when it was not there. */
uint64_t flight_waited_ms(const struct flight *f);
uint64_t flight_worked_ms(const struct flight *f);
/* Sends all that can be sent. Called after credit arrived, a peer was greeted, or a flight was queued. */
void flights_pump(struct broker *b);
/* Takes a dispatcher's message. Answers by `from` to a flight that is now at another dispatcher are dropped and
 * counted. */
void flights_take(struct broker *b, struct peer *from, const struct msg *m);
/* The dispatcher is gone. Its flights (a list that peer_drop() empties) are resent, awaited or failed, as their
 * ops allow. */
void flights_peer_gone(struct broker *b, const struct flight_list *of_peer);
/* No dispatcher is left: waiting flights fail. */
void flights_none_there(struct broker *b);
void flights_stats(struct broker *b); /* gauges, before they are shown */
uint64_t flights_open(const struct broker *b);
uint64_t flights_queued(const struct broker *b);
uint64_t flights_depth(const struct broker *b, enum lane lane);
uint64_t flights_oldest_ms(const struct broker *b, enum lane lane); /* its age; 0 = nothing waits */
uint64_t flights_in_flight(const struct broker *b, enum lane lane);
void flights_metrics(const struct broker *b, struct buf *out);

#endif
