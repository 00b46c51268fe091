/* SPDX-License-Identifier: MIT */
/* robots.h - the registry of robots: the database's list, healthd's verdicts, the robots' own reports. */
#ifndef CHASQUI_DISPATCHER_ROBOTS_H
#define CHASQUI_DISPATCHER_ROBOTS_H

#include "dispatcher/dispatcher.h"

struct robot { /* borrowed until the next return to the loop; keep the id */
    uint32_t id;
    char name[NAME_ROOM], base_url[URL_ROOM], viewer_url[URL_ROOM];
    enum wanted wanted;
    enum verdict verdict;       /* of the best publisher heard; UNKNOWN when all are silent */
    enum verdict last_judged;   /* the last verdict other than unknown */
    enum down down;             /* in what way it is down; DOWN_NOT unless last_judged is down */
    bool is_mute;               /* healthy, but our calls get no answer */
    bool is_two;                /* two processes answer under its URL */
    char boot_id[65];           /* newest one seen, from health or X-Robot-Boot */
    struct speaks speaks;       /* support of the optional calls, as known under this boot */
    int8_t fenced;              /* in the database: 1 lists its sessions, 0 does not, -1 unknown yet */
    int64_t sessions, capacity; /* as reported by the robot, -1 = not reported */
    struct backoff full;        /* it reported that it is full: no log-ins meanwhile */
    int64_t since_ms;           /* unix time of the verdict, 0 = none */
    char why[101];              /* of a verdict that is not up, "" = none */
};
struct robots *robots_new(struct dispatcher *d);
void robots_destroy(struct robots **rp);
void robots_reload(struct dispatcher *d); /* asks the store for a newer revision; each sweep */
const struct robot *robot_by_id(const struct dispatcher *d, uint32_t id);
const struct robot *robot_by_name(const struct dispatcher *d, const char *name);
const struct robot *robot_by_url(const struct dispatcher *d,
                                 const char *url); /* normalised first (common/url.h) */
void robots_each(struct dispatcher *d, void (*fn)(struct dispatcher *d, const struct robot *r, void *arg),
                 void *arg);
/* Candidates for a log-in: wanted active, not full, not down (by its verdict, or by the last one when unknown),
 * not in `except`; rank 1 = suspect. What is known of their places stands with them. */
unsigned robots_candidates(struct dispatcher *d, struct candidate *out, unsigned max, const uint32_t *except,
                           unsigned n_except);
/* Takes a verdict from healthd. Calls migrate_robot_changed() on down, on
 * a new boot and on recovery. */
void robots_judged(struct dispatcher *d, const struct health_row *row);
/* The robot answered "full" to a log-in sent at asked_ms (monotonic). Returns for how long it gets no more
 * log-ins. */
uint32_t robots_full(struct dispatcher *d, uint32_t robot_id, uint64_t asked_ms);
void robots_not_full(struct dispatcher *d, uint32_t robot_id);
void robots_room(struct dispatcher *d, struct work_room *room); /* as the queue sees them now */
unsigned robots_n_full(const struct dispatcher *d); /* robots without log-ins at present because they are full */
void robots_all_unknown(struct dispatcher *d);      /* every publisher is silent */
/* Takes a boot id from the robot's answer to a request of asked_ms. A new boot id is checked (boot_check.c) before
 * it ends any session. */
void robots_boot_seen(struct dispatcher *d, uint32_t robot_id, const char *boot_id, uint64_t asked_ms);
bool robots_boot_checked(struct dispatcher *d, uint32_t robot_id); /* it was a restart; false: no doubt is left */
bool robots_boot_in_doubt(const struct dispatcher *d, uint32_t robot_id);
void robots_boots_look(struct dispatcher *d); /* each sweep: whether two are still two */
void robots_mute(struct dispatcher *d, uint32_t robot_id, bool is_mute);
/* The verdict for people: healthd's, combined with the results of our own calls. *why "" = none. */
enum verdict robot_verdict(const struct robot *r, const char **why);
/* Judges an answer to an optional call (robot_speaks.h) and learns from it. The answer of an unregistered robot
 * counts as TOLD_NOTHING. */
enum told robots_told_list(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, struct jv **body);
enum told robots_told_closed(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a);
enum told robots_told_fenced(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, uint64_t epoch);
/* Replaces every robot's base URL in text by the robot's name, in place (room includes the NUL). */
void robots_hide_urls(const struct dispatcher *d, char *text, size_t room);

#endif
