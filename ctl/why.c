/* SPDX-License-Identifier: MIT */
/* why.c - `chasqui why COMPANY`: all that is known of a company, in the order in which somebody asks; through a broker. */
#include "ctl/broker.h"

#include "ctl/plain.h"
#include "ctl/screen.h"

#include "common/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_MS 2000

struct piece {
    const char *key, *title, *none; /* none: what is said when there is nothing; NULL = nothing is said */
    const char *const *heads, *const *keys;
};

static const char *const session_heads[] = {"PORTAL",      "STATE",     "~~ROBOT", "SINCE (UTC)",
                                            "1USED (UTC)", "2~SESSION", NULL};
static const char *const session_keys[] = {"portal",           "state",      "worker", "since",
                                           "last_activity_at", "session_id", NULL};
static const char *const running_heads[] = {">JOB",        "~ACTION",       "~STEP", "~~ROBOT",
                                            "SINCE (UTC)", "1~~DISPATCHER", NULL};
static const char *const running_keys[] = {"job_id", "action", "step", "worker", "since", "dispatcher", NULL};
static const char *const waiting_heads[] = {
    ">BATCH", ">INDEX", ">JOB", "PORTAL", "STATUS", ">PRIORITY", ">BEFORE IT", "NOT BEFORE (UTC)", NULL};
static const char *const waiting_keys[] = {"batch_id", "index",  "job_id", "portal", "status",
                                           "priority", "before", "due_at", NULL};
static const char *const failure_heads[] = {">JOB", "~ACTION", "AT (UTC)", "~~ROBOT", "ERROR", "1~MESSAGE", NULL};
static const char *const failure_keys[] = {"job_id", "action", "finished_at", "worker", "error", "message", NULL};
static const char *const credential_heads[] = {"PORTAL", "STORED (UTC)", "REFUSED SINCE (UTC)", "~ERROR", NULL};
static const char *const credential_keys[] = {"portal", "updated_at", "refused_at", "refused_error", NULL};
static const char *const recent_heads[] = {">JOB",    "~ACTION", "STATUS", "CREATED (UTC)", "1FINISHED (UTC)",
                                           "~~ROBOT", NULL};
static const char *const recent_keys[] = {"job_id",      "action", "status", "created_at",
                                          "finished_at", "worker", NULL};

static const char *const ended_heads[] = {"PORTAL",    "STATE",    "ENDED (UTC)", "BY",
                                          "1~~REASON", "2~~ROBOT", "3~SESSION",   NULL};
static const char *const ended_keys[] = {"portal", "state", "since", "by", "reason", "worker", "session_id", NULL};

static const struct piece pieces[] = {
    {"sessions", "live sessions", "no session is live", session_heads, session_keys},
    {"running", "running", NULL, running_heads, running_keys},
    {"waiting", "waiting", "nothing of it waits", waiting_heads, waiting_keys},
    {"ended", "sessions that ended last", NULL, ended_heads, ended_keys},
    {"failures", "failed last", "nothing of it failed lately", failure_heads, failure_keys},
    {"credentials", "stored credentials", "no credentials are stored", credential_heads, credential_keys},
    {"recent", "recent jobs", "nothing was asked for it yet", recent_heads, recent_keys},
};

static void piece_print(const struct piece *p, const struct jv *company)
{
    const struct jv *list = jv_get(company, p->key);
    if (!jv_len(list) && !p->none)
        return;
    if (!jv_len(list)) {
        printf("\n%s\n", p->none);
        return;
    }
    printf("\n%s\n", p->title);
    struct table *table = table_new((const char **)p->heads);
    for (size_t i = 0; i < jv_len(list); i++)
        for (unsigned k = 0; p->keys[k]; k++)
            broker_cell(table, jv_at(list, i), p->keys[k]);
    table_print(&table, "");
    for (size_t i = 0; strcmp(p->key, "waiting") == 0 && i < jv_len(list); i++) {
        const struct jv *why = jv_at(jv_get(jv_at(list, i), "why"), 0);
        const char *before = i ? jv_str(jv_get(jv_at(jv_get(jv_at(list, i - 1), "why"), 0), "detail")) : NULL;
        char text[400];
        if (broker_why(why, text, sizeof(text)) && (!before || strcmp(before, jv_str(jv_get(why, "detail"))) != 0))
            printf("%s\n", text); /* once for those that wait for the same */
    }
}

static enum ctl_exit company_show(struct ctl *c, uint64_t company_id)
{
    char path[60], at[CLOCK_TEXT_BYTES];
    snprintf(path, sizeof(path), "/api/v1/ops/companies/%llu", (unsigned long long)company_id);
    struct jv *body = broker_get(c, DOOR_OPS, path);
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    if (c->args.n[OPT_WATCH] && isatty(STDOUT_FILENO))
        printf("\033[H\033[2J"); /* from the top of an empty screen */
    if (c->args.n[OPT_WATCH])
        printf("company %llu at %.8s UTC\n", (unsigned long long)company_id, clock_text(clock_unix_ms(), at) + 11);
    else
        printf("company %llu\n", (unsigned long long)company_id);
    for (unsigned i = 0; i < sizeof(pieces) / sizeof(*pieces); i++)
        piece_print(&pieces[i], jv_get(body, "company"));
    jv_free(body);
    return CTL_DONE;
}

enum ctl_exit why_company(struct ctl *c)
{
    uint64_t company_id;
    enum ctl_exit code;
    if (!args_number(c, "COMPANY", c->args.word[0], 1, INT64_MAX, &company_id))
        return CTL_USAGE;
    if (!c->args.n[OPT_WATCH])
        return company_show(c, company_id);
    screen_signals();
    do {
        code = company_show(c, company_id);
        fflush(stdout);
    } while (code == CTL_DONE && !ferror(stdout) && screen_pause(AGAIN_MS));
    return code;
}
