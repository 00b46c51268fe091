/* SPDX-License-Identifier: MIT */
/* robots.h - the registry of robots: what the database lists, what healthd judges, what the robots themselves say. */
#ifndef CHASQUI_DISPATCHER_ROBOTS_H
#define CHASQUI_DISPATCHER_ROBOTS_H

#include "dispatcher/dispatcher.h"

struct robot { /* borrowed until the next return to the loop; keep the id */
    uint32_t id;
    char name[NAME_ROOM], base_url[URL_ROOM], viewer_url[URL_ROOM];
    enum wanted wanted;
    enum verdict verdict;     /* of the best publisher heard; UNKNOWN when all are silent */
    enum verdict last_judged; /* last one that was not unknown */
    enum down down;           /* how it is down; DOWN_NOT unless last_judged is down */
    bool is_mute;             /* healthy, but our calls go unanswered */
    bool is_two;              /* two processes answer under its URL */
    char boot_id[65];         /* newest seen, from health or X-Robot-Boot */
    struct speaks speaks;     /* the optional calls, as far as they are known under this boot */
    int8_t fenced; /* what the database knows of it: 1 lists its sessions, 0 does not, -1 not known yet */
    int64_t sessions, capacity; /* as the robot told, -1 = not */
    struct backoff full;        /* it said that it is full: no candidate meanwhile */
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
/* Candidates for a log-in: wanted active, not full, not down (verdict, or last judged when unknown); rank 1 = suspect. Without those in `except`. */
unsigned robots_candidates(const struct dispatcher *d, struct candidate *out, unsigned max, const uint32_t *except,
                           unsigned n_except);
/* A verdict from healthd, or an X-Robot-Boot header seen on an answer. Calls migrate_robot_changed() on down, on a new boot and on recovery. */
void robots_judged(struct dispatcher *d, const struct health_row *row);
/* What the robot said to a log-in that was sent at asked_ms (monotonic): full, or not. Full: not asked for the time that is answered. */
uint32_t robots_full(struct dispatcher *d, uint32_t robot_id, uint64_t asked_ms);
void robots_not_full(struct dispatcher *d, uint32_t robot_id);
void robots_room(const struct dispatcher *d, struct work_room *room); /* as the queue sees them now */
unsigned robots_n_full(const struct dispatcher *d); /* that are not asked now because they are full */
void robots_all_unknown(struct dispatcher *d);      /* every publisher silent */
/* A boot id in what the robot answered to a question of asked_ms. One that is new is checked (boot_check.c) before sessions end by it. */
void robots_boot_seen(struct dispatcher *d, uint32_t robot_id, const char *boot_id, uint64_t asked_ms);
bool robots_boot_checked(struct dispatcher *d,
                         uint32_t robot_id); /* it was a restart; false: nothing is in doubt any more */
bool robots_boot_in_doubt(const struct dispatcher *d, uint32_t robot_id);
void robots_boots_look(struct dispatcher *d); /* each sweep: are two still two? */
void robots_mute(struct dispatcher *d, uint32_t robot_id, bool is_mute);
/* The verdict for people: healthd's, and what our own calls say. *why "" = none. */
enum verdict robot_verdict(const struct robot *r, const char **why);
/* What an answer to an optional call is worth (robot_speaks.h); learns from it. A robot that is not registered any more told nothing. */
enum told robots_told_list(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, struct jv **body);
enum told robots_told_closed(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a);
enum told robots_told_fenced(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, uint64_t epoch);
/* Replaces every robot's base URL in text by the robot's name, in place (room incl. NUL). */
void robots_hide_urls(const struct dispatcher *d, char *text, size_t room);

#endif
