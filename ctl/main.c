/* SPDX-License-Identifier: MIT */
/*
 * main.c - the operators' command: finds the row of command.def, makes ready
 * what it needs, calls it. Needed by nothing that runs.
 */
#include "ctl/ctl.h"
#include "ctl/batch.h"
#include "ctl/day.h"
#include "ctl/nearest.h"

#include "common/log.h"
#include "common/text.h"

#include <locale.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct command command_table[] = {
#define COMMAND(noun, verb, handler, needs, words, options, repeated, usage, line, help)                          \
    {noun, verb, handler, needs, words, options, repeated, usage, line, help},
#include "ctl/command.def"
#undef COMMAND
};
const unsigned command_count = sizeof(command_table) / sizeof(command_table[0]);

static bool is_noun(const char *word)
{
    for (unsigned i = 0; i < command_count; i++)
        if (strcmp(command_table[i].noun, word) == 0)
            return true;
    return false;
}

static const struct command *command_find(const struct args *a)
{
    for (unsigned i = 0; i < command_count && a->n_words; i++) {
        const struct command *cmd = &command_table[i];
        if (strcmp(cmd->noun, a->word[0]) == 0 &&
            (!*cmd->verb || (a->n_words > 1 && strcmp(cmd->verb, a->word[1]) == 0)))
            return cmd;
    }
    return NULL;
}

/* Words and options are those of the command's row; moves word[] behind noun and verb. */
static bool shape_ok(struct ctl *c, const struct command *cmd)
{
    struct args *a = &c->args;
    unsigned skip = *cmd->verb ? 2 : 1;
    a->word += skip;
    a->n_words -= skip;
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if (a->n[i] && !(cmd->options & bit))
            return ctl_usage(c, "chasqui %s%s%s takes no --%s", cmd->noun, *cmd->verb ? " " : "", cmd->verb,
                             option_table[i].name),
                   false;
        if (a->n[i] > 1 && !(cmd->repeated & bit))
            return ctl_usage(c, "--%s is given twice", option_table[i].name), false;
    }
    if (a->n_words == cmd->words || (cmd->words == WORDS_SOME && a->n_words) || cmd->words == WORDS_ANY ||
        (cmd->words == WORDS_MAYBE && a->n_words < 2))
        return true;
    ctl_usage(c,
              a->n_words < cmd->words && cmd->words != WORDS_MAYBE
                  ? "something is missing: chasqui %s%s%s%s%s"
                  : "there is a word too many: chasqui %s%s%s%s%s",
              cmd->noun, *cmd->verb ? " " : "", cmd->verb, *cmd->usage ? " " : "", cmd->usage);
    return false;
}

static void actor_make(char *out, size_t room)
{
    char host[65] = "";
    const struct passwd *user = getpwuid(getuid());
    gethostname(host, sizeof(host) - 1);
    if (user)
        snprintf(out, room, "cli:%.64s@%s", user->pw_name, host);
    else
        snprintf(out, room, "cli:%u@%s", (unsigned)getuid(), host);
    text_clean_in_place(out, room, room); /* a host or an account may be named in any character set */
}

static enum ctl_exit run(struct ctl *c, const struct command *cmd)
{
    actor_make(c->actor, sizeof(c->actor));
    if (cmd->needs >= NEEDS_CONF && !(c->conf = conf_load(CONF_CTL, c->args.conf_path)))
        return ctl_fail(c, "the configuration cannot be used, for the reasons above"), CTL_USAGE;
    if (cmd->needs >= NEEDS_DATABASE) {
        c->db = db_new(c->conf);
        if (db_ready(c->db) != DB_OK)
            return ctl_db_fail(c, DB_GONE);
    }
    if (cmd->needs >= NEEDS_TABLES && !ctl_tables_ready(c))
        return CTL_FAILED;
    day_options(c);
    enum ctl_exit code = cmd->options & OPT_BIT(BATCH) ? batch_option(c) : CTL_DONE;
    return code == CTL_DONE ? cmd->fn(c) : code;
}

/* Words that people use for what is called otherwise here. */
static const struct {
    const char *word, *noun;
} other_words[] = {{"robot", "worker"},    {"robots", "worker"}, {"workers", "worker"}, {"log", "audit"},
                   {"trend", "history"},   {"health", "check"},  {"status", "stats"},   {"top", "stats"},
                   {"failures", "errors"}, {"failed", "errors"}, {"cron", "schedule"},  {"alert", "alerts"},
                   {"alarm", "alerts"},    {"login", "batch"}};

static const char *noun_meant(const char *typed)
{
    struct nearest n = {.typed = typed};
    for (unsigned i = 0; i < sizeof(other_words) / sizeof(*other_words); i++)
        if (strcmp(other_words[i].word, typed) == 0)
            return other_words[i].noun;
    for (unsigned i = 0; i < command_count; i++)
        nearest_offer(&n, command_table[i].noun);
    return n.best;
}

static const char *verb_meant(const char *noun, const char *typed)
{
    static const char *const others[][2] = {{"ls", "list"},     {"rm", "remove"},   {"delete", "remove"},
                                            {"create", "add"},  {"new", "add"},     {"get", "show"},
                                            {"stop", "cancel"}, {"start", "resume"}};
    struct nearest n = {.typed = typed};
    for (unsigned i = 0; i < sizeof(others) / sizeof(*others); i++)
        if (strcmp(others[i][0], typed) == 0)
            n.typed = others[i][1];
    for (unsigned i = 0; i < command_count; i++)
        if (strcmp(command_table[i].noun, noun) == 0)
            nearest_offer(&n, command_table[i].verb);
    return n.best;
}

static enum ctl_exit no_command(struct ctl *c)
{
    const struct args *a = &c->args;
    const char *best;
    if (!a->n_words && !a->help) {
        help_all(stderr);
        return CTL_USAGE;
    }
    if (a->help && (!a->n_words || (a->n_words == 1 && is_noun(a->word[0])))) {
        if (a->n_words)
            help_noun(a->word[0], stdout);
        else
            help_all(stdout);
        return CTL_DONE;
    }
    if (!is_noun(a->word[0])) {
        best = noun_meant(a->word[0]);
        return best ? ctl_usage(c, "there is no command %.80s; did you mean %s?", a->word[0], best)
                    : ctl_usage(c, "there is no command %.80s", a->word[0]);
    }
    best = a->n_words > 1 ? verb_meant(a->word[0], a->word[1]) : NULL;
    if (best)
        ctl_usage(c, "there is no command %s %.80s; did you mean %s %s?", a->word[0], a->word[1], a->word[0],
                  best);
    else if (a->n_words > 1)
        ctl_usage(c, "there is no command %s %.80s", a->word[0], a->word[1]);
    else
        ctl_usage(c, "chasqui %s: what shall be done?", a->word[0]);
    help_noun(a->word[0], stderr);
    return CTL_USAGE;
}

int main(int argc, char **argv)
{
    struct ctl c = {0};
    enum ctl_exit code = CTL_DONE;

    setlocale(LC_CTYPE, "C.UTF-8");
    log_open("chasqui", LOG_WARN);

    if (!args_read(&c, argc, argv)) {
        args_free(&c.args);
        return CTL_USAGE;
    }
    const struct command *cmd = command_find(&c.args);

    if (c.args.version)
        printf("chasqui %s\n", CHASQUI_VERSION);
    else if (c.args.help_conf)
        conf_help(CONF_CTL, stdout);
    else if (!cmd)
        code = no_command(&c);
    else if (c.args.help)
        help_command(cmd, stdout);
    else
        code = shape_ok(&c, cmd) ? run(&c, cmd) : CTL_USAGE;

    db_destroy(&c.db);
    conf_destroy(&c.conf);
    args_free(&c.args);
    if (fflush(stdout) != 0 && code == CTL_DONE)
        code = CTL_FAILED;
    return code;
}
