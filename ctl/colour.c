/* SPDX-License-Identifier: MIT */
/* colour.c - words that say how something is, coloured. */
#include "ctl/colour.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOOD "\033[32m"
#define WARN "\033[33m"
#define BAD "\033[31m"

static const struct {
    const char *word, *escape;
} words[] = {
    {"done", GOOD},    {"up", GOOD},        {"active", GOOD},  {"good", GOOD},     {"ok", GOOD},
    {"here", GOOD},    {"heard", GOOD},     {"yes", GOOD},     {"failed", BAD},    {"down", BAD},
    {"lost", BAD},     {"dead", BAD},       {"silent", BAD},   {"revoked", BAD},   {"gone", BAD},
    {"broken", BAD},   {"retrying", WARN},  {"suspect", WARN}, {"draining", WARN}, {"disabled", WARN},
    {"expired", WARN}, {"cancelled", WARN}, {"unknown", WARN}, {"stopping", WARN}, {"missed", WARN},
    {"closing", WARN}, {"opening", WARN},   {"paused", WARN},
};

bool colour_wanted(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return !(no && *no) && term && *term && strcmp(term, "dumb") != 0 && isatty(fd);
}

const char *colour_of(const char *word)
{
    for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].escape;
    return "";
}
