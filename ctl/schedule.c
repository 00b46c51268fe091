/* SPDX-License-Identifier: MIT */
/*
 * schedule.c - `chasqui schedule`: recurring batches, in the database. A
 * dispatcher makes the batch when the time has come; it looks for changes every
 * 10 s.
 */
#include "ctl/ctl.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/cron.h"
#include "ctl/broker.h"
#include "ctl/item_file.h"
#include "ctl/known.h"
#include "ctl/plain.h"
#include "ctl/progress.h"
#include "ctl/then.h"
#include "db/batch_line.h"
#include "db/schedule_sql.h"
#include "db/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS_SHOWN 20

static void subject_write(const char *name, char out[80])
{
    snprintf(out, 80, "schedule:%.64s", name);
}

static const char *time_text(int64_t unix_s, char out[CLOCK_TEXT_BYTES])
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, CLOCK_TEXT_BYTES, "%Y-%m-%d %H:%M", &tm);
    return out;
}

/* ---- items -------------------------------------------------------------------------------------------------- */

struct item {
    uint64_t idx, company_id, round;
    struct buf params; /* sealed */
};

struct items {
    struct item *item;
    uint64_t n, room;
};

static void items_free(struct items *items)
{
    for (uint64_t i = 0; i < items->n; i++)
        buf_free(&items->item[i].params);
    free(items->item);
    memset(items, 0, sizeof(*items));
}

static struct item *item_add(struct items *items, uint64_t company_id)
{
    if (items->n == items->room) {
        items->room = items->room ? 2 * items->room : 1024;
        items->item = xrealloc(items->item, items->room * sizeof(*items->item));
    }
    struct item *it = &items->item[items->n];
    *it = (struct item){.idx = items->n++, .company_id = company_id};
    return it;
}

static int by_company(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->company_id != y->company_id)
        return x->company_id < y->company_id ? -1 : 1;
    return (x->idx > y->idx) - (x->idx < y->idx);
}

static int by_index(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return (x->idx > y->idx) - (x->idx < y->idx);
}

/* A company's second item comes behind the first ones of the others. */
static void rounds_set(struct items *items)
{
    if (!items->n)
        return;
    qsort(items->item, items->n, sizeof(*items->item), by_company);
    for (uint64_t i = 1; i < items->n; i++)
        if (items->item[i].company_id == items->item[i - 1].company_id)
            items->item[i].round = items->item[i - 1].round + 1;
    qsort(items->item, items->n, sizeof(*items->item), by_index);
}

struct reading {
    struct item_file *file;
    const char *portal;
    struct seal *key; /* NULL = params cannot be kept */
    struct items *items;
    uint64_t lines;
    unsigned bad;
};

static void line_bad(void *arg, uint64_t line, const char *why)
{
    struct reading *r = arg;
    if (r->bad++ < 20)
        plain_line(stderr, "line %llu: %s", (unsigned long long)line, why);
}

static void line_take(void *arg, const char *text, size_t len)
{
    struct reading *r = arg;
    const struct batch_rules rules = {.all = true, .may_have_params = r->key != NULL};
    struct batch_line line = {0};
    uint64_t at = item_file_line(r->file, r->lines++);
    batch_line_read(&line, text, len, &rules);
    if (line.error) {
        struct buf why = {0};
        item_file_errors(&why, line.errors);
        line_bad(r, at,
                 !r->key && strstr(why.data, "seal key") ? "params cannot be kept: seal.key_file is not set"
                                                         : why.data);
        buf_free(&why);
        jv_free(line.errors);
    } else {
        struct item *it = item_add(r->items, line.company_id);
        if (line.params.len)
            seal_wrap(r->key, line.company_id, r->portal, "params", line.params.data, line.params.len,
                      &it->params);
    }
    buf_wipe(&line.params);
}

/* Everything or nothing: a schedule must not leave a company out each morning. */
static bool file_read(struct ctl *c, struct reading *r)
{
    bool good = item_file_each(r->file, line_take, r);
    item_file_bad_each(r->file, line_bad, r);
    char amount[TEXT_AMOUNT];
    if (good && r->bad)
        ctl_fail(c, "%s %s not good; no schedule was made", amount_text(r->bad, "row", amount),
                 r->bad == 1 ? "is" : "are");
    return good && !r->bad;
}

static bool items_from_file(struct ctl *c, const char *portal, struct items *items)
{
    struct reading r = {.portal = portal, .items = items};
    if (c->conf->seal_key_file && !(r.key = seal_open(c->conf->seal_key_file)))
        return ctl_fail(c, "%s cannot be used to seal; no schedule was made", c->conf->seal_key_file), false;
    bool good = (r.file = item_file_open(c, args_value(&c->args, OPT_FILE))) && file_read(c, &r);
    if (r.file)
        item_file_close(&r.file);
    seal_close(&r.key);
    return good;
}

/* ---- add ---------------------------------------------------------------------------------------------------- */

struct add {
    const char *actor, *name, *cron, *zone, *portal, *action, *callback_url;
    char done_by[6]; /* HH:MM, "" = whenever */
    uint64_t priority, id;
    int64_t next_s;
    bool is_stored, closes;
    struct steps steps;
    struct buf step_params; /* sealed; empty = none */
    struct items items;
    char why[300];
};

struct slice { /* rows of one bulk statement */
    const struct add *s;
    uint64_t from;
};

static void fill_item(void *arg, unsigned row, struct db_cell *cells)
{
    const struct slice *slice = arg;
    const struct item *it = &slice->s->items.item[slice->from + row];
    cells[0].n = slice->s->id;
    cells[1].n = it->idx;
    cells[2].n = it->company_id;
    cells[3].n = it->round;
    cells[4].data = it->params.len ? it->params.data : NULL;
    cells[4].len = it->params.len;
}

static enum db_rc add_tx(struct db *db, void *arg)
{
    struct add *s = arg;
    char subject[80];
    s->why[0] = 0;
    enum db_rc rc = db_exec(
        db,
        "INSERT INTO chasqui_schedules (name, cron, portal, action, priority, callback_url, "
        "is_stored, actor, next_at, steps, step_params, closes, "
        "zone, done_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, FROM_UNIXTIME(?), NULLIF(?, ''), ?, ?, ?, NULLIF(?, ''), NOW(6))",
        "ssssususisbuss", s->name, s->cron, s->portal, s->action, s->priority, s->callback_url,
        (uint64_t)s->is_stored, s->actor, s->next_s, s->steps.names,
        s->step_params.len ? (const void *)s->step_params.data : NULL, s->step_params.len, (uint64_t)s->closes,
        s->zone, s->done_by);
    if (rc == DB_DUP)
        snprintf(s->why, sizeof(s->why),
                 "there is a schedule %.64s already; chasqui schedule remove %.64s first, or take another name",
                 s->name, s->name);
    TRY(rc);
    s->id = db_insert_id(db);
    for (struct slice slice = {s, 0}; slice.from < s->items.n; slice.from += DB_BULK_MAX) {
        uint64_t left = s->items.n - slice.from;
        TRY(db_bulk(db,
                    "INSERT INTO chasqui_schedule_items (schedule_id, idx, company_id, round, params) VALUES (?, "
                    "?, ?, ?, ?)",
                    "uuuub", (unsigned)(left < DB_BULK_MAX ? left : DB_BULK_MAX), fill_item, &slice));
    }
    subject_write(s->name, subject);
    return ctl_audit(db, s->actor, "schedule_add", subject, s->cron);
}

static int add_done(struct db *db, void *arg)
{
    struct add *s = arg;
    if (db_query(db, "SELECT 1 FROM chasqui_schedules WHERE id = ? AND name = ?", "us", s->id, s->name))
        return -1;
    return db_next(db);
}

static bool cron_ok(struct ctl *c, const char *text, const char *zone, int64_t now_s, int64_t *next_s)
{
    struct cron cron;
    const char *why;
    if (!text)
        return ctl_usage(c, "--cron is missing"), false;
    if (!cron_parse(text, &cron, &why))
        return ctl_usage(c, "--cron %.100s: %s", text, why), false;
    struct zone *z = zone ? zone_new(zone, &why) : NULL;
    if (zone && !z)
        return ctl_usage(c, "--zone %s", why), false;
    *next_s = cron_next_in(&cron, z, now_s);
    zone_destroy(&z);
    return true;
}

/* Which companies: exactly one of the three ways. */
static bool whom_ok(struct ctl *c)
{
    unsigned ways = (c->args.n[OPT_COMPANY] > 0) + (c->args.n[OPT_FILE] > 0) + (c->args.n[OPT_STORED] > 0);
    if (ways != 1)
        ctl_usage(c, "give one of --company, --file and --stored");
    return ways == 1;
}

static bool companies_read(struct ctl *c, struct add *s)
{
    for (unsigned i = 0; i < c->args.n[OPT_COMPANY]; i++) {
        uint64_t company_id;
        if (!args_number(c, "--company", c->args.value[OPT_COMPANY][i], 1, INT64_MAX, &company_id))
            return false;
        item_add(&s->items, company_id);
    }
    return true;
}

/* false after saying why: params cannot be kept in the clear. */
static bool step_params_seal(struct ctl *c, struct add *s)
{
    size_t len;
    if (!s->steps.params)
        return true;
    struct seal *key = c->conf->seal_key_file ? seal_open(c->conf->seal_key_file) : NULL;
    if (!key)
        return ctl_fail(c, "the params of --then cannot be kept: seal.key_file is not set or cannot be used"),
               false;
    char *text = jv_dump(s->steps.params, &len);
    seal_wrap(key, 0, s->portal, "then", text, len, &s->step_params);
    explicit_bzero(text, len);
    free(text);
    seal_close(&key);
    return true;
}

enum ctl_exit schedule_add(struct ctl *c)
{
    struct add s = {.actor = c->actor,
                    .name = c->args.word[0],
                    .cron = args_value(&c->args, OPT_CRON),
                    .zone = args_value(&c->args, OPT_ZONE),
                    .is_stored = c->args.n[OPT_STORED] > 0};
    char when[CLOCK_TEXT_BYTES], amount[TEXT_AMOUNT];
    if (!args_name(c, "a schedule's name", s.name) ||
        !cron_ok(c, s.cron, s.zone, clock_unix_ms() / 1000, &s.next_s) || !args_portal(c, &s.portal) ||
        !args_action(c, s.portal, &s.action) || !args_priority(c, &s.priority) ||
        !args_callback_url(c, &s.callback_url) || !whom_ok(c) || !known_action_ok(c, s.portal, s.action) ||
        !args_then(c, s.portal, &s.steps))
        return CTL_USAGE;
    if (args_value(&c->args, OPT_DONE_BY) && !schedule_done_by(args_value(&c->args, OPT_DONE_BY), s.done_by)) {
        steps_free(&s.steps);
        return ctl_usage(c, "--done-by is a time of the day: 07:30");
    }
    if (!known_steps_ok(c, s.portal, &s.steps)) {
        steps_free(&s.steps);
        return CTL_USAGE;
    }
    s.closes = c->args.n[OPT_CLOSE] > 0;
    enum ctl_exit code = CTL_USAGE;
    if (companies_read(c, &s))
        code = c->args.n[OPT_FILE] && !items_from_file(c, s.portal, &s.items) ? CTL_FAILED : CTL_DONE;
    rounds_set(&s.items);
    if (code == CTL_DONE && !step_params_seal(c, &s))
        code = CTL_FAILED;
    if (code == CTL_DONE)
        code = ctl_tx(c, add_tx, add_done, &s, s.why);
    amount_text(s.items.n, "item", amount);
    items_free(&s.items);
    buf_free(&s.step_params);
    steps_free(&s.steps);
    if (code != CTL_DONE)
        return code;
    if (s.is_stored)
        return ctl_say(
            c, "schedule %s is made, for every company with stored credentials for %s; it runs next at %s UTC",
            s.name, s.portal, time_text(s.next_s, when));
    return ctl_say(c, "schedule %s is made, %s; it runs next at %s UTC", s.name, amount,
                   time_text(s.next_s, when));
}

/* ---- list, show --------------------------------------------------------------------------------------------- */

#define SCHEDULE_COLUMNS                                                                                                                                \
    "s.name, s.cron, s.portal, s.action, s.priority, s.callback_url, s.is_stored, s.enabled, "                                                          \
    "CAST(UNIX_TIMESTAMP(s.next_at) * "                                                                                                                 \
    "1000 AS INT), CAST(UNIX_TIMESTAMP(s.created_at) * 1000 AS INT), s.actor, (SELECT COUNT(*) FROM "                                                   \
    "chasqui_schedule_items i "                                                                                                                         \
    "WHERE i.schedule_id = s.id), CAST(UNIX_TIMESTAMP(r.run_at) * 1000 AS INT), r.batch_id, r.missed, s.id, s.steps, s.closes, s.zone, s.done_by FROM " \
    "chasqui_schedules "                                                                                                                                \
    "s LEFT JOIN chasqui_schedule_runs r ON r.schedule_id = s.id AND r.run_at = (SELECT MAX(x.run_at) FROM "                                            \
    "chasqui_schedule_runs "                                                                                                                            \
    "x WHERE x.schedule_id = s.id) "

static void int_set(struct jv *obj, const char *key, struct db *db, unsigned col)
{
    jv_set(obj, key, NULL);
    if (!db_is_null(db, col))
        jv_set_int(obj, key, db_i64(db, col));
}

static struct jv *steps_jv(const char *names)
{
    char name[ACTION_NAME_MAX + 1];
    struct jv *list = jv_new_array();
    for (unsigned i = 0; names && steps_name(names, i, name); i++)
        jv_push_str(list, name);
    return list;
}

static void next_print(const struct jv *s)
{
    const struct jv *list = jv_get(s, "next");
    struct buf text = {0};
    for (size_t i = 0; i < jv_len(list); i++)
        buf_addf(&text, "%s%.10s %.5s", i ? ", " : "", jv_str(jv_at(list, i)), jv_str(jv_at(list, i)) + 11);
    ctl_field("next (UTC)", text.len ? text.data : NULL);
    buf_free(&text);
}

/* "sunat.buzon_list, close": what follows the log-in; the caller frees it, `data` is NULL when nothing does. */
static struct buf round_text(const struct jv *s)
{
    struct buf text = {0};
    const struct jv *list = jv_get(s, "then");
    bool closes = false;
    for (size_t i = 0; i < jv_len(list); i++)
        buf_addf(&text, "%s%s", i ? ", " : "", jv_str(jv_at(list, i)));
    if (jv_bool(jv_get(s, "close"), &closes) && closes)
        buf_addf(&text, "%sclose", text.len ? ", " : "");
    return text;
}

static struct jv *schedule_jv(struct db *db)
{
    struct jv *s = jv_new_object();
    jv_set_str(s, "name", db_str(db, 0, NULL));
    jv_set_str(s, "cron", db_str(db, 1, NULL));
    jv_set_str(s, "portal", db_str(db, 2, NULL));
    jv_set_str(s, "action", db_str(db, 3, NULL));
    int_set(s, "priority", db, 4);
    jv_set_str(s, "callback_url", db_str(db, 5, NULL));
    jv_set_bool(s, "stored", db_u64(db, 6) != 0);
    jv_set_bool(s, "enabled", db_u64(db, 7) != 0);
    jv_set_time(s, "next_at", db_i64(db, 8));
    jv_set_time(s, "created_at", db_i64(db, 9));
    jv_set_str(s, "actor", db_str(db, 10, NULL));
    jv_set_int(s, "items", db_i64(db, 11));
    jv_set_time(s, "last_run_at", db_i64(db, 12));
    int_set(s, "last_batch_id", db, 13);
    jv_set(s, "then", steps_jv(db_str(db, 16, NULL)));
    jv_set_bool(s, "close", db_u64(db, 17) != 0);
    jv_set_str(s, "zone", db_is_null(db, 18) ? "UTC" : db_str(db, 18, NULL));
    jv_set_str(s, "done_by", db_str(db, 19, NULL));
    jv_set(s, "next", schedule_next_jv(db_str(db, 1, NULL), db_str(db, 18, NULL), db_i64(db, 8) / 1000));
    return s;
}

static void time_add(struct table *table, struct db *db, unsigned col)
{
    char when[CLOCK_TEXT_BYTES];
    table_add(table, db_is_null(db, col) ? NULL : time_text(db_i64(db, col) / 1000, when));
}

enum ctl_exit schedule_list(struct ctl *c)
{
    static const char *const heads[] = {"NAME",    "CRON",       "~ZONE",       "2~~ACTION", "1~~THEN", "3>ITEMS",
                                        "ENABLED", "NEXT (UTC)", "4LAST (UTC)", "5>BATCH",   NULL};
    struct db *db = c->db;
    enum db_rc rc = db_query(db, "SELECT " SCHEDULE_COLUMNS "ORDER BY s.name", "");
    if (rc)
        return ctl_db_fail(c, rc);
    struct table *table = table_new(heads);
    struct jv *body = jv_new_object(), *list = jv_new_array();
    while (db_next(db)) {
        bool missed = !db_is_null(db, 12) && db_is_null(db, 13);
        struct jv *one = schedule_jv(db);
        struct buf then = round_text(one);
        jv_push(list, one);
        table_add(table, db_str(db, 0, NULL));
        table_add(table, db_str(db, 1, NULL));
        table_add(table, db_is_null(db, 18) ? "UTC" : db_str(db, 18, NULL));
        table_add(table, db_str(db, 3, NULL));
        table_add(table, then.data);
        buf_free(&then);
        table_add(table, db_u64(db, 6) ? "stored" : db_str(db, 11, NULL));
        table_add(table, db_u64(db, 7) ? "yes" : "no");
        time_add(table, db, 8);
        time_add(table, db, 12);
        table_add(table, missed ? "missed" : db_str(db, 13, NULL));
    }
    jv_set(body, "schedules", list);
    if (c->args.json) {
        table_free(&table);
        return ctl_json(body);
    }
    jv_free(body);
    table_print(&table, "there are no schedules; chasqui schedule add makes one");
    return CTL_DONE;
}

static enum db_rc runs_read(struct db *db, uint64_t id, struct table *table, struct jv *list)
{
    TRY(db_query(db,
                 "SELECT CAST(UNIX_TIMESTAMP(run_at) * 1000 AS INT), batch_id, missed, actor, filling IS NOT NULL "
                 "FROM chasqui_schedule_runs WHERE "
                 "schedule_id = ? ORDER BY run_at DESC LIMIT ?",
                 "uu", id, (uint64_t)RUNS_SHOWN));
    while (db_next(db)) {
        struct jv *run = jv_new_object();
        jv_set_time(run, "run_at", db_i64(db, 0));
        int_set(run, "batch_id", db, 1);
        jv_set_int(run, "missed", db_i64(db, 2));
        jv_set_bool(run, "filling", db_u64(db, 4) != 0);
        jv_set_str(run, "actor", db_str(db, 3, NULL));
        jv_push(list, run);
        time_add(table, db, 0);
        table_add(table, db_str(db, 1, NULL));
        if (db_u64(db, 2))
            table_addf(table, "%llu missed", (unsigned long long)db_u64(db, 2));
        else
            table_add(table, db_u64(db, 4) ? "its items are being copied" : "run");
        table_add(table, db_str(db, 3, NULL));
    }
    return DB_OK;
}

static enum ctl_exit none(struct ctl *c)
{
    return ctl_fail(c, "there is no schedule %.64s", c->args.word[0]);
}

static void schedule_print(const struct jv *s)
{
    static const struct {
        const char *name, *key;
    } lines[] = {
        {"schedule", "name"},         {"portal", "portal"}, {"action", "action"},      {"priority", "priority"},
        {"callback", "callback_url"}, {"made by", "actor"}, {"created", "created_at"},
    };
    static const char *const when[] = {"cron", "zone"};
    char room[TEXT_ROOM];
    bool is_stored = false, is_enabled = false;
    jv_bool(jv_get(s, "stored"), &is_stored);
    jv_bool(jv_get(s, "enabled"), &is_enabled);
    for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        ctl_field(lines[i].name, broker_text(s, lines[i].key, room));
    struct buf then = round_text(s);
    ctl_field("then", then.data);
    buf_free(&then);
    for (unsigned i = 0; i < sizeof(when) / sizeof(*when); i++)
        ctl_field(when[i], jv_str(jv_get(s, when[i])));
    ctl_field("done by", jv_str(jv_get(s, "done_by")));
    next_print(s);
    ctl_field("enabled", is_enabled ? "yes" : "no");
    ctl_field("items", is_stored ? "every company with stored credentials" : broker_text(s, "items", room));
    putchar('\n');
}

enum ctl_exit schedule_show(struct ctl *c)
{
    static const char *const heads[] = {"AT (UTC)", ">BATCH", "WHAT", "~BY", NULL};
    struct db *db = c->db;
    enum db_rc rc = db_query(db, "SELECT " SCHEDULE_COLUMNS "WHERE s.name = ?", "s", c->args.word[0]);
    if (rc)
        return ctl_db_fail(c, rc);
    if (!db_next(db))
        return none(c);
    uint64_t id = db_u64(db, 15);
    struct jv *one = schedule_jv(db), *runs = jv_new_array();
    struct table *table = table_new(heads);
    if ((rc = runs_read(db, id, table, runs))) {
        table_free(&table);
        jv_free(one);
        jv_free(runs);
        return ctl_db_fail(c, rc);
    }
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set(one, "runs", runs);
        jv_set(body, "schedule", one);
        table_free(&table);
        return ctl_json(body);
    }
    schedule_print(one);
    jv_free(one);
    jv_free(runs);
    table_print(&table, "it has not run yet");
    return CTL_DONE;
}

/* ---- remove, enable, disable, run --------------------------------------------------------------------------- */

struct change {
    const char *actor, *name;
    bool enable;
    bool found;
    int64_t next_s;
    uint64_t batch_id;
    char why[200];
};

static enum db_rc remove_tx(struct db *db, void *arg)
{
    struct change *s = arg;
    struct schedule_row row;
    char subject[80];
    s->why[0] = 0;
    TRY(schedule_lock(db, s->name, &row));
    if (!(s->found = row.found))
        return DB_OK;
    TRY(db_query(db, "SELECT 1 FROM chasqui_schedule_runs WHERE filling = 1 AND schedule_id = ?", "u", row.id));
    if (db_next(db)) {
        snprintf(s->why, sizeof(s->why), "schedule %.64s is making its batch just now; try again in a moment",
                 s->name);
        return DB_DUP;
    }
    TRY(db_exec(db, "DELETE FROM chasqui_schedule_items WHERE schedule_id = ?", "u", row.id));
    TRY(db_exec(db, "DELETE FROM chasqui_schedule_runs WHERE schedule_id = ?", "u", row.id));
    TRY(db_exec(db, "DELETE FROM chasqui_schedules WHERE id = ?", "u", row.id));
    subject_write(s->name, subject);
    return ctl_audit(db, s->actor, "schedule_remove", subject, row.cron);
}

static enum db_rc enable_tx(struct db *db, void *arg)
{
    struct change *s = arg;
    struct schedule_row row;
    char subject[80];
    s->why[0] = 0;
    TRY(schedule_lock(db, s->name, &row));
    if (!(s->found = row.found))
        return DB_OK;
    TRY(schedule_want(db, &row, s->enable, &s->next_s, s->why));
    subject_write(s->name, subject);
    return ctl_audit(db, s->actor, s->enable ? "schedule_enable" : "schedule_disable", subject, NULL);
}

static enum db_rc run_tx(struct db *db, void *arg)
{
    struct change *s = arg;
    struct schedule_row row;
    char subject[80], detail[40];
    s->batch_id = 0;
    s->why[0] = 0;
    TRY(schedule_lock(db, s->name, &row));
    if (!(s->found = row.found))
        return DB_OK;
    TRY(schedule_batch_make(db, row.id, 0, s->actor, &s->batch_id));
    subject_write(s->name, subject);
    snprintf(detail, sizeof(detail), "batch %llu", (unsigned long long)s->batch_id);
    return ctl_audit(db, s->actor, "schedule_run", subject, detail);
}

static enum db_rc fill_tx(struct db *db, void *arg)
{
    return schedule_fill_step(db, arg);
}

static enum ctl_exit change(struct ctl *c, enum db_rc (*fn)(struct db *, void *), struct change *s)
{
    s->actor = c->actor;
    s->name = c->args.word[0];
    enum ctl_exit code = ctl_tx(c, fn, NULL, s, s->why);
    return code == CTL_DONE && !s->found ? none(c) : code;
}

enum ctl_exit schedule_remove(struct ctl *c)
{
    struct change s = {0};
    enum ctl_exit code = change(c, remove_tx, &s);
    return code == CTL_DONE ? ctl_say(c, "schedule %s is removed; its batches stay", s.name) : code;
}

enum ctl_exit schedule_enable(struct ctl *c)
{
    struct change s = {.enable = true};
    char when[CLOCK_TEXT_BYTES];
    enum ctl_exit code = change(c, enable_tx, &s);
    return code == CTL_DONE
               ? ctl_say(c, "schedule %s is enabled; it runs next at %s UTC", s.name, time_text(s.next_s, when))
               : code;
}

enum ctl_exit schedule_disable(struct ctl *c)
{
    struct change s = {0};
    enum ctl_exit code = change(c, enable_tx, &s);
    return code == CTL_DONE ? ctl_say(c, "schedule %s is disabled", s.name) : code;
}

/* The batch is filled here; if that is cut short, a dispatcher goes on. */
enum ctl_exit schedule_run(struct ctl *c)
{
    struct change s = {0};
    struct schedule_fill fill;
    uint64_t items = 0;
    char amount[TEXT_AMOUNT];
    enum ctl_exit code = change(c, run_tx, &s);
    if (code != CTL_DONE)
        return code;
    do {
        enum db_rc rc;
        fill = (struct schedule_fill){.batch_id = s.batch_id};
        if (db_tx(c->db, fill_tx, NULL, &fill, &rc) != TX_DONE)
            break;
        items += fill.n;
    } while (fill.batch_id && !fill.is_whole);
    if (!fill.is_whole && !c->args.json)
        return ctl_say(c, "schedule %s is run: batch %llu, whose items a dispatcher copies", s.name,
                       (unsigned long long)s.batch_id);
    if (!c->args.json)
        return ctl_say(c, "schedule %s is run: batch %llu, %s", s.name, (unsigned long long)s.batch_id,
                       amount_text(items, "item", amount));
    struct jv *body = jv_new_object();
    jv_set_int(body, "batch_id", (int64_t)s.batch_id);
    jv_set_int(body, "items", (int64_t)items);
    jv_set_bool(body, "filling", !fill.is_whole);
    return ctl_json(body);
}
