/* SPDX-License-Identifier: MIT */
/* batch_course.c - `chasqui batch show --course`: when a batch's items ended, what its robots had of it, what takes longest. */
#include "ctl/batch.h"

#include "common/clock.h"
#include "ctl/plain.h"
#include "ctl/progress.h"
#include "ctl/table.h"

#include <stdio.h>
#include <string.h>

#define LINES_MAX 15 /* of its curve */
#define BAR 30       /* columns */

static int64_t number_at(const struct jv *list, size_t i)
{
    int64_t n = 0;
    jv_int(jv_at(list, i), &n);
    return n;
}

static int64_t number_of(const struct jv *object, const char *key)
{
    int64_t n = 0;
    jv_int(jv_get(object, key), &n);
    return n;
}

static void count_cell(struct table *table, int64_t n)
{
    char room[TEXT_NUMBER];
    table_add(table, number_text((uint64_t)n, room));
}

static void time_cell(struct table *table, const struct jv *object, const char *key)
{
    int64_t ms;
    char room[TEXT_NUMBER];
    if (!jv_int(jv_get(object, key), &ms))
        table_add(table, NULL);
    else if (ms < 60000)
        table_addf(table, "%.1fs", (double)ms / 1000);
    else
        table_add(table, duration_text((uint64_t)(ms / 1000), room));
}

struct line {
    int64_t done, failed;
};

/* What ended well as #, what failed as x; something is seen of both. */
static void bar_cell(struct table *table, const struct line *l, int64_t most)
{
    char bar[BAR + 3] = "";
    int done = (int)(l->done * BAR / most), failed = (int)(l->failed * BAR / most);
    done += !done && l->done;
    failed += !failed && l->failed;
    memset(bar, '#', (size_t)done);
    memset(bar + done, 'x', (size_t)failed);
    table_add(table, bar);
}

/* Steps are taken together until they fit on a screen. */
static void curve_print(const struct jv *course)
{
    static const char *const heads[] = {"FROM (UTC)", ">DONE", ">FAILED", "1 ", NULL};
    const struct jv *done = jv_get(course, "done"), *failed = jv_get(course, "failed");
    const char *from = jv_str(jv_get(course, "from"));
    size_t n = jv_len(done), each = (n + LINES_MAX - 1) / LINES_MAX;
    struct line line[LINES_MAX] = {{0, 0}};
    char text[CLOCK_TEXT_BYTES];
    int64_t from_ms = 0, most = 1;
    struct table *table = table_new(heads);
    for (size_t i = 0; i < n; i++) {
        struct line *l = &line[i / each];
        l->done += number_at(done, i);
        l->failed += number_at(failed, i);
        most = l->done + l->failed > most ? l->done + l->failed : most;
    }
    if (from)
        clock_read(from, strlen(from), &from_ms);
    for (size_t i = 0; n && i <= (n - 1) / each; i++) {
        clock_text(from_ms + (int64_t)(i * each) * number_of(course, "step_s") * 1000, text);
        table_addf(table, "%.10s %.8s", text, text + 11);
        count_cell(table, line[i].done);
        count_cell(table, line[i].failed);
        bar_cell(table, &line[i], most);
    }
    puts("");
    table_print(&table, "nothing of it has begun, or its timelines are gone");
}

static void robots_print(const struct jv *course)
{
    static const char *const heads[] = {"ROBOT", ">LOG-INS", ">MEDIAN", ">FAILED", "1>ITS OWN FAULT", NULL};
    const struct jv *list = jv_get(course, "robots");
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        broker_cell(table, one, "worker");
        count_cell(table, number_of(one, "attempts"));
        time_cell(table, one, "login_p50_ms");
        count_cell(table, number_of(one, "failed"));
        count_cell(table, number_of(one, "faults"));
    }
    puts("");
    table_print(&table, "no robot was called");
}

static void longest_print(const struct jv *course)
{
    static const char *const heads[] = {">LONGEST", ">INDEX",   ">COMPANY", "=STATUS", ">JOB",
                                        "1>TRIES",  "2~~ROBOT", "~~ERROR",  NULL};
    static const char *const keys[] = {"index", "company_id", "status", "job_id", "attempts", "worker", "error"};
    const struct jv *list = jv_get(course, "tail");
    if (!jv_len(list))
        return;
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++) {
        time_cell(table, jv_at(list, i), "took_ms");
        for (unsigned k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            broker_cell(table, jv_at(list, i), keys[k]);
    }
    puts("");
    table_print(&table, "");
}

void batch_course_print(const struct jv *course)
{
    char n[TEXT_AMOUNT];
    bool is_sampled = false;
    curve_print(course);
    robots_print(course);
    longest_print(course);
    fflush(stdout);
    if (jv_bool(jv_get(course, "sampled"), &is_sampled) && is_sampled)
        plain_line(stderr, "%s were looked at: these counts are estimates",
                   amount_text((uint64_t)number_of(course, "looked"), "item", n));
    if (number_of(course, "untimed"))
        plain_line(stderr, "%s ended without a time: a session was there, or the timeline is gone",
                   amount_text((uint64_t)number_of(course, "untimed"), "item", n));
}
