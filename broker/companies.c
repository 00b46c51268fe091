/* SPDX-License-Identifier: MIT */
/*
 * companies.c - the companies that wait most and use most, from the dispatchers' reports.
 *
 * Owns: the latest report of each dispatcher. Each dispatcher reports its own top companies. So the figure may be
 * a little low for a company that is at the top only in the sum of all dispatchers.
 */
#include "broker/companies.h"
#include "broker/numbers.h"

#include "common/check.h"
#include "common/clock.h"
#include <stdlib.h>
#include <string.h>

#define TOP 10
#define WINDOW_S 300 /* until a dispatcher reports it */

struct told {
    char dispatcher[65]; /* "" = free */
    unsigned n;
    struct company_stats_row row[COMPANY_STATS_MAX];
};

struct companies {
    struct told *told;
    unsigned n;
    uint64_t window_s;
};

struct companies *companies_new(void)
{
    struct companies *c = xcalloc(1, sizeof *c);
    c->window_s = WINDOW_S;
    return c;
}

void companies_destroy(struct companies **cp)
{
    if (*cp)
        free((*cp)->told);
    free(*cp);
    *cp = NULL;
}

static void row_take(void *arg, const struct company_stats_row *row)
{
    struct told *t = arg;
    if (t->n < COMPANY_STATS_MAX)
        t->row[t->n++] = *row;
}

/* Returns the dispatcher's row, a free row, or a new one. */
static struct told *told_of(struct companies *c, const char *dispatcher)
{
    struct told *free_one = NULL;
    for (unsigned i = 0; i < c->n; i++) {
        if (strcmp(c->told[i].dispatcher, dispatcher) == 0)
            return &c->told[i];
        if (!c->told[i].dispatcher[0])
            free_one = &c->told[i];
    }
    if (free_one)
        return free_one;
    c->told = xrealloc(c->told, (c->n + 1) * sizeof *c->told);
    return &c->told[c->n++];
}

void companies_told(struct broker *b, const char *dispatcher, const struct msg *m)
{
    struct told *t = told_of(b->companies, dispatcher);
    strcpy(t->dispatcher, dispatcher);
    t->n = 0;
    if (m->COMPANY_STATS.window_s)
        b->companies->window_s = m->COMPANY_STATS.window_s;
    proto_decode_company_stats(m->payload, row_take, t);
}

void companies_dispatcher_gone(struct broker *b, const char *dispatcher)
{
    for (unsigned i = 0; i < b->companies->n; i++)
        if (strcmp(b->companies->told[i].dispatcher, dispatcher) == 0)
            b->companies->told[i].dispatcher[0] = '\0';
}

/* ---- for people --------------------------------------------------------------------------------------------- */

static int by_company(const void *a, const void *b)
{
    uint64_t x = ((const struct company_stats_row *)a)->company_id;
    uint64_t y = ((const struct company_stats_row *)b)->company_id;
    return x < y ? -1 : x > y;
}

static int by_wait(const void *a, const void *b)
{
    uint64_t x = ((const struct company_stats_row *)a)->wait_ms,
             y = ((const struct company_stats_row *)b)->wait_ms;
    return x < y ? 1 : x > y ? -1 : by_company(a, b);
}

static int by_use(const void *a, const void *b)
{
    uint64_t x = ((const struct company_stats_row *)a)->busy_ms,
             y = ((const struct company_stats_row *)b)->busy_ms;
    return x < y ? 1 : x > y ? -1 : by_company(a, b);
}

static void row_add(struct company_stats_row *sum, const struct company_stats_row *more)
{
    sum->waits += more->waits;
    sum->wait_ms += more->wait_ms;
    sum->requests += more->requests;
    sum->busy_ms += more->busy_ms;
}

/* Sums the rows of all dispatchers, one row for each company. */
static struct company_stats_row *companies_sum(const struct companies *c, unsigned *n)
{
    struct company_stats_row *all = xcalloc((size_t)c->n * COMPANY_STATS_MAX + 1, sizeof *all);
    unsigned rows = 0;
    *n = 0;
    for (unsigned i = 0; i < c->n; i++)
        for (unsigned k = 0; c->told[i].dispatcher[0] && k < c->told[i].n; k++)
            all[rows++] = c->told[i].row[k];
    qsort(all, rows, sizeof *all, by_company);
    for (unsigned i = 0; i < rows; i++) {
        struct company_stats_row *last = *n ? &all[*n - 1] : NULL;
        if (last && last->company_id == all[i].company_id)
            row_add(last, &all[i]);
        else
            all[(*n)++] = all[i];
    }
    return all;
}

struct jv *companies_jv(const struct broker *b)
{
    unsigned n;
    struct company_stats_row *rows = companies_sum(b->companies, &n);
    struct jv *body = jv_new_object(), *wait = jv_new_array(), *use = jv_new_array();
    qsort(rows, n, sizeof *rows, by_wait);
    for (unsigned i = 0; i < n && i < TOP && rows[i].wait_ms; i++) {
        struct jv *one = jv_new_object();
        jv_set_int(one, "company_id", (int64_t)rows[i].company_id);
        jv_set_int(one, "waits", (int64_t)rows[i].waits);
        jv_set_number(one, "wait_s", (double)rows[i].wait_ms / 1000);
        jv_push(wait, one);
    }
    qsort(rows, n, sizeof *rows, by_use);
    for (unsigned i = 0; i < n && i < TOP && rows[i].requests; i++) {
        struct jv *one = jv_new_object();
        jv_set_int(one, "company_id", (int64_t)rows[i].company_id);
        jv_set_int(one, "requests", (int64_t)rows[i].requests);
        jv_set_number(one, "busy_s", (double)rows[i].busy_ms / 1000);
        jv_push(use, one);
    }
    free(rows);
    jv_set_time(body, "as_of", clock_unix_ms());
    jv_set_int(body, "window_s", (int64_t)b->companies->window_s);
    jv_set(body, "wait_most", wait);
    jv_set(body, "use_most", use);
    return body;
}
