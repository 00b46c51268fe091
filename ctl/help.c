/* SPDX-License-Identifier: MIT */
/* help.c - the texts of --help, made from command.def and option.def. */
#include "ctl/ctl.h"
#include "ctl/option_help.h"

#include "common/fold.h"

#include <stdio.h>
#include <string.h>

#define LINE_AT 23   /* where a command's line begins */
#define OPTION_AT 25 /* where an option's help begins */

/* An option with its value, and text in brackets, is not broken. */
static size_t usage_word(const char *text)
{
    int depth = 0;
    size_t n = 0;
    for (; text[n] && (text[n] != ' ' || depth || !strchr("-[(", text[n + 1])); n++)
        depth += (text[n] == '[' || text[n] == '(') - (text[n] == ']' || text[n] == ')');
    return n;
}

/* "before NOUN VERB OPTIONS". */
static void print_usage(const struct command *cmd, const char *before, FILE *out)
{
    int at = fprintf(out, "%schasqui %s%s%s%s", before, cmd->noun, *cmd->verb ? " " : "", cmd->verb,
                     *cmd->usage ? " " : "");
    fold(out, cmd->usage, 10, at, usage_word);
}

static void print_line(const struct command *cmd, FILE *out)
{
    char words[64];
    snprintf(words, sizeof(words), "%s%s%s", cmd->noun, *cmd->verb ? " " : "", cmd->verb);
    fprintf(out, "  %-20s ", words);
    fold(out, cmd->line, LINE_AT, LINE_AT, NULL);
}

static void print_option(const char *words, const char *help, FILE *out)
{
    fprintf(out, "  %-22s ", words);
    fold(out, help, OPTION_AT, OPTION_AT, NULL);
}

static void print_common(FILE *out)
{
    print_option("-c, --config FILE",
                 "configuration; else $CHASQUI_CONF, ./chasqui.conf, /etc/chasqui/chasqui.conf", out);
    print_option("    --json", "one JSON object on standard output", out);
    print_option("-h, --help", "this text", out);
}

void help_all(FILE *out)
{
    fputs("chasqui - the operators' command of Chasqui, carrier of jobs to browser robots\n\n"
          "Usage: chasqui [-c FILE] [--json] COMMAND ...\n\n",
          out);
    for (unsigned i = 0; i < command_count; i++) {
        if (i && strcmp(command_table[i].noun, command_table[i - 1].noun) != 0 && *command_table[i].verb &&
            *command_table[i - 1].verb)
            fputc('\n', out);
        print_line(&command_table[i], out);
    }
    fputs("\nOptions, anywhere on the line:\n", out);
    print_common(out);
    print_option("    --help-config", "every configuration key this command reads", out);
    print_option("    --version", "the version", out);
    fputc('\n', out);
    fold(
        out,
        "chasqui COMMAND --help says more about one. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.",
        0, 0, NULL);
}

void help_noun(const char *noun, FILE *out)
{
    for (unsigned i = 0; i < command_count; i++) {
        const struct command *cmd = &command_table[i];
        if (strcmp(cmd->noun, noun) != 0)
            continue;
        print_usage(cmd, "  ", out);
        fputs("      ", out);
        fold(out, cmd->line, 6, 6, NULL);
    }
}

static const struct example {
    const char *noun, *verb, *line, *does;
} examples[] = {
#define EXAMPLE(noun, verb, line, does) {noun, verb, line, does},
#include "ctl/example.def"
#undef EXAMPLE
};

/* The length of the next word, quotes and all. */
static size_t shell_word(const char *text)
{
    size_t n = 0;
    for (char quote = 0; text[n] && (quote || text[n] != ' '); n++)
        if (quote ? text[n] == quote : text[n] == '"' || text[n] == '\'')
            quote = quote ? 0 : text[n];
    return n;
}

/* As it can be pasted into a shell: a line goes on behind a backslash. */
static void print_example(const char *line, FILE *out)
{
    int at = fprintf(out, "  ");
    for (size_t n; *line; line += n) {
        line += *line == ' ';
        n = shell_word(line);
        if (at > 6 && at + (int)n > 76)
            at = fprintf(out, " \\\n      ") - 3;
        else if (at > 2)
            at += fprintf(out, " ");
        at += fprintf(out, "%.*s", (int)n, line);
    }
    fputc('\n', out);
}

static void help_examples(const struct command *cmd, FILE *out)
{
    bool has_any = false;
    for (unsigned i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        const struct example *e = &examples[i];
        if (strcmp(e->noun, cmd->noun) != 0 || strcmp(e->verb, cmd->verb) != 0)
            continue;
        if (!has_any)
            fputs("\nExamples:\n", out);
        has_any = true;
        fputs("  # ", out);
        fold(out, e->does, 4, 4, NULL);
        print_example(e->line, out);
    }
}

void help_command(const struct command *cmd, FILE *out)
{
    print_usage(cmd, "Usage: ", out);
    fputc('\n', out);
    fold(out, cmd->help, 0, 0, NULL);
    fputs("\nOptions:\n", out);
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        const struct option_row *o = &option_table[i];
        char words[64], help[400];
        if (!(cmd->options & (UINT64_C(1) << i)))
            continue;
        snprintf(words, sizeof(words), "    --%s%s%s", o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        snprintf(help, sizeof(help), "%s%s", option_help(cmd, i, o->help),
                 cmd->repeated & (UINT64_C(1) << i) ? "; repeatable" : "");
        print_option(words, help, out);
    }
    print_common(out);
    help_examples(cmd, out);
}
