/* SPDX-License-Identifier: MIT */
/* tally.h - this dispatcher's counts by robot and by company, and their reports to the brokers. */
#ifndef CHASQUI_DISPATCHER_TALLY_H
#define CHASQUI_DISPATCHER_TALLY_H

#include "dispatcher/dispatcher.h"

struct tally *tally_new(struct dispatcher *d);
void tally_destroy(struct tally **tp);
void tally_greeted(struct dispatcher *d, unsigned peer); /* a broker has just greeted us */
void tally_login_begun(struct dispatcher *d, uint32_t robot_id);
void tally_login_ended(struct dispatcher *d, uint32_t robot_id, bool is_open,
                       int64_t took_ms /* -1 = nothing was sent */);
void tally_mute(struct dispatcher *d, uint32_t robot_id, unsigned unanswered); /* 0 = it answers */
void tally_fault(struct dispatcher *d, uint32_t robot_id, enum fault fault);
void tally_called(void *arg, uint32_t robot_id, bool is_login, const struct call_answer *a); /* a call_watch_fn */
void tally_attempt(struct dispatcher *d, const char *portal, const char *action, const char *outcome,
                   const char *robot_error);
void tally_waited(struct dispatcher *d, uint64_t company_id, uint64_t ms);
void tally_request(struct dispatcher *d, const struct request *r);         /* it ends */
void tally_queued(struct dispatcher *d, uint64_t company_id, uint64_t ms); /* a queued job, until its claim */
void tally_used(struct dispatcher *d, uint64_t company_id, uint64_t ms);

#endif
