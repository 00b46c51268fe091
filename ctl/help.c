/* help.c - the texts of --help, made from command.def and option.def. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#define USAGE_COLUMNS 34

static void print_words(const struct command *cmd, FILE *out)
{
    fprintf(out, "%s%s%s", cmd->noun, *cmd->verb ? " " : "", cmd->verb);
}

static void print_line(const struct command *cmd, FILE *out)
{
    char words[64];
    snprintf(words, sizeof(words), "%s%s%s", cmd->noun, *cmd->verb ? " " : "", cmd->verb);
    fprintf(out, "  %-20s %s\n", words, cmd->line);
}

static void print_common(FILE *out)
{
    fputs("  -c, --config FILE      configuration; else $CHASQUI_CONF, ./chasqui.conf, /etc/chasqui/chasqui.conf\n"
          "      --json             one JSON object on standard output\n"
          "  -h, --help             this text\n",
          out);
}

void help_all(FILE *out)
{
    fputs("chasqui - the operators' command of Chasqui, which carries jobs to browser robots\n\n"
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
    fputs("      --help-config      every configuration key this command reads\n"
          "      --version          the version\n\n"
          "chasqui COMMAND --help says more about one. Exit codes: 0 done, 1 failed, 2 wrong usage or "
          "configuration.\n",
          out);
}

void help_noun(const char *noun, FILE *out)
{
    for (unsigned i = 0; i < command_count; i++) {
        const struct command *cmd = &command_table[i];
        if (strcmp(cmd->noun, noun) != 0)
            continue;
        fputs("  chasqui ", out);
        print_words(cmd, out);
        fprintf(out, "%s%s\n      %s\n", *cmd->usage ? " " : "", cmd->usage, cmd->line);
    }
}

void help_command(const struct command *cmd, FILE *out)
{
    fputs("Usage: chasqui ", out);
    print_words(cmd, out);
    fprintf(out, "%s%s\n\n%s\n\n", *cmd->usage ? " " : "", cmd->usage, cmd->help);
    fputs("Options:\n", out);
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        const struct option_row *o = &option_table[i];
        char words[64];
        if (!(cmd->options & (1u << i)))
            continue;
        snprintf(words, sizeof(words), "--%s%s%s", o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        fprintf(out, "      %-18s %s%s\n", words, o->help,
                cmd->repeated & (1u << i) ? "; repeatable, or '*'" : "");
    }
    print_common(out);
}
