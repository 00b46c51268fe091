/* SPDX-License-Identifier: MIT */
/*
 * robot_answer.h - what a robot's answer means for a client, in one place for lists,
 * downloads, actions and log-ins.
 */
#ifndef CHASQUI_ROBOT_ANSWER_H
#define CHASQUI_ROBOT_ANSWER_H

#include "common/boots.h"
#include "dispatcher/wire/asked.h"

/* The error of a call without a whole answer; ERR_OK when it was answered, or when its status alone says enough. */
enum err answer_failure(const struct call_answer *a);
/* A sentence for clients where there is a better one than the error's own (certificates, another request's answer); NULL = none. */
const char *answer_message(const struct call_answer *a);
/* Logs curl's own words (never shown to clients) for a call that failed. */
void answer_note(const struct request *r, const struct robot *robot, const char *what,
                 const struct call_answer *a);
/* {"status":N,"error":"..","message":".."} from a robot's refusal, base URLs replaced, texts bounded. The caller takes it. */
struct jv *answer_words(struct dispatcher *d, const struct call_answer *a);
#define WORDS_SHOWN_MAX 500 /* characters of a robot's words that are shown */
#define TITLE_MAX 255       /* of chasqui_sessions.title */
/* Copies a text, fit for a column of that many characters, with base URLs replaced by names. */
void answer_text(struct dispatcher *d, const char *text, char *out, size_t room, size_t most);
/* Drops the byte order mark before JSON: RFC 8259 forbids it, and PHP's json_decode() and Python's json.loads() refuse it. What is encoded stays as it is. */
void answer_mark_drop(const struct call_answer *a);
bool answer_looks_like_json(
    const struct call_answer *a); /* by type and first byte: an object or an array begins */
/* The body's type as it may be passed on: what is no media type is application/octet-stream. */
const char *answer_type(const struct call_answer *a);
/* A refusal (not 2xx) as the client sees it: 502 robot_error with the robot's own words. */
void answer_refuse(struct dispatcher *d, struct request *r, const struct call_answer *a);

/* The boot id in an answer of /health, else in its header; "" = none. */
void answer_boot(const struct call_answer *a, char out[BOOT_ROOM]);

/* The end of an op of the store whose answer is JSON, as asked_json(), with robots' names in place of their base URLs: what Laravel
 * or a robot wrote may hold them. */
void answer_json(struct asked *a, enum store_rc rc, enum err e, struct buf *json);

#endif
