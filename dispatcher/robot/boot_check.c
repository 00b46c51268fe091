/* SPDX-License-Identifier: MIT */
/*
 * boot_check.c - decides, after another boot id was seen, whether the robot restarted or two processes answer
 * under its URL.
 *
 * Owns: the check in flight of each robot. The robot is asked for its health ASKED times, each time on a new
 * connection, so that a load balancer chooses anew. If the old boot id answers too, there are two processes
 * (boots.h); else it is a restart. Must never let sessions end before that is known.
 */
#include "dispatcher/robot/boot_check.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/robot/robot_calls.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/store/store_down.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#define ASKED 5
#define LIMIT_MS 1000

struct check {
    struct dispatcher *d;
    uint32_t robot_id;
    unsigned asked, answered;
    struct check *next;
};

struct boot_checks {
    struct check *first;
};

struct boot_checks *boot_checks_new(void)
{
    return xcalloc(1, sizeof(struct boot_checks));
}

void boot_checks_destroy(struct boot_checks **bp)
{
    for (struct check *c; *bp && (c = (*bp)->first);) {
        (*bp)->first = c->next;
        free(c);
    }
    free(*bp);
    *bp = NULL;
}

static void check_end(struct check *c)
{
    for (struct check **at = &c->d->boot_checks->first; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    free(c);
}

static void ask(struct check *c, const struct robot *robot);

void answer_boot(const struct call_answer *a, char out[BOOT_ROOM])
{
    enum jv_bad why;
    struct jv *body = a->result == CALL_ANSWERED ? jv_parse_mended(a->body->data, a->body->len, &why) : NULL;
    boot_id_read(body, a->boot_id, out);
    jv_free(body);
}

static void answered(void *arg, struct call_answer *a)
{
    struct check *c = arg;
    struct dispatcher *d = c->d;
    char boot_id[BOOT_ROOM];
    answer_boot(a, boot_id);
    c->answered += boot_id[0] != 0;
    robots_boot_seen(d, c->robot_id, boot_id, clock_ms() - (uint64_t)a->took_ms);
    const struct robot *robot = robot_by_id(d, c->robot_id);
    if (robot && robots_boot_in_doubt(d, c->robot_id) && c->asked < ASKED) {
        ask(c, robot);
        return;
    }
    if (c->answered) /* a robot that did not answer at all stays in doubt, until it is seen again */
        robots_boot_checked(d, c->robot_id);
    d->news->robots_known(d);
    check_end(c);
}

static void ask(struct check *c, const struct robot *robot)
{
    c->asked++;
    robot_call_health(c->d, robot, LIMIT_MS, true, answered, c);
}

void boot_check(struct dispatcher *d, uint32_t robot_id)
{
    const struct robot *robot = robot_by_id(d, robot_id);
    for (const struct check *c = d->boot_checks->first; c; c = c->next)
        if (c->robot_id == robot_id)
            return;
    if (!robot)
        return;
    struct check *c = xcalloc(1, sizeof(*c));
    c->d = d;
    c->robot_id = robot_id;
    c->next = d->boot_checks->first;
    d->boot_checks->first = c;
    ask(c, robot);
}

static void written(void *arg, void *op)
{
    (void)arg;
    free(op);
}

void boot_check_two(struct dispatcher *d, const struct robot *robot)
{
    struct store_two_boots *op = xcalloc(1, sizeof(*op));
    strcpy(op->name, robot->name);
    strcpy(op->boot_id, robot->boot_id);
    store_submit(d->store, store_two_boots, op, written, d);
}
