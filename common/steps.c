/* SPDX-License-Identifier: MIT */
/* steps.c - reads the steps of a round. Pure: knows no batch and no session. */
#include "common/steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const reserved[] = {"session_id", "company_id", "portal", "job_uid", "epoch"};

static bool is_absent(const struct jv *v)
{
    return jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL ||
           jv_is_empty_array(v); /* PHP writes an empty object like that */
}

/* Returns NULL when good, else what is wrong. */
static const char *action_check(const struct jv *step, const struct action_table *actions, const char *portal,
                                const struct action **out)
{
    const char *name = jv_str(jv_get(step, "action"));
    if (jv_type(step) != JV_OBJECT || !name)
        return "must be an object with an action";
    const struct action *a = *out = action_find(actions, name);
    if (!a)
        return "its action is not known here";
    if (a->session == ACTION_CREATE)
        return "its action is a log-in, which makes a session";
    if (portal && strcmp(a->portal, portal) != 0)
        return "its action is of another portal";
    return NULL;
}

static const char *params_check(const struct jv *params)
{
    if (is_absent(params))
        return NULL;
    if (jv_type(params) != JV_OBJECT)
        return "its params must be an object";
    for (unsigned i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (jv_get(params, reserved[i]))
            return "its params hold a name that is set here (session_id, company_id, portal, job_uid, epoch)";
    return NULL;
}

static bool is_too_long(const struct jv *params)
{
    size_t len = 0;
    char *text = jv_dump(params, &len);
    free(text);
    return len > STEPS_PARAMS_MAX;
}

bool steps_read(const struct jv *then, const struct action_table *actions, const char *portal, struct steps *out,
                char why[STEPS_WHY_ROOM])
{
    bool have_params = false;
    *out = (struct steps){0};
    if (is_absent(then))
        return true;
    if (jv_type(then) != JV_ARRAY || jv_len(then) > STEPS_MAX) {
        snprintf(why, STEPS_WHY_ROOM, "must be a list of at most %d steps", STEPS_MAX);
        return false;
    }
    out->params = jv_new_array();
    for (unsigned i = 0; i < jv_len(then); i++) {
        const struct jv *step = jv_at(then, i), *params = jv_get(step, "params");
        const struct action *action = NULL;
        const char *bad = action_check(step, actions, portal, &action);
        bad = bad ? bad : params_check(params);
        if (bad) {
            snprintf(why, STEPS_WHY_ROOM, "step %u: %s", i, bad);
            steps_free(out);
            return false;
        }
        size_t len = strlen(out->names);
        snprintf(out->names + len, sizeof out->names - len, "%s%s", i ? "," : "", action->name);
        have_params |= !is_absent(params);
        jv_push(out->params, is_absent(params) ? jv_new_object() : jv_copy(params));
        out->n++;
    }
    if (is_too_long(out->params)) {
        snprintf(why, STEPS_WHY_ROOM, "the params of all steps are more than %d bytes", STEPS_PARAMS_MAX);
        steps_free(out);
        return false;
    }
    if (!have_params) {
        jv_free(out->params);
        out->params = NULL;
    }
    return true;
}

void steps_free(struct steps *s)
{
    jv_wipe(s->params);
    *s = (struct steps){0};
}

bool steps_name(const char *names, unsigned i, char out[ACTION_NAME_MAX + 1])
{
    for (; i && *names; i--) {
        names += strcspn(names, ",");
        names += *names == ',';
    }
    size_t len = strcspn(names, ",");
    out[0] = 0;
    if (!len || len > ACTION_NAME_MAX)
        return false;
    memcpy(out, names, len);
    out[len] = 0;
    return true;
}

unsigned steps_count(const char *names)
{
    unsigned n = *names != 0;
    for (; *names; names++)
        n += *names == ',';
    return n;
}
