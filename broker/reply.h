/* SPDX-License-Identifier: MIT */
/* reply.h - the form of answers: error bodies, a dispatcher's reply as HTTP, names of files. */
#ifndef CHASQUI_BROKER_REPLY_H
#define CHASQUI_BROKER_REPLY_H

#include "broker/broker.h"

struct answer;
struct pull;

/* These set x->answer, once. `message` NULL = the code's own text; `extra` (taken, may be NULL) = more members. */
void reply_error(struct exchange *x, enum err e, const char *message, struct jv *extra);
void reply_jv(struct exchange *x, unsigned status, struct jv *body); /* takes body */
void reply_text(struct exchange *x, unsigned status, const char *type,
                struct buf *body); /* takes its bytes; type static */
void reply_empty(struct exchange *x, unsigned status);
void reply_header(struct exchange *x, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Answers with a dispatcher's reply. */
void reply_take(struct exchange *x, const struct msg_REPLY *m, struct str payload);
void reply_stream(struct exchange *x, const struct msg_REPLY_HEAD *m);
void reply_events(struct exchange *x, struct pull *events);
/* Answers as reply_take() does for an invalid reply. */
void reply_refuse(struct exchange *x, const char *why);
void answer_clear(struct answer *a);

#endif
