/* help.c - the texts of --help, made from command.def and option.def. */
#include "ctl/ctl.h"

#include "common/fold.h"

#include <stdio.h>
#include <string.h>

#define LINE_AT 23   /* where a command's line stands */
#define OPTION_AT 25 /* where an option's help stands */

/* An option with its value, and what stands in brackets, is not broken. */
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
    int at = fprintf(out, "%schasqui %s%s%s%s", before, cmd->noun, *cmd->verb ? " " : "", cmd->verb, *cmd->usage ? " " : "");
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
    print_option("-c, --config FILE", "configuration; else $CHASQUI_CONF, ./chasqui.conf, /etc/chasqui/chasqui.conf", out);
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
    fold(out, "chasqui COMMAND --help says more about one. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.", 0, 0, NULL);
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

void help_command(const struct command *cmd, FILE *out)
{
    print_usage(cmd, "Usage: ", out);
    fputc('\n', out);
    fold(out, cmd->help, 0, 0, NULL);
    fputs("\nOptions:\n", out);
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        const struct option_row *o = &option_table[i];
        char words[64], help[200];
        if (!(cmd->options & (UINT64_C(1) << i)))
            continue;
        snprintf(words, sizeof(words), "    --%s%s%s", o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        snprintf(help, sizeof(help), "%s%s", o->help, cmd->repeated & (UINT64_C(1) << i) ? "; repeatable" : "");
        print_option(words, help, out);
    }
    print_common(out);
}
