/* SPDX-License-Identifier: MIT */
/*
 * attempts.c - sums the dispatchers' counts, by portal, action, outcome and the robot's error.
 *
 * Owns: the latest counts of each dispatcher, the sums, and the set of errors with a label of their own: the most
 * frequent ones. An error that becomes more frequent than the least frequent of the set replaces it, and counts
 * from 0 again. The replaced error counts among the others from then on. So no number ever falls, and none jumps
 * by the count of another.
 */
#include "broker/attempts.h"

#include "common/check.h"
#include "common/stat.h"

#include <stdlib.h>
#include <string.h>

#define TELLERS_MAX 64
#define WORDS_MAX 64 /* errors whose frequency is known */
#define SERIES_MAX 2000
#define WORD_ROOM 257
#define OTHER "other"

struct told_row {
    char portal[65], action[65], outcome[17], robot_error[WORD_ROOM];
    uint64_t n;
};

struct teller {
    char name[65], boot_id[65]; /* name "" = free */
    struct told_row *row;
    unsigned n;
    uint64_t turn; /* turn of its latest message */
};

struct word {
    char text[WORD_ROOM];
    uint64_t n, doubt; /* it was seen at most n times and at least n - doubt times */
    bool is_named;
};

struct series {
    char portal[65], action[65], outcome[17], robot_error[WORD_ROOM];
    uint64_t n;
};

struct attempt_sums {
    struct teller teller[TELLERS_MAX];
    struct word word[WORDS_MAX];
    unsigned n_words;
    struct series *series;
    unsigned n_series;
    uint64_t turn;
};

struct attempt_sums *attempt_sums_new(void)
{
    return xcalloc(1, sizeof(struct attempt_sums));
}

void attempt_sums_destroy(struct attempt_sums **ap)
{
    struct attempt_sums *a = *ap;
    for (unsigned i = 0; a && i < TELLERS_MAX; i++)
        free(a->teller[i].row);
    if (a)
        free(a->series);
    free(a);
    *ap = NULL;
}

/* ---- which errors have a label ------------------------------------------------------------------------------ */

/* Finds or adds the word. A new word replaces the least frequent one when there are too many. */
static struct word *word_of(struct attempt_sums *a, const char *text)
{
    struct word *least = NULL;
    for (unsigned i = 0; i < a->n_words; i++) {
        struct word *w = &a->word[i];
        if (strcmp(w->text, text) == 0)
            return w;
        if (!w->is_named && (!least || w->n < least->n))
            least = w;
    }
    if (a->n_words < WORDS_MAX)
        least = &a->word[a->n_words++];
    strcpy(least->text, text);
    least->doubt = least->n; /* it may have occurred as often as the word it replaces */
    return least;
}

static void series_drop(struct attempt_sums *a, const char *robot_error)
{
    unsigned n = 0;
    for (unsigned i = 0; i < a->n_series; i++)
        if (strcmp(a->series[i].robot_error, robot_error) != 0)
            a->series[n++] = a->series[i];
    a->n_series = n;
}

static const char *label_of(struct attempt_sums *a, const char *text, uint64_t more)
{
    struct word *least = NULL;
    unsigned named = 0;
    if (!*text || strcmp(text, OTHER) == 0)
        return text;
    struct word *w = word_of(a, text);
    w->n += more;
    for (unsigned i = 0; i < a->n_words; i++) {
        struct word *one = &a->word[i];
        named += one->is_named;
        if (one->is_named && (!least || one->n < least->n))
            least = one;
    }
    if (!w->is_named && named < ATTEMPTS_NAMED) {
        w->is_named = true;
    } else if (!w->is_named &&
               w->n - w->doubt > least->n + least->n / 4) { /* by a margin, so that two do not alternate */
        least->is_named = false;
        series_drop(a, least->text);
        w->is_named = true;
    }
    return w->is_named ? w->text : OTHER;
}

/* ---- sums --------------------------------------------------------------------------------------------------- */

static struct series *series_find(struct attempt_sums *a, const char *portal, const char *action,
                                  const char *outcome, const char *robot_error)
{
    for (unsigned i = 0; i < a->n_series; i++) {
        struct series *s = &a->series[i];
        if (strcmp(s->robot_error, robot_error) == 0 && strcmp(s->outcome, outcome) == 0 &&
            strcmp(s->action, action) == 0 && strcmp(s->portal, portal) == 0)
            return s;
    }
    return NULL;
}

static void add(struct attempt_sums *a, const struct told_row *row, uint64_t more)
{
    const char *label = label_of(a, row->robot_error, more);
    struct series *s = series_find(a, row->portal, row->action, row->outcome, label);
    if (!s && a->n_series == SERIES_MAX)
        return; /* names of actions and outcomes: these are few */
    if (!s) {
        a->series = xrealloc(a->series, (a->n_series + 1) * sizeof *a->series);
        s = &a->series[a->n_series++];
        memset(s, 0, sizeof *s);
        strcpy(s->portal, row->portal);
        strcpy(s->action, row->action);
        strcpy(s->outcome, row->outcome);
        strcpy(s->robot_error, label);
    }
    s->n += more;
}

static bool is_same(const struct told_row *x, const struct told_row *y)
{
    return strcmp(x->robot_error, y->robot_error) == 0 && strcmp(x->outcome, y->outcome) == 0 &&
           strcmp(x->action, y->action) == 0 && strcmp(x->portal, y->portal) == 0;
}

/* ---- what is told ------------------------------------------------------------------------------------------- */

struct telling {
    struct told_row *row;
    unsigned n;
};

static void row_take(void *arg, const struct attempt_stats_row *row)
{
    struct telling *t = arg;
    struct told_row *r = &t->row[t->n++];
    str_copy(r->portal, sizeof r->portal, row->portal);
    str_copy(r->action, sizeof r->action, row->action);
    str_copy(r->outcome, sizeof r->outcome, row->outcome);
    str_copy(r->robot_error, sizeof r->robot_error, row->robot_error);
    r->n = row->n;
}

static struct teller *teller_of(struct attempt_sums *a, const char *name)
{
    struct teller *oldest = &a->teller[0];
    for (unsigned i = 0; i < TELLERS_MAX; i++) {
        if (strcmp(a->teller[i].name, name) == 0)
            return &a->teller[i];
        if (a->teller[i].turn < oldest->turn)
            oldest = &a->teller[i];
    }
    free(oldest->row);
    memset(oldest, 0, sizeof *oldest);
    strcpy(oldest->name, name);
    return oldest;
}

void attempt_sums_told(struct attempt_sums *a, const char *dispatcher, const char *boot_id, struct str payload)
{
    struct telling t = {.row = xcalloc(ATTEMPT_STATS_MAX, sizeof *t.row)};
    struct teller *from = teller_of(a, dispatcher);
    bool is_known = strcmp(from->boot_id, boot_id) == 0;
    proto_decode_attempt_stats(payload, row_take, &t);
    for (unsigned i = 0; is_known && i < t.n; i++) {
        uint64_t before =
            i < from->n && is_same(&from->row[i], &t.row[i]) ? from->row[i].n : 0; /* rows keep their indexes */
        if (t.row[i].n > before)
            add(a, &t.row[i], t.row[i].n - before);
    }
    free(from->row);
    from->row = xrealloc(t.row, (t.n + 1) * sizeof *t.row);
    from->n = t.n;
    from->turn = ++a->turn;
    strcpy(from->boot_id, boot_id);
}

void attempt_sums_metrics(const struct attempt_sums *a, struct buf *out)
{
    stat_family(out, FAMILY_attempts_total);
    for (unsigned i = 0; i < a->n_series; i++) {
        const struct series *s = &a->series[i];
        stat_sample(out, FAMILY_attempts_total, (double)s->n,
                    (const char *const[]){s->portal, s->action, s->outcome, s->robot_error});
    }
}
