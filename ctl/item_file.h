/* SPDX-License-Identifier: MIT */
/*
 * item_file.h - a file of a batch's items, CSV or NDJSON, as NDJSON lines. A CSV
 * file's first row names its columns: company_id, and what becomes a param
 * each; an empty field is no param. Rows that cannot be an item are left out,
 * and told with their line in the file.
 */
#ifndef CHASQUI_CTL_ITEM_FILE_H
#define CHASQUI_CTL_ITEM_FILE_H

#include "ctl/ctl.h"

struct item_file;

/* "-" = standard input. NULL after saying why: it cannot be read, or its first row is not good. */
struct item_file *item_file_open(struct ctl *c, const char *path);
void item_file_close(struct item_file **fp);
/* An http_body_fn: whole lines follow one another. -1 after saying why it cannot be read on. */
long item_file_read(void *file, char *out, size_t room);
/* Reads on to the end, a line a call. false after saying why it cannot be read. */
bool item_file_each(struct item_file *f, void (*take)(void *arg, const char *text, size_t len), void *arg);
uint64_t item_file_lines(const struct item_file *f); /* handed out so far */
uint64_t item_file_line(const struct item_file *f,
                        uint64_t index); /* where the index-th of them begins in the file */
/* Rows left out: how many, and the first 1,000 as [{"line":N,"error":"why"}], borrowed. */
uint64_t item_file_bad_total(const struct item_file *f);
struct jv *item_file_bad(const struct item_file *f);
void item_file_bad_each(const struct item_file *f, void (*fn)(void *arg, uint64_t line, const char *why),
                        void *arg); /* of those */
/* {"field":["why"]} as a sentence, appended to text. */
void item_file_errors(struct buf *text, const struct jv *errors);

#endif
