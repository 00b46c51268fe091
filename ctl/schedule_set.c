/* SPDX-License-Identifier: MIT */
/*
 * schedule_set.c - `chasqui schedule set`: another time, zone, priority or state
 * of a schedule, and when it runs then. All in one transaction that holds its
 * row, so that no dispatcher runs it by half of a change.
 */
#include "ctl/ctl.h"

#include "common/clock.h"
#include "common/cron.h"
#include "ctl/plain.h"
#include "db/schedule_sql.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ZONE_ROOM 61
#define NEXT_SHOWN 5

struct plan {
    char cron[CRON_TEXT_MAX + 1], zone[ZONE_ROOM]; /* zone "" = UTC */
    uint64_t priority;
    bool enabled;
    char done_by[6]; /* HH:MM, "" = whenever */
};

struct set {
    struct ctl *c;
    const char *name, *at, *reason; /* at: HH:MM */
    uint64_t priority;              /* when it was given */
    bool is_preview, found, is_changed;
    struct plan before, after;
    int64_t next_s[NEXT_SHOWN]; /* 0 = none */
    char why[300];
};

/* ---- the new plan ------------------------------------------------------------------------------------------- */

static bool at_read(const char *text, unsigned *hour, unsigned *minute)
{
    size_t n = strlen(text);
    if (n < 4 || n > 5 || text[n - 3] != ':' || !isdigit((unsigned char)text[0]) ||
        !isdigit((unsigned char)text[n - 2]) || !isdigit((unsigned char)text[n - 1]) ||
        (n == 5 && !isdigit((unsigned char)text[1])))
        return false;
    *hour = n == 5 ? (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0') : (unsigned)(text[0] - '0');
    *minute = (unsigned)(text[n - 2] - '0') * 10 + (unsigned)(text[n - 1] - '0');
    return *hour < 24 && *minute < 60;
}

bool schedule_done_by(const char *text, char out[6])
{
    unsigned hour, minute;
    if (!at_read(text, &hour, &minute))
        return false;
    snprintf(out, 6, "%02u:%02u", hour % 24, minute % 60);
    return true;
}

/* Day of the month, month and day of the week of an expression. */
static const char *days_of(const char *cron)
{
    static const struct {
        const char *name, *days;
    } names[] = {{"@weekly", "* * 0"}, {"@monthly", "1 * *"}, {"@yearly", "1 1 *"}, {"@annually", "1 1 *"}};
    cron += strspn(cron, " \t");
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strncasecmp(cron, names[i].name, strlen(names[i].name)) == 0)
            return names[i].days;
    if (*cron == '@')
        return "* * *";
    for (unsigned field = 0; field < 2; field++) {
        cron += strcspn(cron, " \t");
        cron += strspn(cron, " \t");
    }
    return cron;
}

/* false with set->why. */
static bool plan_make(struct set *s, int64_t now_s)
{
    const struct args *a = &s->c->args;
    const char *cron_text = args_value(a, OPT_CRON), *zone = args_value(a, OPT_ZONE), *bad = "";
    struct cron cron;
    unsigned hour, minute;
    s->after = s->before;
    if (cron_text)
        snprintf(s->after.cron, sizeof(s->after.cron), "%s", cron_text);
    if (s->at && at_read(s->at, &hour, &minute))
        snprintf(s->after.cron, sizeof(s->after.cron), "%u %u %.80s", minute, hour, days_of(s->before.cron));
    if (zone)
        snprintf(s->after.zone, sizeof(s->after.zone), "%s", zone);
    if (args_value(a, OPT_DONE_BY) && !schedule_done_by(args_value(a, OPT_DONE_BY), s->after.done_by))
        s->after.done_by[0] = 0; /* none */
    if (a->n[OPT_PRIORITY])
        s->after.priority = s->priority;
    if (a->n[OPT_ENABLE] || a->n[OPT_DISABLE])
        s->after.enabled = a->n[OPT_ENABLE] > 0;
    if (!cron_parse(s->after.cron, &cron, &bad)) {
        snprintf(s->why, sizeof(s->why), "the times %.60s of schedule %.64s are not good: %.60s", s->after.cron,
                 s->name, bad);
        return false;
    }
    struct zone *z = s->after.zone[0] ? zone_new(s->after.zone, &bad) : NULL;
    if (s->after.zone[0] && !z) {
        snprintf(s->why, sizeof(s->why), "this host's tzdata does not know the time zone %.60s", s->after.zone);
        return false;
    }
    for (unsigned i = 0; i < NEXT_SHOWN; i++)
        s->next_s[i] = i && !s->next_s[i - 1] ? 0 : cron_next_in(&cron, z, i ? s->next_s[i - 1] : now_s);
    zone_destroy(&z);
    return true;
}

/* ---- the transaction ---------------------------------------------------------------------------------------- */

static const char *zone_of(const struct plan *p)
{
    return p->zone[0] ? p->zone : "UTC";
}

static void part_add(struct buf *out, const char *what, const char *before, const char *after)
{
    if (strcmp(before, after) != 0)
        buf_addf(out, "%s%s %s -> %s", out->len ? ", " : "", what, before, after);
}

static void changes_write(const struct set *s, struct buf *out)
{
    char before[24], after[24];
    snprintf(before, sizeof(before), "%llu", (unsigned long long)s->before.priority);
    snprintf(after, sizeof(after), "%llu", (unsigned long long)s->after.priority);
    part_add(out, "cron", s->before.cron, s->after.cron);
    part_add(out, "zone", zone_of(&s->before), zone_of(&s->after));
    part_add(out, "priority", before, after);
    part_add(out, "done by", s->before.done_by[0] ? s->before.done_by : "whenever",
             s->after.done_by[0] ? s->after.done_by : "whenever");
    part_add(out, "enabled", s->before.enabled ? "yes" : "no", s->after.enabled ? "yes" : "no");
}

static enum db_rc plan_write(struct db *db, struct set *s, uint64_t id)
{
    struct buf detail = {0};
    char subject[80];
    changes_write(s, &detail);
    s->is_changed = detail.len > 0;
    if (!s->is_changed || s->is_preview) {
        buf_free(&detail);
        return DB_OK;
    }
    if (s->reason)
        buf_addf(&detail, ": %s", s->reason);
    snprintf(subject, sizeof(subject), "schedule:%.64s", s->name);
    enum db_rc rc = db_exec(
        db,
        "UPDATE chasqui_schedules SET cron = ?, zone = NULLIF(?, ''), priority = ?, done_by = NULLIF(?, ''), enabled = ?, next_at = FROM_UNIXTIME(?) WHERE id = ?",
        "ssusuNu", s->after.cron, s->after.zone, s->after.priority, s->after.done_by, (uint64_t)s->after.enabled,
        s->after.enabled ? (uint64_t)s->next_s[0] : 0, id);
    rc = rc ? rc : ctl_audit(db, s->c->actor, "schedule_set", subject, detail.data);
    buf_free(&detail);
    return rc;
}

static enum db_rc set_tx(struct db *db, void *arg)
{
    struct set *s = arg;
    struct schedule_row row;
    s->why[0] = 0;
    TRY(schedule_lock(db, s->name, &row));
    if (!(s->found = row.found))
        return DB_OK;
    snprintf(s->before.cron, sizeof(s->before.cron), "%s", row.cron);
    snprintf(s->before.zone, sizeof(s->before.zone), "%s", row.zone);
    TRY(db_query(db, "SELECT priority, enabled, done_by FROM chasqui_schedules WHERE id = ?", "u", row.id));
    if (!db_next(db))
        return DB_RETRY;
    s->before.priority = db_u64(db, 0);
    s->before.enabled = db_u64(db, 1) != 0;
    db_str_copy(db, 2, s->before.done_by, sizeof(s->before.done_by));
    return plan_make(s, row.now_s) ? plan_write(db, s, row.id) : DB_DUP;
}

/* ---- what is shown ------------------------------------------------------------------------------------------ */

static struct jv *next_jv(const struct set *s)
{
    struct jv *list = jv_new_array();
    char when[CLOCK_TEXT_BYTES];
    for (unsigned i = 0; i < NEXT_SHOWN && s->after.enabled && s->next_s[i]; i++)
        jv_push_str(list, clock_text(s->next_s[i] * 1000, when));
    return list;
}

static enum ctl_exit set_json(const struct set *s)
{
    struct jv *body = jv_new_object();
    jv_set_str(body, "name", s->name);
    jv_set_bool(body, "preview", s->is_preview);
    jv_set_bool(body, "changed", s->is_changed && !s->is_preview);
    jv_set_str(body, "cron", s->after.cron);
    jv_set_str(body, "zone", zone_of(&s->after));
    jv_set_int(body, "priority", (int64_t)s->after.priority);
    jv_set_bool(body, "enabled", s->after.enabled);
    jv_set_str(body, "done_by", s->after.done_by[0] ? s->after.done_by : NULL);
    jv_set(body, "next", next_jv(s));
    return ctl_json(body);
}

static void minute_text(int64_t unix_s, char out[CLOCK_TEXT_BYTES])
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, CLOCK_TEXT_BYTES, "%a %Y-%m-%d %H:%M", &tm);
}

/* Each by its zone's clocks and in UTC. */
static void next_print(const struct set *s)
{
    const char *why;
    struct zone *z = s->after.zone[0] ? zone_new(s->after.zone, &why) : NULL;
    char there[CLOCK_TEXT_BYTES], utc[CLOCK_TEXT_BYTES];
    for (unsigned i = 0; i < NEXT_SHOWN && s->next_s[i]; i++) {
        minute_text(s->next_s[i], utc);
        minute_text(s->next_s[i] + (z ? zone_offset_s(z, s->next_s[i]) : 0), there);
        if (z)
            plain_line(stdout, "%-12s %s %s (%s UTC)", i ? "" : "next", there, s->after.zone, utc + 4);
        else
            plain_line(stdout, "%-12s %s UTC", i ? "" : "next", utc);
    }
    zone_destroy(&z);
}

static enum ctl_exit set_print(const struct set *s)
{
    struct buf changes = {0};
    changes_write(s, &changes);
    if (!s->is_changed)
        ctl_say(s->c, "schedule %s is as that already", s->name);
    else
        ctl_say(s->c, "schedule %s %s: %s", s->name, s->is_preview ? "would change" : "is changed", changes.data);
    buf_free(&changes);
    if (s->after.enabled)
        next_print(s);
    else
        ctl_field("next", "none: it is disabled; --enable lets it run");
    return CTL_DONE;
}

enum ctl_exit schedule_set(struct ctl *c)
{
    static const enum option_id changes[] = {OPT_CRON,    OPT_AT,     OPT_ZONE,   OPT_PRIORITY,
                                             OPT_DONE_BY, OPT_ENABLE, OPT_DISABLE};
    struct set s = {.c = c,
                    .name = c->args.word[0],
                    .at = args_value(&c->args, OPT_AT),
                    .is_preview = c->args.n[OPT_PREVIEW] > 0};
    const char *cron = args_value(&c->args, OPT_CRON), *zone = args_value(&c->args, OPT_ZONE), *why;
    struct cron parsed;
    unsigned n = 0, hour, minute;
    for (unsigned i = 0; i < sizeof(changes) / sizeof(*changes); i++)
        n += c->args.n[changes[i]];
    if (!n)
        return ctl_usage(
            c, "give what is to change: --cron, --at, --zone, --priority, --done-by, --enable or --disable");
    if (c->args.n[OPT_ENABLE] && c->args.n[OPT_DISABLE])
        return ctl_usage(c, "give one of --enable and --disable");
    if (cron && s.at)
        return ctl_usage(c, "give one of --cron and --at");
    if (s.at && !at_read(s.at, &hour, &minute))
        return ctl_usage(c, "--at is a time of the day: 06:30");
    const char *done_by = args_value(&c->args, OPT_DONE_BY);
    char room[6];
    if (done_by && strcmp(done_by, "none") != 0 && !schedule_done_by(done_by, room))
        return ctl_usage(c, "--done-by is a time of the day, 07:30, or none");
    if (cron && !cron_parse(cron, &parsed, &why))
        return ctl_usage(c, "--cron %.100s: %s", cron, why);
    struct zone *z = zone ? zone_new(zone, &why) : NULL;
    if (zone && !z)
        return ctl_usage(c, "--zone %s", why);
    zone_destroy(&z);
    if (!args_priority(c, &s.priority) || !args_reason(c, &s.reason))
        return CTL_USAGE;
    enum ctl_exit code = ctl_tx(c, set_tx, NULL, &s, s.why);
    if (code != CTL_DONE)
        return code;
    if (!s.found)
        return ctl_fail(c, "there is no schedule %.64s", s.name);
    return c->args.json ? set_json(&s) : set_print(&s);
}
