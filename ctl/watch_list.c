/* SPDX-License-Identifier: MIT */
/* watch_list.c - the lists of `stats --watch`. What comes from robots and tenants is printed without control characters. */
#include "ctl/watch_list.h"

#include "common/check.h"
#include "ctl/progress.h"
#include "ctl/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COLUMNS_MAX 10
#define DEPTH_MAX 4
#define NAME_WIDTH 22

const struct watch_tab watch_tab[TAB_COUNT] = {
    [TAB_ALL] = {"All", NULL, NULL, NULL, NULL, NULL, NULL, false, -1, false},
    [TAB_ROBOTS] = {"Robots", NULL, "robots", "name", NULL, NULL,
                    "/api/v1/ops/sessions?state=live&limit=50&worker=%s", false, -1, false},
    [TAB_BATCHES] = {"Batches", "/api/v1/ops/batches?limit=100", "batches", "id", NULL, NULL,
                     "/api/v1/ops/jobs?limit=50&batch_id=%s", false, -1, false},
    [TAB_JOBS] = {"Jobs", "/api/v1/ops/jobs?limit=100", "jobs", "id", "/api/v1/ops/jobs/%s", "id",
                  "/api/v1/ops/jobs/%s/why", true, -1, false},
    [TAB_SESSIONS] = {"Sessions", "/api/v1/ops/sessions?state=live&limit=200", "sessions", "session_id",
                      "/api/v1/ops/jobs/%s", "job_id", NULL, false, -1, false},
    [TAB_ERRORS] = {"Errors", "/api/v1/ops/errors?since=86400", "errors", "error", "/api/v1/ops/jobs/%s",
                    "last_job_id", NULL, false, -1, false},
    [TAB_PROCESSES] = {"Processes", NULL, "dispatchers", "name", NULL, NULL, NULL, false, -1, false},
    [TAB_ROUTES] = {"Routes", NULL, "broker.routes", "route", NULL, NULL, NULL, false, 2, true},
};

enum kind { NONE, TEXT, JUDGED, COUNT, SECONDS, RATE, AT, PLACES, FAULTS, FLAG };

static const struct column {
    const char *head, *path;
    enum kind kind;
} columns[TAB_COUNT][COLUMNS_MAX] = {
    [TAB_ROBOTS] = {{"~ROBOT", "name", TEXT},
                    {"=JUDGED", "verdict", JUDGED},
                    {"=WANTED", "wanted", TEXT},
                    {">PLACES", "", PLACES},
                    {"1>LOGGING IN", "logins_in_flight", COUNT},
                    {">DONE", "logins_done_per_s", RATE},
                    {">FAILED", "logins_failed_per_s", RATE},
                    {">P95", "login_s.p95", SECONDS},
                    {"2>ERRORS", "errors", FAULTS},
                    {"3~WHY", "why", TEXT}},
    [TAB_BATCHES] = {{">BATCH", "id", TEXT},
                     {"=STATUS", "status", TEXT},
                     {"1~~ACTION", "action", TEXT},
                     {">TOTAL", "total", COUNT},
                     {">DONE", "counts.done", COUNT},
                     {">FAILED", "counts.failed", COUNT},
                     {"2>RUNNING", "counts.running", COUNT},
                     {">ETA", "eta_s", SECONDS},
                     {"3CREATED", "created_at", AT}},
    [TAB_JOBS] = {{">JOB", "id", TEXT},
                  {">COMPANY", "company_id", TEXT},
                  {"2~~ACTION", "action", TEXT},
                  {"=STATUS", "status", TEXT},
                  {"1>TRIES", "attempts", COUNT},
                  {"~~ROBOT", "worker", TEXT},
                  {"3>BATCH", "batch_id", TEXT},
                  {"~~ERROR", "error", TEXT},
                  {"4CREATED", "created_at", AT}},
    [TAB_SESSIONS] = {{"~~SESSION", "session_id", TEXT},
                      {">COMPANY", "company_id", TEXT},
                      {"2PORTAL", "portal", TEXT},
                      {"~~ROBOT", "worker", TEXT},
                      {"=STATE", "state", TEXT},
                      {"1STARTED", "started_at", AT},
                      {"LAST USED", "last_activity_at", AT}},
    [TAB_ERRORS] = {{"~~ERROR", "error", TEXT},
                    {"2~~ROBOT SAID", "robot_error", TEXT},
                    {"1KIND", "kind", TEXT},
                    {">JOBS", "n", COUNT},
                    {">COMPANIES", "companies", COUNT},
                    {"4FIRST", "first_at", AT},
                    {"LAST", "last_at", AT},
                    {"3~MESSAGE", "message", TEXT}},
    [TAB_PROCESSES] = {{"~DISPATCHER", "name", TEXT},
                       {"=HERE", "connected", FLAG},
                       {"1=DATABASE", "database.ok", FLAG},
                       {">AT WORK", "in_flight", COUNT},
                       {">DB P95", "database.op_s.p95", SECONDS},
                       {">REQ", "requests_per_s", RATE},
                       {"2VERSION", "version", TEXT},
                       {">UP", "uptime_s", SECONDS}},
    [TAB_ROUTES] = {{"METHOD", "method", TEXT},
                    {"~~ROUTE", "route", TEXT},
                    {">RATE", "per_s", RATE},
                    {">P50", "latency_s.p50", SECONDS},
                    {">P95", "latency_s.p95", SECONDS},
                    {"1>P99", "latency_s.p99", SECONDS}},
};

unsigned watch_columns(enum tab tab)
{
    unsigned n = 0;
    while (n < COLUMNS_MAX && columns[tab][n].head)
        n++;
    return n;
}

const char *watch_column(enum tab tab, unsigned i)
{
    const char *head = columns[tab][i].head;
    return head + strspn(head, "=>~0123456789");
}

const struct jv *watch_member(const struct jv *object, const char *path)
{
    char part[40];
    while (object && *path) {
        size_t len = strcspn(path, ".");
        snprintf(part, sizeof(part), "%.*s", (int)len, path);
        object = jv_get(object, part);
        path += len + (path[len] == '.');
    }
    return object;
}

/* ---- cells -------------------------------------------------------------------------------------------------- */

static double number(const struct jv *v)
{
    double x;
    return jv_number(jv_type(v) == JV_OBJECT ? jv_get(v, "n") : v, &x) ? x : -1;
}

static void fault_add(void *arg, const char *class, struct jv *n)
{
    int64_t count;
    if (strcmp(class, "full") != 0 && strcmp(class, "stale") != 0 && jv_int(n, &count))
        *(double *)arg += (double)count;
}

/* What it is sorted by, when it is a number. */
static double cell_number(const struct column *c, const struct jv *row)
{
    const struct jv *v = *c->path ? watch_member(row, c->path) : row;
    double x = 0;
    switch (c->kind) {
    case PLACES:
        return number(jv_get(row, "places_total")) > 0
                   ? number(jv_get(row, "places_used")) / number(jv_get(row, "places_total"))
                   : -1;
    case FAULTS:
        jv_each(v, fault_add, &x);
        return x;
    case COUNT:
    case SECONDS:
    case RATE:
    case TEXT:
    case JUDGED:
    case AT:
    case FLAG:
    case NONE:
        break;
    }
    return number(v);
}

static void cell_text(const struct column *c, const struct jv *row, char *out, size_t room)
{
    const struct jv *v = *c->path ? watch_member(row, c->path) : row;
    const char *text = jv_str(v);
    char a[TEXT_NUMBER];
    double x = cell_number(c, row);
    bool flag = false;
    snprintf(out, room, "-");
    switch (c->kind) {
    case JUDGED:
        if (text && strcmp(text, "unknown") == 0 && jv_str(jv_get(row, "last_verdict")) &&
            strcmp(jv_str(jv_get(row, "last_verdict")), "unknown") != 0)
            snprintf(out, room, "was %s", jv_str(jv_get(row, "last_verdict")));
        else if (text)
            snprintf(out, room, "%s", text);
        break;
    case TEXT:
        if (text)
            snprintf(out, room, "%s", text);
        else if (x >= 0)
            snprintf(out, room, "%.0f", x);
        break;
    case AT:
        if (text && strlen(text) >= 19)
            snprintf(out, room, "%.5s %.8s", text + 5, text + 11);
        break;
    case COUNT:
    case FAULTS:
        if (x >= 0)
            snprintf(out, room, "%s", number_text((uint64_t)x, a));
        break;
    case SECONDS:
        if (x >= 60)
            snprintf(out, room, "%s", duration_text((uint64_t)x, a));
        else if (x >= 0)
            snprintf(out, room, x < 1 ? "%.0f ms" : "%.1f s", x < 1 ? x * 1000 : x);
        break;
    case RATE:
        if (x == 0)
            snprintf(out, room, "0");
        else if (x > 0)
            snprintf(out, room, x < 0.95 ? "%.3g/min" : x < 10 ? "%.1f/s" : "%.0f/s", x < 0.95 ? x * 60 : x);
        break;
    case PLACES:
        snprintf(out, room, "%.0f/%.0f", number(jv_get(row, "places_used")), number(jv_get(row, "places_total")));
        break;
    case FLAG:
        if (jv_bool(v, &flag))
            snprintf(out, room, flag ? "yes" : "gone");
        break;
    case NONE:
        break;
    }
}

/* ---- order and filter --------------------------------------------------------------------------------------- */

struct order {
    enum tab tab;
    const struct watch_list *l;
};

static int compare(const struct jv *a, const struct jv *b, const struct order *o)
{
    const struct column *c = &columns[o->tab][o->l->sort];
    char x[200], y[200];
    double m = cell_number(c, a), n = cell_number(c, b);
    int by = 0;
    if (m >= 0 || n >= 0)
        by = (m > n) - (m < n);
    if (!by) {
        cell_text(c, a, x, sizeof(x));
        cell_text(c, b, y, sizeof(y));
        by = c->kind == AT || c->kind == TEXT || c->kind == JUDGED ? strcasecmp(x, y) : 0;
    }
    return o->l->is_descending ? -by : by;
}

struct ranked {
    const struct jv *row;
    size_t at;
    const struct order *order;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int by = x->order->l->sort < 0 ? 0 : compare(x->row, y->row, x->order);
    return by ? by : (x->at > y->at) - (x->at < y->at); /* equal ones stay where they are */
}

static bool has_text(enum tab tab, const struct jv *row, const char *filter)
{
    char text[200];
    for (unsigned i = 0; i < watch_columns(tab); i++) {
        cell_text(&columns[tab][i], row, text, sizeof(text));
        if (strcasestr(text, filter))
            return true;
    }
    return false;
}

/* ---- lines -------------------------------------------------------------------------------------------------- */

static void selection_settle(struct watch_list *l, int room)
{
    if (l->selected >= l->shown)
        l->selected = l->shown - 1;
    if (l->selected < 0)
        l->selected = 0;
    if (l->selected < l->top)
        l->top = l->selected;
    if (l->selected >= l->top + room)
        l->top = l->selected - room + 1;
    if (l->top > 0 && l->shown - l->top < room)
        l->top = l->shown > room ? l->shown - room : 0;
}

static void rows_put(enum tab tab, const struct ranked *rows, const struct watch_list *l, int width, int room,
                     bool with_colour, struct buf *out)
{
    const char *heads[COLUMNS_MAX + 1] = {NULL};
    unsigned n = watch_columns(tab);
    struct buf text = {0};
    char cell[200];
    for (unsigned i = 0; i < n; i++)
        heads[i] = columns[tab][i].head;
    struct table *t = table_new(heads);
    for (int i = l->top; i < l->shown && i < l->top + room; i++)
        for (unsigned k = 0; k < n; k++) {
            cell_text(&columns[tab][k], rows[i].row, cell, sizeof(cell));
            table_add(t, cell);
        }
    table_colour(t, with_colour);
    table_text(&t, width, &text);
    int line = -1; /* the head */
    for (const char *at = text.data; *at; line++) {
        size_t len = strcspn(at, "\n");
        bool is_selected = line == l->selected - l->top;
        if (is_selected)
            buf_adds(out, "\033[7m");
        for (size_t i = 0; i < len; i++) { /* a colour's end would end the inverse, too */
            if (is_selected && at[i] == '\033')
                i += strcspn(at + i, "m");
            else
                buf_add(out, at + i, 1);
        }
        buf_adds(out, is_selected ? "\033[0m\n" : "\n");
        at += len + (at[len] == '\n');
    }
    buf_free(&text);
}

const struct jv *watch_list_text(enum tab tab, const struct jv *list, struct watch_list *l, int width, int height,
                                 bool with_colour, struct buf *out)
{
    size_t all = jv_len(list);
    struct order order = {tab, l};
    struct ranked *rows = xcalloc(all ? all : 1, sizeof(*rows));
    l->shown = 0;
    for (size_t i = 0; i < all; i++)
        if (!*l->filter || watch_tab[tab].is_searched || has_text(tab, jv_at(list, i), l->filter))
            rows[l->shown++] = (struct ranked){jv_at(list, i), i, &order};
    qsort(rows, (size_t)l->shown, sizeof(*rows), by_rank);
    selection_settle(l, height - 1);
    rows_put(tab, rows, l, width, height - 1, with_colour, out);
    const struct jv *selected = l->shown ? rows[l->selected].row : NULL;
    free(rows);
    return selected;
}

/* ---- one thing ---------------------------------------------------------------------------------------------- */

struct dump {
    struct buf *out;
    int width, depth;
};

static void value_add(struct buf *line, const struct jv *v)
{
    double x;
    bool flag;
    if (jv_str(v))
        buf_adds(line, jv_str(v));
    else if (jv_bool(v, &flag))
        buf_adds(line, flag ? "yes" : "no");
    else if (jv_number(v, &x))
        buf_addf(line, "%.10g", x);
    else
        buf_adds(line, "-");
}

static void line_put(struct dump *d, const char *name, const char *value)
{
    struct buf line = {0};
    buf_addf(&line, "%*s%-*s %s", d->depth * 2, "", NAME_WIDTH - d->depth * 2, name, value);
    table_cut(d->out, line.data, d->width);
    buf_adds(d->out, "\n");
    buf_free(&line);
}

static void short_add(void *arg, const char *key, struct jv *v)
{
    struct buf *line = arg;
    if (jv_type(v) == JV_NULL || jv_type(v) == JV_OBJECT || jv_type(v) == JV_ARRAY)
        return;
    buf_adds(line, line->len ? "  " : "");
    if (strcmp(key, "at") != 0 && strcmp(key, "event") != 0)
        buf_addf(line, "%s ", key);
    value_add(line, v);
}

static void member_put(void *arg, const char *key, struct jv *v)
{
    struct dump *d = arg;
    struct buf line = {0};
    if (strcmp(key, "ok") == 0 || jv_type(v) == JV_NULL)
        return;
    buf_adds(&line, "");
    if (jv_type(v) == JV_OBJECT && d->depth < DEPTH_MAX) {
        line_put(d, key, "");
        d->depth++;
        jv_each(v, member_put, d);
        d->depth--;
    } else if (jv_type(v) == JV_ARRAY) {
        for (size_t i = 0; i < jv_len(v); i++) {
            buf_clear(&line);
            buf_adds(&line, "");
            if (jv_type(jv_at(v, i)) == JV_OBJECT)
                jv_each(jv_at(v, i), short_add, &line);
            else
                value_add(&line, jv_at(v, i));
            line_put(d, i ? "" : key, line.data);
        }
    } else {
        value_add(&line, v);
        line_put(d, key, line.data);
    }
    buf_free(&line);
}

void watch_object_text(const struct jv *object, int width, struct buf *out)
{
    struct dump d = {out, width, 0};
    jv_each(object, member_put, &d);
}
