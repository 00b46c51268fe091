/* SPDX-License-Identifier: MIT */
/* colour.h - words that say how something is, coloured; only for people at a terminal who want it. */
#ifndef CHASQUI_CTL_COLOUR_H
#define CHASQUI_CTL_COLOUR_H

#include <stdbool.h>

#define COLOUR_PLAIN "\033[0m"
#define COLOUR_BOLD "\033[1m"

/* Is this descriptor a terminal that shows colours, and NO_COLOR (https://no-color.org) not set? */
bool colour_wanted(int fd);
/* The escape that begins the colour of a state's word ("failed", "up", "draining"), "" for any other word. */
const char *colour_of(const char *word);

#endif
