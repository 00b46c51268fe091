/* SPDX-License-Identifier: MIT */
/* known.c - portals and actions by the configuration, and what somebody meant who mistyped one. */
#include "ctl/known.h"

#include "ctl/nearest.h"
#include "ctl/then.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_MAX 8

static bool portal_is_known(const struct action_table *t, const char *portal)
{
    for (unsigned i = 0; i < t->n; i++)
        if (strcmp(t->rows[i].portal, portal) == 0)
            return true;
    return false;
}

static void portal_meant(const struct action_table *t, const char *portal, struct buf *out)
{
    struct nearest n = {.typed = portal};
    for (unsigned i = 0; i < t->n; i++)
        nearest_offer(&n, t->rows[i].portal);
    if (n.best)
        buf_addf(out, " (did you mean the portal %s?)", n.best);
}

/* The nearest of that portal and kind, or the only one; else all, when they are few. */
static void action_meant(const struct action_table *t, const char *portal, const char *typed,
                         enum action_session session, struct buf *out)
{
    struct nearest n = {.typed = typed};
    struct buf list = {0};
    const char *last = NULL;
    unsigned count = 0;
    for (unsigned i = 0; i < t->n; i++) {
        const struct action *a = &t->rows[i];
        if (a->session != session || strcmp(a->portal, portal) != 0)
            continue;
        nearest_offer(&n, a->name);
        buf_addf(&list, "%s%s", count++ ? ", " : "", a->name);
        last = a->name;
    }
    const char *best = n.best ? n.best : count == 1 ? last : NULL;
    if (best)
        buf_addf(out, " (did you mean %s?)", best);
    else if (count && count <= LISTED_MAX)
        buf_addf(out, " (%s has %s)", portal, list.data);
    else if (!count && !portal_is_known(t, portal))
        portal_meant(t, portal, out);
    buf_free(&list);
}

static bool refuse(struct ctl *c, const char *option, const char *name, const char *why, const struct buf *meant)
{
    ctl_usage(c,
              "--%s %s %s%s. With --force it is taken all the same, for dispatchers whose configuration has it.",
              option, name, why, meant->len ? meant->data : "");
    return false;
}

bool known_action_ok(struct ctl *c, const char *portal, const char *action)
{
    const struct action_table *t = &c->conf->actions;
    const struct action *a = action_find(t, action);
    struct buf meant = {0};
    if (c->args.n[OPT_FORCE] || (a && a->session == ACTION_CREATE))
        return true;
    action_meant(t, portal, action, ACTION_CREATE, &meant);
    refuse(c, "action", action, a ? "is not a log-in" : "is not an action that is known here", &meant);
    buf_free(&meant);
    return false;
}

/* The rest of what a broker asks of steps. */
static bool params_ok(struct ctl *c, const char *portal, const struct steps *steps)
{
    enum jv_bad bad;
    char why[STEPS_WHY_ROOM], *text = then_text(steps);
    struct steps read;
    struct jv *then = text ? jv_parse(text, strlen(text), &bad) : NULL;
    bool good = steps_read(then, &c->conf->actions, portal, &read, why);
    if (good)
        steps_free(&read);
    else
        ctl_usage(c, "--then: %s", why);
    jv_wipe(then);
    free(text);
    return good;
}

bool known_steps_ok(struct ctl *c, const char *portal, const struct steps *steps)
{
    const struct action_table *t = &c->conf->actions;
    char name[ACTION_NAME_MAX + 1];
    bool good = true;
    for (unsigned i = 0; good && !c->args.n[OPT_FORCE] && steps_name(steps->names, i, name); i++) {
        const struct action *a = action_find(t, name);
        struct buf meant = {0};
        if (a && a->session == ACTION_USE)
            continue;
        action_meant(t, portal, name, ACTION_USE, &meant);
        good = refuse(c, "then", name,
                      a ? "is a log-in, which makes a session" : "is not an action that is known here", &meant);
        buf_free(&meant);
    }
    return good && (c->args.n[OPT_FORCE] || params_ok(c, portal, steps));
}

/* The first step of --then that is no action in a session. */
static void then_hint(const struct ctl *c, const struct action_table *t, const char *portal, struct buf *out)
{
    for (unsigned i = 0; i < c->args.n[OPT_THEN]; i++) {
        char name[ACTION_NAME_MAX + 1];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(c->args.value[OPT_THEN][i], "="),
                 c->args.value[OPT_THEN][i]);
        const struct action *a = action_find(t, name);
        if (!a || a->session != ACTION_USE) {
            action_meant(t, portal, name, ACTION_USE, out);
            return;
        }
    }
}

void known_hint(const struct ctl *c, const char *field, struct buf *out)
{
    const struct action_table *t = &c->conf->actions;
    const char *portal = args_value(&c->args, OPT_PORTAL), *action = args_value(&c->args, OPT_ACTION);
    if (portal && strcmp(field, "portal") == 0 && !portal_is_known(t, portal))
        portal_meant(t, portal, out);
    else if (portal && action && strcmp(field, "action") == 0 && !action_find(t, action))
        action_meant(t, portal, action, ACTION_CREATE, out);
    else if (portal && strcmp(field, "then") == 0)
        then_hint(c, t, portal, out);
}
