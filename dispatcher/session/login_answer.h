/* SPDX-License-Identifier: MIT */
/* login_answer.h - the answers to a client about a log-in. */
#ifndef CHASQUI_DISPATCHER_LOGIN_ANSWER_H
#define CHASQUI_DISPATCHER_LOGIN_ANSWER_H

#include "dispatcher/dispatcher.h"

/* The 200 of execute. url and titulo are the robot's own texts, base URLs replaced; null when no longer known. */
struct jv *login_body(struct dispatcher *d, const struct session_row *row, const char *job_uid, const char *url,
                      bool reused);
struct jv *job_extra(uint64_t job_id, const char *job_uid); /* {job_id, job_uid?} */
/* 202 {ok,job_id,job_uid,status:"queued"} */
void enqueue_answer(struct dispatcher *d, struct request *r, uint64_t job_id, const char *job_uid);

#endif
