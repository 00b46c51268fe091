/*
 * robots.c - the registry of robots: what the database lists, what healthd
 * judges, what the robots themselves say.
 *
 * Owns: the array of robots. Must never show a base URL outside of robot calls.
 * A robot that every publisher is silent about is unknown and placed as last
 * judged; one that was never judged takes no log-ins until somebody judges it,
 * unless no healthd was ever heard.
 */
#include "dispatcher/dispatcher.h"

#include "common/check.h"
#include "common/log.h"
#include "common/url.h"

#include <stdlib.h>
#include <string.h>

struct robots {
    struct robot *robot;
    unsigned n;
    uint32_t *place; /* robot id -> index + 1 */
    uint32_t n_place;
    uint64_t revision;
    bool asking, ever_judged;
};

struct robots *robots_new(struct dispatcher *d)
{
    (void)d;
    return xcalloc(1, sizeof(struct robots));
}

void robots_destroy(struct robots **rp)
{
    if (*rp) {
        free((*rp)->robot);
        free((*rp)->place);
    }
    free(*rp);
    *rp = NULL;
}

uint64_t robots_revision(const struct dispatcher *d)
{
    return d->robots->revision;
}

static struct robot *find(const struct dispatcher *d, uint32_t id)
{
    const struct robots *rs = d->robots;
    return id < rs->n_place && rs->place[id] ? &rs->robot[rs->place[id] - 1] : NULL;
}

const struct robot *robot_by_id(const struct dispatcher *d, uint32_t id)
{
    return find(d, id);
}

const struct robot *robot_by_name(const struct dispatcher *d, const char *name)
{
    for (unsigned i = 0; i < d->robots->n; i++)
        if (strcmp(d->robots->robot[i].name, name) == 0)
            return &d->robots->robot[i];
    return NULL;
}

const struct robot *robot_by_url(const struct dispatcher *d, const char *url)
{
    char normal[URL_ROOM];
    if (!url_normalise(url, normal, sizeof(normal), NULL))
        return NULL;
    for (unsigned i = 0; i < d->robots->n; i++)
        if (strcmp(d->robots->robot[i].base_url, normal) == 0)
            return &d->robots->robot[i];
    return NULL;
}

void robots_each(struct dispatcher *d, void (*fn)(struct dispatcher *d, const struct robot *r, void *arg), void *arg)
{
    for (unsigned i = 0; i < d->robots->n; i++)
        fn(d, &d->robots->robot[i], arg);
}

/* ---- from the database ------------------------------------------------------------------------------------------------ */

static void take_over(struct dispatcher *d, struct store_robots *op)
{
    struct robots *rs = d->robots, old = *rs;
    rs->revision = op->revision;
    rs->n = op->n;
    rs->robot = xcalloc(op->n ? op->n : 1, sizeof(*rs->robot));
    rs->n_place = op->n ? op->robot[op->n - 1].id + 1 : 0; /* they come in the order of their ids */
    rs->place = xcalloc(rs->n_place ? rs->n_place : 1, sizeof(*rs->place));
    for (unsigned i = 0; i < op->n; i++) {
        const struct robot_record *from = &op->robot[i];
        struct robot *to = &rs->robot[i];
        bool known = from->id < old.n_place && old.place[from->id];
        if (known)
            *to = old.robot[old.place[from->id] - 1];
        else
            *to = (struct robot){.sessions = -1, .capacity = -1, .fenced = from->fenced};
        to->id = from->id;
        strcpy(to->name, from->name);
        strcpy(to->base_url, from->base_url);
        strcpy(to->viewer_url, from->viewer_url);
        if (!known)
            strcpy(to->boot_id, from->boot_id);
        to->wanted = from->wanted;
        rs->place[from->id] = i + 1;
    }
    for (unsigned i = 0; i < rs->n; i++)
        if (rs->robot[i].id >= old.n_place || !old.place[rs->robot[i].id])
            reconcile_robot(d, rs->robot[i].id);
    free(old.robot);
    free(old.place);
    log_line(LOG_INFO, "robots", "revision", log_i((long long)rs->revision), "n", log_i(rs->n), NULL);
}

static void reloaded(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_robots *op = op_arg;
    d->robots->asking = false;
    if (op->rc == STORE_OK && op->changed)
        take_over(d, op);
    free(op->robot);
    free(op);
}

void robots_reload(struct dispatcher *d)
{
    if (d->robots->asking)
        return;
    struct store_robots *op = xcalloc(1, sizeof(*op));
    op->known = d->robots->revision;
    d->robots->asking = true;
    store_submit(d->store, store_robots, op, reloaded, d);
}

/* ---- from healthd and the robots ---------------------------------------------------------------------------------------- */

static void seen_done(void *arg, void *op)
{
    (void)arg;
    struct store_robot_seen *seen = op;
    if (seen->freed)
        peers_wake(arg, "place");
    free(op);
}

static void tell_store(struct dispatcher *d, const struct robot *r, bool capacity, bool boot)
{
    struct store_robot_seen *op = xcalloc(1, sizeof(*op));
    op->robot_id = r->id;
    op->reported_capacity = capacity ? r->capacity : -1;
    op->fenced = -1;
    if (boot)
        strcpy(op->boot_id, r->boot_id);
    store_submit(d->store, store_robot_seen, op, seen_done, d);
}

void robots_boot_seen(struct dispatcher *d, uint32_t robot_id, const char *boot_id)
{
    struct robot *r = find(d, robot_id);
    if (!r || !*boot_id || strcmp(r->boot_id, boot_id) == 0)
        return;
    bool first = !r->boot_id[0];
    log_line(LOG_INFO, "robot_boot", "robot", r->name, "boot", boot_id, NULL);
    str_copy(r->boot_id, sizeof(r->boot_id), str_of(boot_id));
    tell_store(d, r, false, true);
    if (!first)
        migrate_robot_changed(d, robot_id, "robot_restarted");
    reconcile_robot(d, robot_id);
}

void robots_fenced(struct dispatcher *d, uint32_t robot_id, int8_t fenced)
{
    struct robot *r = find(d, robot_id);
    if (r)
        r->fenced = fenced;
}

void robots_judged(struct dispatcher *d, const struct health_row *row)
{
    char name[NAME_ROOM], boot_id[65];
    str_copy(name, sizeof(name), row->name);
    str_copy(boot_id, sizeof(boot_id), row->boot_id);
    const struct robot *found = robot_by_name(d, name);
    if (!found)
        return;
    struct robot *r = find(d, found->id);
    enum verdict before = r->last_judged;
    r->verdict = row->verdict;
    r->sessions = row->sessions;
    if (row->verdict != VERDICT_UNKNOWN) {
        d->robots->ever_judged = true;
        r->last_judged = row->verdict;
    }
    if (row->capacity >= 0 && row->capacity != r->capacity) {
        r->capacity = row->capacity;
        tell_store(d, r, true, false);
    }
    robots_boot_seen(d, r->id, boot_id);
    if (r->last_judged == before)
        return;
    log_line(LOG_INFO, "robot", "robot", r->name, "from", verdict_name[before], "to", verdict_name[r->last_judged], NULL);
    if (r->last_judged == VERDICT_DOWN)
        migrate_robot_changed(d, r->id, "robot_down");
    else if (before == VERDICT_DOWN || before == VERDICT_UNKNOWN) {
        if (r->last_judged == VERDICT_UP) {
            migrate_robot_changed(d, r->id, "robot_up");
            reconcile_robot(d, r->id);
        }
    }
}

void robots_all_unknown(struct dispatcher *d)
{
    for (unsigned i = 0; i < d->robots->n; i++)
        d->robots->robot[i].verdict = VERDICT_UNKNOWN;
}

unsigned robots_candidates(const struct dispatcher *d, struct candidate *out, unsigned max, const uint32_t *except,
                           unsigned n_except)
{
    unsigned n = 0;
    for (unsigned i = 0; i < d->robots->n && n < max; i++) {
        const struct robot *r = &d->robots->robot[i];
        bool left_out = r->wanted != WANTED_ACTIVE || r->last_judged == VERDICT_DOWN ||
                        (r->last_judged == VERDICT_UNKNOWN && d->robots->ever_judged);
        for (unsigned k = 0; k < n_except; k++)
            left_out |= except[k] == r->id;
        if (!left_out)
            out[n++] = (struct candidate){r->id, r->last_judged == VERDICT_SUSPECT};
    }
    return n;
}

/* ---- no base URL leaves this process ------------------------------------------------------------------------------------- */

static void replace_all(char *text, size_t room, const char *what, const char *with)
{
    size_t what_len = strlen(what), with_len = strlen(with);
    for (char *at = strcasestr(text, what); at; at = strcasestr(at + with_len, what)) {
        size_t tail = strlen(at + what_len);
        if ((size_t)(at - text) + with_len + tail + 1 > room)
            tail = room - 1 - with_len - (size_t)(at - text); /* cut */
        memmove(at + with_len, at + what_len, tail);
        at[with_len + tail] = 0;
        memcpy(at, with, with_len);
    }
}

void robots_hide_urls(const struct dispatcher *d, char *text, size_t room)
{
    for (unsigned i = 0; i < d->robots->n; i++) {
        const struct robot *r = &d->robots->robot[i];
        const char *authority = strstr(r->base_url, "://");
        replace_all(text, room, r->base_url, r->name);
        if (authority && strlen(r->name) <= strlen(authority + 3)) /* host:port alone tells as much */
            replace_all(text, room, authority + 3, r->name);
    }
}
