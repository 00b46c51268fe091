/* SPDX-License-Identifier: MIT */
/* robot_answer.c - reads robots' answers. Trusts no part of them. */
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/curl_word.h"
#include "common/log.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TEXT_LOOKED_AT 8192 /* bytes of a text that are read; the rest is not shown */
#define WORDS_MAX 4096      /* a refusal's body is read only when it is small */

enum err answer_failure(const struct call_answer *a)
{
    switch (a->result) {
    case CALL_ANSWERED:
        return a->status >= 200 && a->status <= 599 ? ERR_OK : ERR_ROBOT_BAD_RESPONSE;
    case CALL_NOT_SENT:
        return ERR_ROBOT_UNREACHABLE;
    case CALL_TIMEOUT:
        return ERR_DEADLINE_EXCEEDED;
    case CALL_BROKEN:
        return a->garbage ? ERR_ROBOT_BAD_RESPONSE : ERR_ROBOT_UNREACHABLE;
    case CALL_TOO_BIG: /* a refusal counts, however long its page is */
        return a->status >= 300 && a->status <= 599 ? ERR_OK : ERR_ROBOT_BAD_RESPONSE;
    case CALL_STOPPED:
        break;
    }
    return ERR_ROBOT_BAD_RESPONSE;
}

const char *answer_message(const struct call_answer *a)
{
    return a->echo == ECHO_OTHER
               ? "The robot answered with another request's X-Request-Id; the answer was not used."
               : curl_word_text(a->why);
}

void answer_note(const struct request *r, const struct robot *robot, const char *what, const struct call_answer *a)
{
    log_line(LOG_WARN, "robot_call_failed", "request", r ? r->request_id : "", "robot", robot ? robot->name : "",
             "call", what, "status", log_i(a->status), "ms", log_i(a->took_ms), "why", a->why, "curl",
             a->curl_text, NULL);
}

/* Base URLs are replaced before the text is cut, because a cut URL would not be recognised. */
void answer_text(struct dispatcher *d, const char *text, char *out, size_t room, size_t most)
{
    char whole[TEXT_LOOKED_AT];
    text_clean(whole, sizeof(whole), text, text ? strlen(text) : 0, sizeof(whole));
    robots_hide_urls(d, whole, sizeof(whole));
    text_clean(out, room, whole, strlen(whole), most);
}

struct jv *answer_words(struct dispatcher *d, const struct call_answer *a)
{
    struct jv *words = jv_new_object();
    enum jv_bad why;
    bool is_small = a->result == CALL_ANSWERED && a->body->len && a->body->len <= WORDS_MAX;
    struct jv *body = is_small ? jv_parse_mended(a->body->data, a->body->len, &why) : NULL;
    static const char *const keys[] = {"error", "message"};
    jv_set_int(words, "status", a->status);
    for (unsigned i = 0; i < 2; i++) {
        char text[WORDS_SHOWN_MAX * 4 + 1];
        const char *told = jv_type(body) == JV_OBJECT ? jv_str(jv_get(body, keys[i])) : NULL;
        answer_text(d, told, text, sizeof(text), WORDS_SHOWN_MAX);
        jv_set_str(words, keys[i], told ? text : NULL);
    }
    jv_free(body);
    return words;
}

static bool answer_is_json(const struct call_answer *a)
{
    size_t n = strcspn(a->content_type, "; \t");
    return (n == 16 && strncasecmp(a->content_type, "application/json", 16) == 0) ||
           (n > 5 && strncasecmp(a->content_type + n - 5, "+json", 5) == 0);
}

void answer_mark_drop(const struct call_answer *a)
{
    struct buf *b = a->body;
    if (answer_is_json(a) && !a->content_encoding[0] && b->len >= 3 && memcmp(b->data, "\xef\xbb\xbf", 3) == 0)
        memmove(b->data, b->data + 3, b->len -= 3);
}

bool answer_looks_like_json(const struct call_answer *a)
{
    size_t at = 0;
    while (at < a->body->len && memchr(" \t\r\n", a->body->data[at], 4))
        at++;
    if (a->content_encoding[0]) /* encoded bodies pass unchanged; only the caller sees their content */
        return answer_is_json(a) && a->body->len > 0;
    return answer_is_json(a) && at < a->body->len && (a->body->data[at] == '{' || a->body->data[at] == '[');
}

const char *answer_type(const struct call_answer *a)
{
    const char *type = a->content_type, *slash = strchr(type, '/');
    return slash && slash != type && slash[1] ? type : "application/octet-stream";
}

void answer_refuse(struct dispatcher *d, struct request *r, const struct call_answer *a)
{
    struct jv *extra = jv_new_object();
    jv_set(extra, "robot", answer_words(d, a));
    reply_error(d, r, ERR_ROBOT_ERROR, NULL, extra);
}

void answer_json(struct asked *a, enum store_rc rc, enum err e, struct buf *json)
{
    if (rc == STORE_OK && !e) {
        buf_room(json, json->len + 4096);
        robots_hide_urls(a->d, json->data, json->room);
        json->len = strlen(json->data);
    }
    asked_json(a, rc, e, json);
}
