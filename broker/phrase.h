/* SPDX-License-Identifier: MIT */
/*
 * phrase.h - fills in the sentences of words.def. Pure.
 */
#ifndef CHASQUI_PHRASE_H
#define CHASQUI_PHRASE_H

#include "common/buf.h"
#include <stdbool.h>
#include <stdint.h>

enum word_level { WORD_OK, WORD_WARN, WORD_BAD };
extern const char *const word_level_name[3];

enum word {
#define WORD(symbol, code, level, en, es, todo, todo_es) WORD_##symbol,
#include "broker/words.def"
#undef WORD
    WORD_COUNT
};
enum language { ENGLISH, SPANISH };

struct word_row {
    const char *code;
    enum word_level level;
    const char *text[2], *todo[2]; /* by language */
};
extern const struct word_row word_table[WORD_COUNT];

struct phrase_args {
    const char *who, *why; /* NULL = "" */
    const char *how;       /* the options of a command */
    int64_t n, m, k;
    int64_t time_ms; /* a duration */
};
/* {who} {why} {how} {n} {m} {k} {time}, and {n|one|many}: `one` when n is 1. Numbers are grouped as the language
 * does. */
void phrase_fill(struct buf *out, const char *text, enum language language, const struct phrase_args *args);

#endif
