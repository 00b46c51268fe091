/* SPDX-License-Identifier: MIT */
/* attempt.c - how attempts end, and what robots say at it. */
#include "dispatcher/store/attempt.h"

#include "common/text.h"

#include <string.h>

const char *const outcome_name[OUTCOME_COUNT] = {
#define OUTCOME(symbol, name, text) [OUTCOME_##symbol] = name,
#include "dispatcher/store/attempt.def"
#undef OUTCOME
};

static void word_keep(char *out, size_t room, const struct jv *v, size_t most)
{
    const char *text = jv_str(v);
    text_clean(out, room, text, text ? strlen(text) : 0, most);
}

void attempt_words(struct attempt_end *a, const struct jv *words)
{
    int64_t status = 0;
    a->status = jv_int(jv_get(words, "status"), &status) && status >= 100 && status <= 999 ? (int)status : 0;
    word_keep(a->error, sizeof(a->error), jv_get(words, "error"), ROBOT_ERROR_CHARS);
    word_keep(a->message, sizeof(a->message), jv_get(words, "message"), ROBOT_MESSAGE_CHARS);
}

bool code_is_in(const char *comma_list, const char *code)
{
    size_t len = code ? strlen(code) : 0;
    for (const char *at = comma_list; at && *at && len;) {
        at += strspn(at, " ");
        size_t n = strcspn(at, ", ");
        if (n == len && memcmp(at, code, n) == 0)
            return true;
        at += n + strspn(at + n, ", ");
    }
    return false;
}

enum attempt_outcome outcome_of_refusal(const struct action *action, int status, const char *code)
{
    if (code_is_in(action->portal_errors, code))
        return OUTCOME_PORTAL;
    if (code_is_in(action->final_errors, code))
        return OUTCOME_REFUSED;
    bool is_2xx = status >= 200 && status < 300;
    return status >= 500 || (!is_2xx && !code) ? OUTCOME_ROBOT
                                               : OUTCOME_REFUSED; /* a page without a code is no refusal */
}
