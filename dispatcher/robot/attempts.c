/* SPDX-License-Identifier: MIT */
/* attempts.c - a table of a fixed size that only grows; see attempts.h. */
#include "dispatcher/robot/attempts.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_FOR_OTHER 150 /* rows reserved: no error of a robot may take one */
#define KEPT_FOR_ALL 20    /* rows reserved for sums of all that have no row */
#define OTHER "other"

struct row {
    char *portal, *action, *outcome, *robot_error;
    uint64_t n;
};

struct attempts {
    struct row row[ATTEMPT_STATS_MAX];
    unsigned n;
};

struct attempts *attempts_new(void)
{
    return xcalloc(1, sizeof(struct attempts));
}

void attempts_destroy(struct attempts **ap)
{
    struct attempts *a = *ap;
    for (unsigned i = 0; a && i < a->n; i++) {
        free(a->row[i].portal);
        free(a->row[i].action);
        free(a->row[i].outcome);
        free(a->row[i].robot_error);
    }
    free(a);
    *ap = NULL;
}

static bool count_in(struct attempts *a, unsigned most, const char *portal, const char *action,
                     const char *outcome, const char *robot_error)
{
    for (unsigned i = 0; i < a->n; i++) {
        struct row *r = &a->row[i];
        if (strcmp(r->robot_error, robot_error) == 0 && strcmp(r->outcome, outcome) == 0 &&
            strcmp(r->action, action) == 0 && strcmp(r->portal, portal) == 0) {
            r->n++;
            return true;
        }
    }
    if (a->n >= most)
        return false;
    a->row[a->n++] = (struct row){xstrdup(portal), xstrdup(action), xstrdup(outcome), xstrdup(robot_error), 1};
    return true;
}

void attempts_count(struct attempts *a, const char *portal, const char *action, const char *outcome,
                    const char *robot_error)
{
    const char *rest = *robot_error ? OTHER : "";
    if (!count_in(a, ATTEMPT_STATS_MAX - KEPT_FOR_OTHER, portal, action, outcome, robot_error) &&
        !count_in(a, ATTEMPT_STATS_MAX - KEPT_FOR_ALL, portal, action, outcome, rest))
        count_in(a, ATTEMPT_STATS_MAX, OTHER, OTHER, outcome, rest);
}

unsigned attempts_rows(const struct attempts *a, struct attempt_stats_row *out)
{
    for (unsigned i = 0; i < a->n; i++)
        out[i] = (struct attempt_stats_row){str_of(a->row[i].portal), str_of(a->row[i].action),
                                            str_of(a->row[i].outcome), str_of(a->row[i].robot_error), a->row[i].n};
    return a->n;
}
