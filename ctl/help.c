/* help.c - the texts of --help, made from command.def and option.def. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 80

/* [--limit N] stays together, and "0 11 * * 1-5". */
static size_t word_len(const char *text)
{
    bool is_bracket = false, is_quote = false;
    size_t len = 0;
    for (; text[len] && (is_bracket || is_quote || !strchr(" \n", text[len])); len++) {
        is_bracket = text[len] == '[' || (is_bracket && text[len] != ']');
        is_quote ^= text[len] == '"';
    }
    return len;
}

/* Words that go on in the next line, below `indent` columns, when this one is full; `at` = columns it has already. */
static void print_wrapped(const char *text, size_t at, int indent, FILE *out)
{
    while (*(text += strspn(text, " \n"))) {
        size_t len = word_len(text);
        bool is_first = at <= (size_t)indent;
        if (!is_first && at + 1 + len > COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            at = (size_t)indent;
            is_first = true;
        }
        fprintf(out, "%s%.*s", is_first ? "" : " ", (int)len, text);
        at += len + !is_first;
        text += len;
    }
    fputc('\n', out);
}

static void print_words(const struct command *cmd, FILE *out)
{
    fprintf(out, "%s%s%s", cmd->noun, *cmd->verb ? " " : "", cmd->verb);
}

/* `name` in a column of that width, and what it does beside it. */
static void print_row(const char *name, int width, const char *does, FILE *out)
{
    fprintf(out, "%-*s ", width, name);
    print_wrapped(does, (size_t)width + 1, width + 1, out);
}

static void print_line(const struct command *cmd, FILE *out)
{
    char words[64];
    snprintf(words, sizeof(words), "  %s%s%s", cmd->noun, *cmd->verb ? " " : "", cmd->verb);
    print_row(words, 22, cmd->line, out);
}

static void print_option(const char *words, const char *does, FILE *out)
{
    print_row(words, 24, does, out);
}

static void print_common(FILE *out)
{
    print_option("  -c, --config FILE", "configuration; else $CHASQUI_CONF, ./chasqui.conf, /etc/chasqui/chasqui.conf", out);
    print_option("      --json", "one JSON object on standard output", out);
    print_option("  -h, --help", "this text", out);
}

void help_all(FILE *out)
{
    fputs("chasqui - the operators' command of Chasqui: jobs for browser robots\n\n"
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
    print_option("      --help-config", "every configuration key this command reads", out);
    print_option("      --version", "the version", out);
    fputs("\nchasqui COMMAND --help says more about one.\n"
          "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.\n",
          out);
}

/* "chasqui jobs list [--status S] ..." */
static void print_usage(const char *before, const struct command *cmd, int indent, FILE *out)
{
    fprintf(out, "%schasqui ", before);
    print_words(cmd, out);
    print_wrapped(cmd->usage, strlen(before) + strlen("chasqui ") + strlen(cmd->noun) + (*cmd->verb ? 1 : 0) + strlen(cmd->verb), indent, out);
}

void help_noun(const char *noun, FILE *out)
{
    for (unsigned i = 0; i < command_count; i++) {
        const struct command *cmd = &command_table[i];
        if (strcmp(cmd->noun, noun) != 0)
            continue;
        print_usage("  ", cmd, 10, out);
        fprintf(out, "      %s\n", cmd->line);
    }
}

void help_command(const struct command *cmd, FILE *out)
{
    print_usage("Usage: ", cmd, 15, out);
    fputc('\n', out);
    print_wrapped(cmd->help, 0, 0, out);
    fputs("\nOptions:\n", out);
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        const struct option_row *o = &option_table[i];
        char words[64], does[200];
        if (!(cmd->options & (1u << i)))
            continue;
        snprintf(words, sizeof(words), "      --%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        snprintf(does, sizeof(does), "%s%s", o->help, cmd->repeated & (1u << i) ? "; repeatable, or '*'" : "");
        print_option(words, does, out);
    }
    print_common(out);
}
