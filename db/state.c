/* SPDX-License-Identifier: MIT */
/*
 * state.c - see the header. Owns the tables of state.def. A placeholder is written once per prepared statement, so
 * rows are looked up by a linear search.
 */
#include "db/state.h"

#include "common/check.h"

#include <string.h>

enum guard { NEW, ASKED, HELD };

static const struct machine {
    const char *name, *column;
} machines[] = {
#define MACHINE(machine, table, column, what) {#machine, column},
#include "db/state.def"
};

static const struct state {
    const char *machine, *name, *sql;
} states[] = {
#define STATE(machine, state, sql) {#machine, #state, sql},
#include "db/state.def"
};

static const struct event {
    const char *machine, *name, *from, *to;
    enum guard guard;
    const char *writes;
} events[] = {
#define EVENT(machine, event, from, to, guard, writes, place, text)                                               \
    {#machine, #machine "." #event, from, to, guard, writes},
#include "db/state.def"
};

#define N(table) (sizeof(table) / sizeof(*(table)))

static const struct event *event_of(const char *name)
{
    for (unsigned i = 0; i < N(events); i++)
        if (strcmp(events[i].name, name) == 0)
            return &events[i];
    CHECK(false, "no event %s", name);
    return NULL;
}

static const char *column_of(const struct event *e)
{
    for (unsigned i = 0; i < N(machines); i++)
        if (strcmp(machines[i].name, e->machine) == 0)
            return machines[i].column;
    CHECK(false, "no machine %s", e->machine);
    return NULL;
}

/* Reads the first state of a list of names. *list advances to the next one; NULL when there is none. */
static const struct state *state_next(const struct event *e, const char **list)
{
    size_t len = strcspn(*list, " ");
    for (unsigned i = 0; i < N(states); i++)
        if (strcmp(states[i].machine, e->machine) == 0 && strlen(states[i].name) == len &&
            strncmp(states[i].name, *list, len) == 0) {
            *list = (*list)[len] ? *list + len + 1 : NULL;
            return &states[i];
        }
    CHECK(false, "no state %s in %s", *list, e->name);
    return NULL;
}

static bool has_several(const char *list)
{
    return strchr(list, ' ') != NULL;
}

/* Writes the value of the event's to-state, or of the state that the parameter names. */
static void value_write(const struct event *e, bool is_parameter, struct buf *out)
{
    const char *list = e->to;
    CHECK(is_parameter || !has_several(list), "%s has several ends", e->name);
    if (!is_parameter) {
        buf_adds(out, state_next(e, &list)->sql);
        return;
    }
    buf_adds(out, "(CASE ?");
    while (list) {
        const struct state *to = state_next(e, &list);
        buf_addf(out, " WHEN '%s' THEN %s", to->name, to->sql);
    }
    buf_adds(out, " END)");
}

static void become_write(const struct event *e, const char *more, struct buf *out)
{
    bool is_parameter = strcmp(more, "?") == 0;
    const char *alias = is_parameter ? "" : more, *dot = *alias ? "." : "";
    CHECK(e->guard != NEW, "%s has no row to change", e->name);
    buf_addf(out, "%s%s%s = ", alias, dot, column_of(e));
    value_write(e, is_parameter, out);
    for (const char *at = e->writes, *end; *at; at = end) {
        end = strstr(at + 1, ", ");
        end = end ? end + 2 : at + strlen(at);
        size_t len = (size_t)(end - at) - (*end ? 2 : 0);
        buf_addf(out, ", %s%s%.*s", alias, dot, (int)len, at);
    }
}

static void from_write(const struct event *e, const char *alias, struct buf *out)
{
    CHECK(e->guard == ASKED, "%s asks for no state", e->name);
    buf_addf(out, "%s%s%s ", alias, *alias ? "." : "", column_of(e));
    const char *list = e->from, *before = has_several(list) ? "IN (" : "= ";
    for (; list; before = ", ") {
        const char *sql = state_next(e, &list)->sql;
        buf_adds(out, strcmp(sql, "NULL") == 0 ? "IS " : before);
        buf_adds(out, sql);
    }
    buf_adds(out, has_several(e->from) ? ")" : "");
}

bool state_is_word(const char *word)
{
    return strcmp(word, "become") == 0 || strcmp(word, "from") == 0 || strcmp(word, "new") == 0;
}

void state_write(const char *word, const char *event, const char *more, struct buf *out)
{
    const struct event *e = event_of(event);
    if (strcmp(word, "become") == 0) {
        become_write(e, more, out);
    } else if (strcmp(word, "from") == 0) {
        from_write(e, more, out);
    } else {
        CHECK(e->guard == NEW, "%s begins nothing", e->name);
        value_write(e, false, out);
    }
}
