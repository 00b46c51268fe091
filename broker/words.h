/* SPDX-License-Identifier: MIT */
/* words.h - states what is wrong, in words: examines every part and reports each problem once, the worst first. */
#ifndef CHASQUI_BROKER_WORDS_H
#define CHASQUI_BROKER_WORDS_H

#include "broker/broker.h"
#include "broker/phrase.h"

/* [{level,code,who,since,text,text_es,todo,todo_es}], worst first; *state = the worst level's name (static). */
struct jv *words_jv(const struct broker *b, const char **state);
/* "Until 12 s ago: " and the text, in that language. */
void words_past(struct buf *out, int64_t ago_ms, enum language language, const char *text);
void words_new(struct broker *b);
void words_destroy(struct broker *b);
void words_tick(const struct broker *b); /* each second, even without a reader */

#endif
