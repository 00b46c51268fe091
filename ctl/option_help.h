/* SPDX-License-Identifier: MIT */
/* option_help.h - the help of an option that means something else at one command: option_of.def. For chasqui and mkdoc. */
#ifndef CHASQUI_OPTION_HELP_H
#define CHASQUI_OPTION_HELP_H

#include "ctl/ctl.h"

#include <string.h>

/* The command's own help for the option, else `usual`. */
static inline const char *option_help(const struct command *cmd, enum option_id id, const char *usual)
{
    static const struct {
        const char *noun, *verb;
        enum option_id option;
        const char *help;
    } own[] = {
#define OPTION_OF(noun, verb, symbol, help) {noun, verb, OPT_##symbol, help},
#include "ctl/option_of.def"
#undef OPTION_OF
    };
    for (unsigned i = 0; i < sizeof(own) / sizeof(*own); i++)
        if (own[i].option == id && strcmp(own[i].noun, cmd->noun) == 0 && strcmp(own[i].verb, cmd->verb) == 0)
            return own[i].help;
    return usual;
}

#endif
