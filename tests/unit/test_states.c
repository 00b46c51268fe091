/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_states.c - every row of db/state.def on a real table: from each state of its machine, allowed or forbidden. */
#include "tests/unit/store_fixture.h"

enum guard { NEW, ASKED, HELD };

static const struct machine {
    const char *name, *table, *column;
} machines[] = {
#define MACHINE(machine, table, column, what) {#machine, table, column},
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

static const struct machine *machine_of(const struct event *e)
{
    for (unsigned i = 0; i < N(machines); i++)
        if (strcmp(machines[i].name, e->machine) == 0)
            return &machines[i];
    fail_msg("%s has no machine", e->name);
    return NULL;
}

/* A row in each table: the only one. */
static int rows_make(void **state)
{
    if (reset(state))
        return -1;
    exec_sql(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status) VALUES ('J', 1, 'acme', 'x', 'queued')",
        "");
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, urgency, turn) VALUES (0, 1, 1, 'queued', 5, 1)",
        "");
    exec_sql(
        "INSERT INTO chasqui_sessions (job_id, company_id, portal, state, since) VALUES (1, 1, 'acme', 'opening', NOW(6))",
        "");
    exec_sql("DELETE FROM chasqui_places", "");
    exec_sql("INSERT INTO chasqui_places (robot_id, slot) VALUES (1, 1)", "");
    return 0;
}

static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = list; at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL)
        if (strncmp(at, name, len) == 0 && (at[len] == 0 || at[len] == ' '))
            return true;
    return false;
}

/* The session that is in a place is a parameter. */
#define SESSION "7"
static const char *sql_of(const struct state *s)
{
    return strcmp(s->sql, "?") == 0 ? SESSION : s->sql;
}

static void arrange(const struct machine *m, const struct state *s)
{
    char sql[200];
    snprintf(sql, sizeof(sql), "UPDATE %s SET %s = %s", m->table, m->column, sql_of(s));
    exec_sql(sql, "");
}

static void assert_state(const struct event *e, const struct machine *m, const struct state *before,
                         const struct state *want)
{
    char sql[200];
    snprintf(sql, sizeof(sql), "SELECT %s <=> %s FROM %s", m->column, sql_of(want), m->table);
    if (number_of(sql, "") != 1)
        fail_msg("%s: a row that was %s is not %s", e->name, before->name, want->name);
}

static bool has_parameter(const struct event *e)
{
    return strchr(e->to, ' ') || strcmp(e->to, "taken") == 0;
}

/* One event with one row; `word` is what the parameter says, if there is one. */
static enum db_rc run(const struct event *e, const struct machine *m, const char *word)
{
    char sql[300], from[60] = "1 = 1";
    if (e->guard == ASKED)
        snprintf(from, sizeof(from), "{from %s}", e->name);
    snprintf(sql, sizeof(sql), "UPDATE %s SET {become %s%s} WHERE %s", m->table, e->name,
             strchr(e->to, ' ') ? " ?" : "", from);
    return has_parameter(e) ? db_exec(look, sql, "s", word) : db_exec(look, sql, "");
}

static void walk(const struct event *e, const struct state *from, const struct state *to)
{
    const struct machine *m = machine_of(e);
    bool is_allowed = e->guard == HELD || is_listed(e->from, from->name);
    arrange(m, from);
    sql_fine(run(e, m, strcmp(to->sql, "?") == 0 ? SESSION : to->name));
    assert_int_equal(db_affected(look), is_allowed);
    assert_state(e, m, from, is_allowed ? to : from);
}

TEST_WITH(test_every_row_from_every_state, rows_make, NULL)
{
    for (unsigned i = 0; i < N(events); i++)
        for (unsigned f = 0; f < N(states) && events[i].guard != NEW; f++)
            for (unsigned t = 0; t < N(states) && strcmp(states[f].machine, events[i].machine) == 0; t++)
                if (strcmp(states[t].machine, events[i].machine) == 0 && is_listed(events[i].to, states[t].name))
                    walk(&events[i], &states[f], &states[t]);
}

TEST_WITH(test_a_parameter_names_no_other_state, rows_make, NULL)
{
    for (unsigned i = 0; i < N(events); i++)
        for (unsigned s = 0; s < N(states) && strchr(events[i].to, ' '); s++) {
            const struct machine *m = machine_of(&events[i]);
            const struct state *other = &states[s];
            if (strcmp(other->machine, m->name) != 0 || is_listed(events[i].to, other->name))
                continue;
            if (events[i].guard == HELD)
                arrange(m, other);
            else
                for (unsigned f = 0; f < N(states); f++)
                    if (strcmp(states[f].machine, m->name) == 0 && is_listed(events[i].from, states[f].name))
                        arrange(m, &states[f]);
            assert_int_equal(run(&events[i], m, other->name), DB_REFUSED);
        }
}

TEST_WITH(test_a_new_row_begins_in_its_state, rows_make, NULL)
{
    for (unsigned i = 0; i < N(events); i++)
        for (unsigned s = 0; s < N(states) && events[i].guard == NEW; s++)
            if (strcmp(states[s].machine, events[i].machine) == 0) {
                char sql[200];
                assert_string_equal(events[i].from, "");
                snprintf(sql, sizeof(sql), "SELECT {new %s} <=> %s", events[i].name, sql_of(&states[s]));
                sql_fine(has_parameter(&events[i]) ? db_query(look, sql, "s", SESSION) : db_query(look, sql, ""));
                assert_true(db_next(look));
                assert_int_equal(db_u64(look, 0), is_listed(events[i].to, states[s].name));
            }
}

/* Each column of a statement with several tables is that of the one that is named. */
TEST_WITH(test_an_alias, rows_make, NULL)
{
    exec_sql("UPDATE chasqui_items SET state = 'running', params = 'x'", "");
    exec_sql(
        "UPDATE chasqui_items i JOIN chasqui_items o ON o.idx = i.idx SET {become item.lose i} WHERE {from item.lose i}",
        "");
    assert_number(1, "SELECT state = 'failed' AND params IS NULL FROM chasqui_items", "");
}

TEST_MAIN(server_start, server_stop)
