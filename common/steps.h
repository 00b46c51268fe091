/* SPDX-License-Identifier: MIT */
/*
 * steps.h - the steps of a round, as a batch's `then` names them:
 * [{"action":"sunat.buzon_list","params":{"page":1}}, ...].
 */
#ifndef CHASQUI_STEPS_H
#define CHASQUI_STEPS_H

#include "common/action.h"
#include "common/jv.h"

#define STEPS_MAX 8
#define STEPS_NAMES_ROOM (STEPS_MAX * (ACTION_NAME_MAX + 1) + 1)
#define STEPS_PARAMS_MAX 16384 /* bytes of all params as JSON */
#define STEPS_WHY_ROOM 120

struct steps {
    unsigned n;
    char names[STEPS_NAMES_ROOM]; /* a comma between two; "" = none */
    struct jv *params;            /* an array of n objects; owned; NULL = no step has params */
};

/* Reads and checks `then` (absent, null and [] mean no steps). Each action must be known, belong to `portal` (NULL
 * = any) and work in a session. Returns false with the reason in *why, in our own words; `out` is then empty.
 * Steps count from 0. */
bool steps_read(const struct jv *then, const struct action_table *actions, const char *portal, struct steps *out,
                char why[STEPS_WHY_ROOM]);
void steps_free(struct steps *s);
/* Reads the name of step i from `names`; false when there is none. */
bool steps_name(const char *names, unsigned i, char out[ACTION_NAME_MAX + 1]);
unsigned steps_count(const char *names);

#endif
