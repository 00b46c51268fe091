/* SPDX-License-Identifier: MIT */
/*
 * state.h - the SQL that an event of state.def stands for. Pure; any thread.
 *
 * A statement may hold
 *   {become job.fail}       of an UPDATE's SET: the state, and the columns that the event writes
 *   {become job.end ?}      the parameter names the to-state, where there are several; another word is NULL, which the column refuses
 *   {become item.lose i}    of a SET with several tables: each column is that of i
 *   {from job.fail}         of its WHERE: the from-states; {from item.lose i} likewise
 *   {new job.act}           of an INSERT: the value of the state that the row begins in
 */
#ifndef CHASQUI_DB_STATE_H
#define CHASQUI_DB_STATE_H

#include "common/buf.h"

#include <stdbool.h>

/* Is it the first word of such a placeholder? */
bool state_is_word(const char *word);
/* Appends what the placeholder stands for, which may hold those of portal_shape.h. `more` is what stands behind the event, "" for nothing.
 * An event that state.def lacks, or has with another guard, is our bug. */
void state_write(const char *word, const char *event, const char *more, struct buf *out);

#endif
