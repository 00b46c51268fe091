/* SPDX-License-Identifier: MIT */
/*
 * robot_answer.h - the meaning of a robot's answer for a client, in one place for lists, downloads, actions and
 * log-ins.
 */
#ifndef CHASQUI_ROBOT_ANSWER_H
#define CHASQUI_ROBOT_ANSWER_H

#include "common/boots.h"
#include "dispatcher/wire/asked.h"

/* The error of a call without a whole answer. ERR_OK when it was answered, or when its status alone is enough. */
enum err answer_failure(const struct call_answer *a);
/* A message for clients that is better than the error's own (certificates, another request's answer); NULL =
 * none. */
const char *answer_message(const struct call_answer *a);
/* Logs curl's own message (never shown to clients) for a failed call. */
void answer_note(const struct request *r, const struct robot *robot, const char *what,
                 const struct call_answer *a);
/* {"status":N,"error":"..","message":".."} from a robot's refusal, base URLs replaced, texts bounded. The caller
 * owns it. */
struct jv *answer_words(struct dispatcher *d, const struct call_answer *a);
#define WORDS_SHOWN_MAX 500 /* characters shown of a robot's text */
#define TITLE_MAX 255       /* of chasqui_sessions.title */
/* Copies a text, fit for a column of that many characters, with base URLs replaced by names. */
void answer_text(struct dispatcher *d, const char *text, char *out, size_t room, size_t most);
/* Drops the byte order mark before JSON: RFC 8259 forbids it, and PHP's json_decode() and Python's json.loads()
 * refuse it. An encoded body stays unchanged. */
void answer_mark_drop(const struct call_answer *a);
bool answer_looks_like_json(
    const struct call_answer *a); /* by type and first byte: an object or an array begins */
/* The body's type in a form that may be passed on. An invalid media type becomes application/octet-stream. */
const char *answer_type(const struct call_answer *a);
/* Answers a refusal (not 2xx) as the client sees it: 502 robot_error with the robot's own text. */
void answer_refuse(struct dispatcher *d, struct request *r, const struct call_answer *a);

/* Reads the boot id from an answer of /health, else from its header; "" = none. */
void answer_boot(const struct call_answer *a, char out[BOOT_ROOM]);

/* Completes an op of the store whose answer is JSON, as asked_json(). Robots' base URLs are replaced by their
 * names, because texts by Laravel or by a robot may hold them. */
void answer_json(struct asked *a, enum store_rc rc, enum err e, struct buf *json);

#endif
