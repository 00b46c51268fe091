/* SPDX-License-Identifier: MIT */
/*
 * portal_shape.h - writes SQL texts for the shape that portal_jobs has in this database. Laravel makes the table,
 * and may change it while we run. Pure, except that it reads time zones. Used on one connection's thread.
 *
 * A text may hold
 *   {now created_at}          this moment, as Laravel would write it into that column of portal_jobs
 *   {wall created_at SQL}     likewise the moment that SQL (in UTC) yields
 *   {utc j.created_at}        the moment that Laravel wrote there, in UTC
 *   {queued}                  the word for this status there, quoted: laravel.status.queued
 *   {word SQL}                the word there for our status that SQL yields
 *   {status j.status}         our status that Laravel's column names; an unknown word stays unchanged
 *   {payload}                 of an INSERT: that column after the others, if laravel.columns names it and the
 *                             table has it
 *   {payload value}           likewise its value: the body of execute, without params
 *   {user}, {user value}      likewise user_id, whose value is one more parameter: see shape_fills_user()
 *   {result}, {result j}      at the end of an UPDATE's SET: the column result, from the row's values set so far
 *   {message SQL}             the text that SQL yields, as that column can hold it: characters that its character
 *                             set lacks become "?", and it is cut to the column's length
 *   {become job.fail}, ...    an event of db/state.def: see db/state.h
 *   j.deleted_at              NULL while the table has no such column
 */
#ifndef CHASQUI_PORTAL_SHAPE_H
#define CHASQUI_PORTAL_SHAPE_H

#include "common/buf.h"
#include "common/conf.h"

#include <stdbool.h>
#include <stdint.h>

#define SHAPE_EVERY_MS 5000 /* interval of looking at it again */
#define SHAPE_TIMES 5
enum {
    STATUS_QUEUED,
    STATUS_RETRYING,
    STATUS_RUNNING,
    STATUS_DONE,
    STATUS_FAILED,
    STATUS_CANCELLED,
    STATUS_WORDS
};
enum { FILL_PAYLOAD, FILL_RESULT, FILL_USER, SHAPE_FILLS };

struct portal_shape {
    bool has_deleted_at;
    bool is_timestamp[SHAPE_TIMES];
    int64_t wall_s[SHAPE_TIMES];
    char message_set[33];
    unsigned message_chars;         /* at most 1,000 */
    const char *word[STATUS_WORDS]; /* laravel.status.*, borrowed from the configuration; NULL = our own */
    bool fills[SHAPE_FILLS];        /* laravel.columns names it, and the table has it */
    const char *columns;            /* laravel.columns, borrowed; NULL = none */
    char lacks[24];                 /* the first of our words that the column, an ENUM, lacks */
};

/* The query whose rows are passed to shape_row(): column name, data type (for status: with its values), character
 * set or NULL, length or NULL. */
#define SHAPE_SQL                                                                                                                                                                               \
    "SELECT COLUMN_NAME, IF(COLUMN_NAME = 'status', COLUMN_TYPE, DATA_TYPE), CHARACTER_SET_NAME, CHARACTER_MAXIMUM_LENGTH FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND " \
    "TABLE_NAME = 'portal_jobs' AND COLUMN_NAME IN ('deleted_at', 'created_at', 'updated_at', 'available_at', 'started_at', 'finished_at', 'message', 'status', 'payload', 'result', 'user_id')"
void shape_begin(struct portal_shape *s);
void shape_row(struct portal_shape *s, const char *column, const char *data_type, const char *charset,
               const char *length);
/* Fills in the offsets of laravel.time_zone at this moment. */
void shape_zones(struct portal_shape *s, const struct conf *conf, int64_t unix_s);
/* Takes laravel.status.* and laravel.columns, which must outlive the shape. */
void shape_words(struct portal_shape *s, const struct conf *conf);
/* Whether the value is in an ENUM's COLUMN_TYPE. Compared as its collation does: letter case is ignored. */
bool shape_enum_has(const char *type, const char *value);
/* Laravel's word in that column for our status. */
const char *shape_word(const struct portal_shape *s, const char *status);
/* Whether {user} and {user value} yield a column and its parameter. If not, they yield nothing. */
bool shape_fills_user(const struct portal_shape *s);
/* Whether the text depends on the shape. */
bool shape_concerns(const char *sql);
void shape_text(const struct portal_shape *s, const char *sql, struct buf *out);

#endif
