/* SPDX-License-Identifier: MIT */
/*
 * watch_list.h - the lists of `stats --watch`: what each asks for, its columns,
 * and one list as lines. Pure but for watch_tab.
 */
#ifndef CHASQUI_CTL_WATCH_LIST_H
#define CHASQUI_CTL_WATCH_LIST_H

#include "common/buf.h"
#include "common/jv.h"
#include <stdbool.h>

enum tab {
    TAB_ALL,
    TAB_ROBOTS,
    TAB_BATCHES,
    TAB_JOBS,
    TAB_SESSIONS,
    TAB_ERRORS,
    TAB_PROCESSES,
    TAB_ROUTES,
    TAB_COUNT
};

struct watch_tab {
    const char *title;
    const char *path; /* what is asked for; NULL = it is in the statistics */
    const char *list; /* where the list is, parts joined by '.' */
    const char *id;   /* the member that names a row */
    const char *open; /* the path of one row, with %s for `of`; NULL = the row itself is all there is */
    const char *of;
    const char *under; /* the path of what is shown below it, with %s for its id; NULL = nothing */
    bool is_searched;  /* the filter goes to the broker as search= */
    int sort;          /* by this column at first; -1 = as it comes */
    bool is_descending;
};
extern const struct watch_tab watch_tab[TAB_COUNT];

struct watch_list {
    int sort; /* column; -1 = as it comes */
    bool is_descending;
    char filter[64]; /* rows that hold this; "" = all */
    int selected, top;
    int shown; /* rows after the last drawing */
};
unsigned watch_columns(enum tab tab);
const char *watch_column(enum tab tab, unsigned i);
/* The head and at most `rows` - 1 rows, `columns` wide; the selected one is inverse. Corrects selected and top. Answers the selected row
 * (borrowed from `rows_of`), NULL when there is none. */
const struct jv *watch_list_text(enum tab tab, const struct jv *list, struct watch_list *l, int columns, int rows,
                                 bool with_colour, struct buf *out);
/* A member by its path ("login_s.p95"). */
const struct jv *watch_member(const struct jv *object, const char *path);
/* Any object as lines, a member each. */
void watch_object_text(const struct jv *object, int columns, struct buf *out);

#endif
