/* SPDX-License-Identifier: MIT */
/*
 * names.c - `chasqui names KIND`: a name a line, for the shell's completion. Asks
 * a broker, for a moment only; says nothing when there is none: a shell waits.
 */
#include "ctl/broker.h"
#include "ctl/plain.h"

#include <stdio.h>
#include <string.h>

#define ASK_MS 1500

struct kind {
    const char *name, *path, *list, *key;
};

/* What a broker knows: a list of objects, and which member of theirs is the name. */
static const struct kind kinds[] = {
    {"workers", "/api/v1/ops/stats?history=0", "robots", "name"},
    {"batches", "/api/v1/ops/batches?limit=50", "batches", "id"},
    {"sessions", "/api/v1/ops/sessions?state=live&limit=200", "sessions", "session_id"},
    {"jobs", "/api/v1/ops/jobs?limit=50", "jobs", "id"},
};

/* What the configuration knows; a portal once. */
static void actions_print(const struct ctl *c, bool only_portals)
{
    const struct action *rows = c->conf->actions.rows;
    for (unsigned i = 0; i < c->conf->actions.n; i++) {
        bool is_new = true;
        for (unsigned k = 0; only_portals && k < i; k++)
            is_new &= strcmp(rows[k].portal, rows[i].portal) != 0;
        if (is_new)
            plain_line(stdout, "%s", only_portals ? rows[i].portal : rows[i].name);
    }
}

static void list_print(struct ctl *c, const struct kind *kind)
{
    struct http_request request = {
        .method = "GET", .base_url = c->conf->ctl_ops_url, .path = kind->path, .total_ms = ASK_MS};
    struct http_answer answer;
    char room[TEXT_ROOM];
    http_ask(c, &request, &answer);
    const struct jv *list = jv_get(answer.body, kind->list);
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *name = broker_text(jv_at(list, i), kind->key, room);
        if (name)
            plain_line(stdout, "%s", name);
    }
    jv_free(answer.body);
}

enum ctl_exit names_command(struct ctl *c)
{
    const char *wanted = c->args.word[0];
    if (strcmp(wanted, "actions") == 0 || strcmp(wanted, "portals") == 0) {
        actions_print(c, *wanted == 'p');
        return CTL_DONE;
    }
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(kinds[i].name, wanted) == 0) {
            list_print(c, &kinds[i]);
            return CTL_DONE;
        }
    return ctl_usage(c, "there are names of workers, batches, sessions, jobs, portals and actions");
}
