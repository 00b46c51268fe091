/* SPDX-License-Identifier: MIT */
/*
 * attempt.h - how one attempt of a job ended, where its time went, and what the
 * robot said. Pure.
 */
#ifndef CHASQUI_ATTEMPT_H
#define CHASQUI_ATTEMPT_H

#include "common/action.h"
#include "common/jv.h"

#define ROBOT_ERROR_CHARS 64
#define ROBOT_MESSAGE_CHARS 500

enum attempt_outcome {
#define OUTCOME(symbol, name, text) OUTCOME_##symbol,
#include "dispatcher/store/attempt.def"
#undef OUTCOME
    OUTCOME_COUNT
};
extern const char *const outcome_name[OUTCOME_COUNT];

struct attempt_end {
    uint32_t n; /* 1 = the job's first */
    enum attempt_outcome outcome;
    int64_t queued_ms, robot_ms;                                                 /* -1 = not known */
    int status;                                                                  /* HTTP, 0 = no answer */
    char error[ROBOT_ERROR_CHARS * 4 + 1], message[ROBOT_MESSAGE_CHARS * 4 + 1]; /* "" = it said none */
};

/* Keeps what the robot said, from {"status","error","message"} as answer_words() makes it; NULL = nothing was said. */
void attempt_words(struct attempt_end *a, const struct jv *words);
/* Is the code in a comma list? NULL = an empty one, or no code. */
bool code_is_in(const char *comma_list, const char *code);
/* What a refusal of that action is: a status (HTTP) and the robot's own code, NULL = none. */
enum attempt_outcome outcome_of_refusal(const struct action *action, int status, const char *code);

#endif
