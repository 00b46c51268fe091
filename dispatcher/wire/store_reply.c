/* SPDX-License-Identifier: MIT */
/*
 * store_reply.c - turns a failure of the database into an answer. Owns nothing. Answers contain the names of
 * tables, constraints and columns, and never values.
 */
#include "dispatcher/wire/store_reply.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include <stdio.h>
#include <string.h>

enum err store_err(enum store_rc rc)
{
    switch (rc) {
    case STORE_OK:
        return ERR_OK;
    case STORE_REFUSED:
        return ERR_REFUSED_BY_DATABASE;
    case STORE_DOWN:
    case STORE_UNKNOWN:
        break;
    }
    return ERR_DATABASE_UNAVAILABLE;
}

static void name_add(struct jv *errors, const char *field, const char *name)
{
    if (!*name)
        return;
    struct jv *list = jv_new_array();
    jv_push_str(list, name);
    jv_set(errors, field, list);
}

struct jv *refusal_extra(const struct db_refusal *r)
{
    if (!r || !r->number)
        return NULL;
    struct jv *extra = jv_new_object(), *errors = jv_new_object();
    name_add(errors, "table", r->table);
    name_add(errors, "constraint", r->constraint);
    name_add(errors, "column", r->column);
    name_add(errors, "reason", r->text);
    jv_set(extra, "errors", errors);
    return extra;
}

const char *refusal_message(const struct db_refusal *r, char out[REFUSAL_WORDS_ROOM])
{
    char words[REFUSAL_WORDS_ROOM - 60];
    out[0] = 0;
    if (r && r->number) {
        db_refusal_words(r, words, sizeof(words));
        snprintf(out, REFUSAL_WORDS_ROOM, "The database refuses the row: %s. Nothing was changed.", words);
    }
    return out;
}

void reply_store_err(struct dispatcher *d, struct request *r, enum err e, const char *message)
{
    char words[REFUSAL_WORDS_ROOM];
    const struct db_refusal *why = e == ERR_REFUSED_BY_DATABASE ? store_refusal(d->store) : NULL;
    reply_error(d, r, e, why ? refusal_message(why, words) : message, refusal_extra(why));
}

const char *store_down_words(const struct dispatcher *d)
{
    struct store_state s = store_state(d->store);
    switch (s.state) {
    case DB_STATE_READ_ONLY:
        return "The database is read-only: nothing can be changed now.";
    case DB_STATE_HUNG:
        return "The database does not answer.";
    case DB_STATE_GONE:
        return strstr(s.why, ": 1047 ") ? "The database node has no quorum." : "The database cannot be reached.";
    case DB_STATE_UP:
        break;
    }
    return store_is_full(d->store)
               ? "The database prepares no more statements: its max_prepared_stmt_count is reached."
               : NULL;
}

void reply_store(struct dispatcher *d, struct request *r, enum store_rc rc)
{
    reply_store_err(d, r, store_err(rc), rc == STORE_REFUSED ? NULL : store_down_words(d));
}
