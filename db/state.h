/* SPDX-License-Identifier: MIT */
/*
 * state.h - the SQL of an event of state.def. Pure; any thread.
 *
 * A statement may hold
 *   {become job.fail}       of an UPDATE's SET: the state, and the columns that the event writes
 *   {become job.end ?}      the parameter names one of several to-states; another word is NULL, which the
 *                           column refuses
 *   {become item.lose i}    of a SET with several tables: each column is that of i
 *   {from job.fail}         of its WHERE: the from-states; {from item.lose i} likewise
 *   {new job.act}           of an INSERT: the value of the state that the row begins in
 */
#ifndef CHASQUI_DB_STATE_H
#define CHASQUI_DB_STATE_H

#include "common/buf.h"

#include <stdbool.h>

/* Whether it is the first word of such a placeholder. */
bool state_is_word(const char *word);
/* Appends the placeholder's SQL, which may hold placeholders of portal_shape.h. `more` is the text behind the
 * event, "" for none. An event that state.def lacks, or has with another guard, is our bug. */
void state_write(const char *word, const char *event, const char *more, struct buf *out);

#endif
