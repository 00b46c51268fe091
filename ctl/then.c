/* SPDX-License-Identifier: MIT */
/* then.c - reads --then. Whether an action is configured is not asked here. */
#include "ctl/then.h"

#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_step_name(const char *name, size_t len, const char *portal)
{
    size_t prefix = strlen(portal);
    if (len > ACTION_NAME_MAX || len <= prefix + 1 || strncmp(name, portal, prefix) != 0 || name[prefix] != '.')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", name[i]))
            return false;
    return true;
}

bool args_then(struct ctl *c, const char *portal, struct steps *out)
{
    enum jv_bad bad;
    bool have_params = false;
    *out = (struct steps){.params = jv_new_array()};
    if (c->args.n[OPT_THEN] > STEPS_MAX) {
        steps_free(out);
        return ctl_usage(c, "--then: a round has at most %d steps", STEPS_MAX), false;
    }
    for (unsigned i = 0; i < c->args.n[OPT_THEN]; i++) {
        const char *text = c->args.value[OPT_THEN][i];
        size_t len = strcspn(text, "="), at = strlen(out->names);
        struct jv *params = text[len] ? jv_parse(text + len + 1, strlen(text + len + 1), &bad) : jv_new_object();
        if (!is_step_name(text, len, portal) || jv_type(params) != JV_OBJECT) {
            jv_free(params);
            steps_free(out);
            return ctl_usage(
                       c,
                       "--then must be an action of the portal, %.64s.NAME, or one with params: %.64s.NAME={\"page\":2}",
                       portal, portal),
                   false;
        }
        snprintf(out->names + at, sizeof(out->names) - at, "%s%.*s", i ? "," : "", (int)len, text);
        have_params |= jv_len(params) > 0;
        jv_push(out->params, params);
        out->n++;
    }
    if (!have_params) {
        jv_free(out->params);
        out->params = NULL;
    }
    return true;
}

char *then_text(const struct steps *s)
{
    char name[ACTION_NAME_MAX + 1];
    struct jv *list = jv_new_array();
    size_t len;
    for (unsigned i = 0; steps_name(s->names, i, name); i++) {
        struct jv *step = jv_new_object();
        jv_set_str(step, "action", name);
        if (s->params)
            jv_set(step, "params", jv_copy(jv_at(s->params, i)));
        jv_push(list, step);
    }
    char *text = s->n ? jv_dump(list, &len) : NULL;
    jv_free(list);
    return text;
}
