/* SPDX-License-Identifier: MIT */
/*
 * stats_view.c - the operators' numbers as lines. What robots and tenants told
 * is printed without control characters; a line is never wider than the screen.
 */
#include "ctl/stats_view.h"

#include "ctl/progress.h"
#include "ctl/table.h"

#include <stdio.h>
#include <string.h>

#define BAR 30
#define WIDE 120      /* of a line without a limit */
#define WORDS_SHOWN 6 /* on a screen of few rows */

/* ---- numbers ------------------------------------------------------------------------------------------------ */

static double number(const struct jv *object, const char *key)
{
    double x;
    return jv_number(jv_get(object, key), &x) ? x : -1;
}

/* 2 ms, 1.5 s, 3m20s; "-" for what is not known. */
static const char *time_text(double s, char out[TEXT_NUMBER])
{
    if (s < 0)
        snprintf(out, TEXT_NUMBER, "-");
    else if (s < 0.9995)
        snprintf(out, TEXT_NUMBER, "%.0f ms", s * 1000);
    else if (s < 59.95)
        snprintf(out, TEXT_NUMBER, "%.1f s", s);
    else
        duration_text((uint64_t)s, out);
    return out;
}

static const char *rate_text(double per_s, char out[TEXT_NUMBER])
{
    if (per_s < 0)
        snprintf(out, TEXT_NUMBER, "-");
    else if (per_s > 0 && per_s < 10)
        snprintf(out, TEXT_NUMBER, "%.1f", per_s);
    else
        snprintf(out, TEXT_NUMBER, "%.0f", per_s);
    return out;
}

/* A number, or {"n","capped"}: "500,000+". */
static const char *count_text(const struct jv *v, char out[TEXT_NUMBER])
{
    int64_t n;
    bool capped = false;
    if (!jv_int(jv_type(v) == JV_OBJECT ? jv_get(v, "n") : v, &n) || n < 0)
        return "-";
    number_text((uint64_t)n, out);
    if (jv_bool(jv_get(v, "capped"), &capped) && capped)
        strcat(out, "+");
    return out;
}

/* A company, as it can be pasted. */
static const char *id_text(const struct jv *v, char out[TEXT_NUMBER])
{
    int64_t id;
    if (!jv_int(v, &id))
        return "-";
    snprintf(out, TEXT_NUMBER, "%lld", (long long)id);
    return out;
}

/* 10:20:00 of an RFC 3339 time. */
static const char *clock_of(const struct jv *v, char out[TEXT_NUMBER])
{
    const char *text = jv_str(v);
    if (!text || strlen(text) < 19)
        return "-";
    snprintf(out, TEXT_NUMBER, "%.8s", text + 11);
    return out;
}

/* ---- lines -------------------------------------------------------------------------------------------------- */

struct view {
    const struct jv *stats;
    const struct stats_size *size;
    struct buf *out;
    int width;
};

static const char *style(const struct view *v, const char *level)
{
    if (!v->size->with_colour || !level)
        return "";
    return strcmp(level, "bad") == 0 ? "\033[1;31m" : strcmp(level, "warn") == 0 ? "\033[1;33m" : "\033[1;32m";
}

static const char *plain(const struct view *v)
{
    return v->size->with_colour ? "\033[0m" : "";
}

static void head(struct view *v, const char *title, const struct jv *as_of)
{
    char at[TEXT_NUMBER];
    buf_addf(v->out, "\n%s%s%s", v->size->with_colour ? "\033[1m" : "", title, plain(v));
    if (as_of)
        buf_addf(v->out, "  as of %s", clock_of(as_of, at));
    buf_adds(v->out, "\n");
}

static void table_put(struct view *v, struct table **t)
{
    table_colour(*t, v->size->with_colour);
    table_text(t, v->width, v->out);
}

static void state_lines(struct view *v)
{
    const char *state = jv_str(jv_get(v->stats, "state"));
    const struct jv *words = jv_get(v->stats, "words"), *broker = jv_get(v->stats, "broker");
    char at[TEXT_NUMBER], up[TEXT_NUMBER], rate[TEXT_NUMBER];
    size_t shown = v->size->rows && jv_len(words) > WORDS_SHOWN ? WORDS_SHOWN : jv_len(words);
    const char *name = jv_str(jv_get(broker, "name"));
    buf_addf(v->out, "%s%s%s  broker %s, up %s, %s requests/s  %s UTC\n", style(v, state), state ? state : "?",
             plain(v), name ? name : "?", time_text(number(broker, "uptime_s"), up),
             rate_text(number(broker, "requests_per_s"), rate), clock_of(jv_get(v->stats, "as_of"), at));
    for (size_t i = 0; i < shown; i++) {
        const struct jv *row = jv_at(words, i);
        const char *level = jv_str(jv_get(row, "level")), *text = jv_str(jv_get(row, "text")),
                   *todo = jv_str(jv_get(row, "todo"));
        buf_addf(v->out, "%s", style(v, level));
        table_cut(v->out, text ? text : "", v->width);
        buf_addf(v->out, "%s\n", plain(v));
        if (todo && *todo && !v->size->rows)
            buf_addf(v->out, "    %s\n", todo);
    }
    if (shown < jv_len(words))
        buf_addf(v->out, "... and %zu more\n", jv_len(words) - shown);
}

static void queue_cells(struct table *t, const struct jv *row, const char *name, const char *in_flight)
{
    const struct jv *wait = jv_get(row, "wait_s");
    char text[TEXT_NUMBER];
    table_add(t, name);
    table_add(t, count_text(jv_get(row, "depth"), text));
    table_add(t, time_text(number(row, "depth") == 0 ? -1 : number(row, "oldest_age_s"), text));
    table_add(t, time_text(number(wait, "p50"), text));
    table_add(t, time_text(number(wait, "p95"), text));
    table_add(t, time_text(number(wait, "p99"), text));
    table_add(t, time_text(number(row, "clear_s"), text));
    table_add(t, count_text(jv_get(row, in_flight), text));
    table_add(t, rate_text(number(row, "done_per_s"), text));
    table_add(t, rate_text(number(row, "failed_per_s"), text));
}

static void lanes_lines(struct view *v)
{
    static const char *const heads[] = {"LANE",    ">WAIT",    ">OLDEST",  "2>P50",   "1>P95", "3>P99",
                                        "4>CLEAR", ">AT WORK", "5>DONE/S", ">FAIL/S", NULL};
    const struct jv *lanes = jv_get(v->stats, "lanes"), *queue = jv_get(v->stats, "queue");
    struct table *t = table_new(heads);
    head(v, "Waiting", NULL);
    for (size_t i = 0; i < jv_len(lanes); i++) {
        const char *name = jv_str(jv_get(jv_at(lanes, i), "lane"));
        queue_cells(t, jv_at(lanes, i), name ? name : "?", "in_flight");
    }
    if (jv_type(queue) == JV_OBJECT)
        queue_cells(t, queue, "queue", "running");
    if (number(queue, "held") > 0) { /* by pauses and portals; not in the queue's depth */
        char text[TEXT_NUMBER];
        table_add(t, "held");
        table_add(t, count_text(jv_get(queue, "held"), text));
        for (unsigned i = 2; heads[i]; i++)
            table_add(t, NULL);
    }
    table_put(v, &t);
}

static void rates_cells(struct table *t, const struct jv *row, const char *name)
{
    static const char *const rates[] = {"accepted_per_s", "rejected_per_s", "done_per_s", "failed_per_s",
                                        "retried_per_s"};
    const struct jv *latency = jv_get(row, "latency_s"); /* the durable queue has none: a log-in is the robot's */
    char text[TEXT_NUMBER];
    table_add(t, name);
    for (unsigned i = 0; i < sizeof(rates) / sizeof(*rates); i++)
        table_add(t, rate_text(number(row, rates[i]), text));
    table_add(t, time_text(number(latency, "p50"), text));
    table_add(t, time_text(number(latency, "p95"), text));
}

static void rates_lines(struct view *v)
{
    static const char *const heads[] = {"LANE",       ">ACCEPTED/S", ">REJECTED/S", ">DONE/S", ">FAILED/S",
                                        ">RETRIED/S", ">P50",        ">P95",        NULL};
    const struct jv *lanes = jv_get(v->stats, "lanes"), *queue = jv_get(v->stats, "queue");
    struct table *t = table_new(heads);
    head(v, "Rates, and how long answers took", NULL);
    for (size_t i = 0; i < jv_len(lanes); i++) {
        const char *name = jv_str(jv_get(jv_at(lanes, i), "lane"));
        rates_cells(t, jv_at(lanes, i), name ? name : "?");
    }
    if (jv_type(queue) == JV_OBJECT)
        rates_cells(t, queue, "queue");
    table_put(v, &t);
}

static void places_line(struct view *v)
{
    const struct jv *places = jv_get(v->stats, "places"), *queue = jv_get(v->stats, "queue");
    double used = number(places, "used"), total = number(places, "total");
    char a[TEXT_NUMBER], b[TEXT_NUMBER];
    if (total < 0)
        return;
    int full = total > 0 ? (int)(used * BAR / total + 0.5) : 0;
    buf_adds(v->out, "places [");
    for (int i = 0; i < BAR; i++)
        buf_adds(v->out, i < full ? "#" : ".");
    buf_addf(v->out, "] %s of %s", count_text(jv_get(places, "used"), a), count_text(jv_get(places, "total"), b));
    buf_addf(v->out, "; scheduled %s, batches %s\n", count_text(jv_get(queue, "scheduled"), a),
             count_text(jv_get(queue, "batches_open"), b));
}

/* No healthd is heard: robots are used as last judged. */
static const char *judged_before(const char *last, char out[TEXT_NUMBER])
{
    snprintf(out, TEXT_NUMBER, "was %s", last);
    return out;
}

static void robot_cells(struct table *t, const struct jv *r)
{
    const struct jv *login = jv_get(r, "login_s"), *errors = jv_get(r, "errors"), *drain = jv_get(r, "drain");
    static const char *const classes[] = {"unreachable", "timeout", "broken", "said_no", "bad_answer"};
    const char *verdict = jv_str(jv_get(r, "verdict")), *last = jv_str(jv_get(r, "last_verdict")),
               *wanted = jv_str(jv_get(r, "wanted")), *why = jv_str(jv_get(r, "why"));
    char text[TEXT_NUMBER], other[TEXT_NUMBER];
    double wrong = 0;
    for (unsigned i = 0; i < sizeof(classes) / sizeof(*classes); i++)
        wrong += number(errors, classes[i]) > 0 ? number(errors, classes[i]) : 0;
    table_add(t, jv_str(jv_get(r, "name")));
    table_add(t, last && strcmp(last, "unknown") != 0 && verdict && strcmp(verdict, "unknown") == 0
                     ? judged_before(last, other)
                     : verdict);
    table_add(t, wanted);
    table_addf(t, "%s/%s", count_text(jv_get(r, "places_used"), text),
               count_text(jv_get(r, "places_total"), other));
    table_add(t, time_text(number(login, "p50"), text));
    table_add(t, time_text(number(login, "p95"), text));
    table_addf(t, "%.0f", wrong);
    if (jv_type(drain) == JV_OBJECT)
        table_addf(t, "%s sessions left", count_text(jv_get(drain, "sessions_left"), text));
    else
        table_add(t, why);
}

static void robots_lines(struct view *v)
{
    static const char *const heads[] = {"~ROBOT", "=JUDGED", "=WANTED", ">PLACES", ">LOG-IN P50",
                                        ">P95",   ">ERRORS", "~WHY",    NULL};
    const struct jv *robots = jv_get(v->stats, "robots");
    struct table *t = table_new(heads);
    head(v, "Robots", jv_get(jv_get(v->stats, "places"), "as_of"));
    for (size_t i = 0; i < jv_len(robots); i++)
        robot_cells(t, jv_at(robots, i));
    table_put(v, &t);
}

static void class_add(void *arg, const char *class, struct jv *n)
{
    struct buf *text = arg;
    int64_t count = 0;
    jv_int(n, &count);
    if (count)
        buf_addf(text, "%s%s:%lld", text->len ? " " : "", class, (long long)count);
}

/* What went wrong in the last minutes, and what changed last; of robots that have any of it. */
static void faults_lines(struct view *v)
{
    static const char *const heads[] = {"~ROBOT", "ERRORS", "CHANGED", "AT", "~WHY", NULL};
    const struct jv *robots = jv_get(v->stats, "robots");
    struct table *t = table_new(heads);
    char at[TEXT_NUMBER];
    unsigned n = 0;
    for (size_t i = 0; i < jv_len(robots); i++) {
        const struct jv *r = jv_at(robots, i), *change = jv_get(r, "last_change");
        struct buf classes = {0};
        bool has_changed = jv_type(change) == JV_OBJECT;
        jv_each(jv_get(r, "errors"), class_add, &classes);
        if (classes.len || has_changed) {
            table_add(t, jv_str(jv_get(r, "name")));
            table_add(t, classes.data);
            if (has_changed)
                table_addf(t, "%s -> %s", jv_str(jv_get(change, "from")), jv_str(jv_get(change, "to")));
            else
                table_add(t, NULL);
            table_add(t, clock_of(jv_get(change, "at"), at));
            table_add(t, jv_str(jv_get(change, "why")));
            n++;
        }
        buf_free(&classes);
    }
    if (n)
        table_put(v, &t);
    else
        table_free(&t);
}

static void dispatchers_lines(struct view *v)
{
    static const char *const heads[] = {"~DISPATCHER", "=STATE", "DATABASE", "SERVER", ">CREDIT", ">AT WORK",
                                        ">DB P95",     ">REQ/S", "VERSION",  ">UP",    NULL};
    const struct jv *list = jv_get(v->stats, "dispatchers");
    struct table *t = table_new(heads);
    char text[TEXT_NUMBER];
    head(v, "Dispatchers", NULL);
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *d = jv_at(list, i), *db = jv_get(d, "database");
        bool connected = false, draining = false, ok = false;
        jv_bool(jv_get(d, "connected"), &connected);
        jv_bool(jv_get(d, "draining"), &draining);
        jv_bool(jv_get(db, "ok"), &ok);
        table_add(t, jv_str(jv_get(d, "name")));
        table_add(t, !connected ? "gone" : draining ? "stopping" : "here");
        if (connected)
            table_addf(t, "%s %.0f/%.0f", ok ? "ok" : "lost", number(db, "busy"), number(db, "threads"));
        else
            table_add(t, NULL);
        if (jv_str(jv_get(db, "node_state")))
            table_addf(t, "%s %s %.0f/%.0f", jv_str(jv_get(db, "host")), jv_str(jv_get(db, "node_state")),
                       number(db, "cluster_size"), number(db, "hosts"));
        else
            table_add(t, jv_str(jv_get(db, "host")));
        table_add(t, count_text(jv_get(jv_get(d, "credit"), "interactive"), text));
        table_add(t, count_text(jv_get(d, "in_flight"), text));
        table_add(t, time_text(number(jv_get(db, "op_s"), "p95"), text));
        table_add(t, rate_text(number(d, "requests_per_s"), text));
        table_add(t, jv_str(jv_get(d, "version")));
        table_add(t, time_text(number(d, "uptime_s"), text));
    }
    table_put(v, &t);
}

static void boots_lines(struct view *v)
{
    static const char *const heads[] = {"~DISPATCHER", "BOOT ID", NULL};
    const struct jv *list = jv_get(v->stats, "dispatchers");
    struct table *t = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++) {
        table_add(t, jv_str(jv_get(jv_at(list, i), "name")));
        table_add(t, jv_str(jv_get(jv_at(list, i), "boot_id")));
    }
    table_put(v, &t);
}

static void healthds_lines(struct view *v)
{
    static const char *const heads[] = {"~HEALTHD", "=STATE",     ">UP",   ">SUSPECT", ">DOWN",
                                        ">UNKNOWN", ">PROBE P95", ">GAPS", NULL};
    static const char *const counts[] = {"up", "suspect", "down", "unknown"};
    const struct jv *list = jv_get(v->stats, "healthds");
    struct table *t = table_new(heads);
    char text[TEXT_NUMBER];
    head(v, "Health", NULL);
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *h = jv_at(list, i);
        bool heard = false;
        jv_bool(jv_get(h, "heard"), &heard);
        table_add(t, jv_str(jv_get(h, "endpoint")));
        table_add(t, heard ? "heard" : "silent");
        for (unsigned k = 0; k < 4; k++)
            table_add(t, count_text(jv_get(h, counts[k]), text));
        table_add(t, time_text(number(jv_get(h, "probe_s"), "p95"), text));
        table_add(t, count_text(jv_get(h, "gaps_total"), text));
    }
    table_put(v, &t);
}

static void companies_lines(struct view *v)
{
    static const char *const heads[] = {">WAITS MOST", ">WAITED",   ">TIMES", ">USES MOST",
                                        ">WORKED FOR", ">REQUESTS", NULL};
    const struct jv *companies = jv_get(v->stats, "companies");
    const struct jv *wait = jv_get(companies, "wait_most"), *use = jv_get(companies, "use_most");
    size_t n = jv_len(wait) > jv_len(use) ? jv_len(wait) : jv_len(use);
    char text[TEXT_NUMBER];
    if (!n)
        return;
    struct table *t = table_new(heads);
    head(v, "Companies in the last minutes", NULL);
    for (size_t i = 0; i < n; i++) {
        const struct jv *w = jv_at(wait, i), *u = jv_at(use, i);
        table_add(t, id_text(jv_get(w, "company_id"), text));
        table_add(t, time_text(number(w, "wait_s"), text));
        table_add(t, count_text(jv_get(w, "waits"), text));
        table_add(t, id_text(jv_get(u, "company_id"), text));
        table_add(t, time_text(number(u, "busy_s"), text));
        table_add(t, count_text(jv_get(u, "requests"), text));
    }
    table_put(v, &t);
}

static void code_add(void *arg, const char *code, struct jv *n)
{
    struct buf *text = arg;
    int64_t count = 0;
    jv_int(n, &count);
    buf_addf(text, "%s%s:%lld", text->len ? " " : "", code, (long long)count);
}

static void routes_lines(struct view *v)
{
    static const char *const heads[] = {"~ROUTE", ">REQ/S", ">P50", ">P95", ">P99", "CODES", NULL};
    const struct jv *routes = jv_get(jv_get(v->stats, "broker"), "routes");
    struct table *t = table_new(heads);
    char text[TEXT_NUMBER];
    head(v, "Requests", NULL);
    for (size_t i = 0; i < jv_len(routes); i++) {
        const struct jv *r = jv_at(routes, i), *latency = jv_get(r, "latency_s");
        struct buf codes = {0};
        jv_each(jv_get(r, "codes"), code_add, &codes);
        table_addf(t, "%s %s", jv_str(jv_get(r, "method")), jv_str(jv_get(r, "route")));
        table_add(t, rate_text(number(r, "per_s"), text));
        table_add(t, time_text(number(latency, "p50"), text));
        table_add(t, time_text(number(latency, "p95"), text));
        table_add(t, time_text(number(latency, "p99"), text));
        table_add(t, codes.data);
        buf_free(&codes);
    }
    table_put(v, &t);
}

/* 512 B, 1.5 MiB. */
static const char *bytes_text(double n, char out[TEXT_NUMBER])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    for (n = n < 0 ? 0 : n; n >= 1024 && unit < 4; unit++)
        n /= 1024;
    snprintf(out, TEXT_NUMBER, unit && n < 10 ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return out;
}

static void traffic_lines(struct view *v)
{
    const struct jv *broker = jv_get(v->stats, "broker"), *streams = jv_get(broker, "streams");
    char a[TEXT_NUMBER], b[TEXT_NUMBER], c[TEXT_NUMBER];
    head(v, "Connections and streams", NULL);
    buf_addf(v->out, "connections %s of %s; requests that wait for a dispatcher %s\n",
             count_text(jv_get(broker, "connections"), a), count_text(jv_get(broker, "max_connections"), b),
             count_text(jv_get(broker, "parked"), c));
    buf_addf(v->out, "streams %s now, %s since the start", count_text(jv_get(streams, "active"), a),
             count_text(jv_get(streams, "total"), b));
    buf_addf(v->out, "; %s, %s/s now\n", bytes_text(number(streams, "bytes_total"), a),
             bytes_text(number(streams, "bytes_per_s"), b));
}

/* Of all lines those that fit, the last one saying that there are more. */
static void rows_cut(struct buf *out, int rows)
{
    int lines = 0, all = 0;
    size_t end = 0;
    for (size_t i = 0; i < out->len; i++)
        all += out->data[i] == '\n';
    if (all <= rows)
        return;
    for (size_t i = 0; i < out->len && lines < rows - 1; i++)
        if (out->data[i] == '\n') {
            lines++;
            end = i + 1;
        }
    out->len = end;
    out->data[end] = '\0';
    buf_addf(out, "... %d more lines; chasqui stats shows all\n", all - lines);
}

void stats_view(const struct jv *stats, const struct stats_size *size, struct buf *out)
{
    struct view v = {stats, size, out, size->columns ? size->columns : WIDE};
    state_lines(&v);
    bool is_whole = !size->rows; /* on a screen: what people look at all day */
    lanes_lines(&v);
    places_line(&v);
    if (is_whole)
        rates_lines(&v);
    robots_lines(&v);
    if (is_whole)
        faults_lines(&v);
    dispatchers_lines(&v);
    if (is_whole)
        boots_lines(&v);
    healthds_lines(&v);
    companies_lines(&v);
    if (is_whole) {
        traffic_lines(&v);
        routes_lines(&v);
    } else {
        rows_cut(out, size->rows);
    }
}
