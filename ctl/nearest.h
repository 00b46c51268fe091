/* SPDX-License-Identifier: MIT */
/* nearest.h - what somebody meant who mistyped a word. Pure. */
#ifndef CHASQUI_CTL_NEAREST_H
#define CHASQUI_CTL_NEAREST_H

/* How many letters were forgotten, added, exchanged or swapped with their neighbour between two words (optimal string alignment); at most
 * 99. Letter case does not count. */
unsigned nearest_distance(const char *a, const char *b);

/* The best of the words that were offered to it. Begin with {.typed = word}. */
struct nearest {
    const char *typed;
    const char *
        best; /* NULL = nothing is near enough: a third of the letters may be wrong, or it is a beginning of at least two */
    unsigned distance;
};
void nearest_offer(struct nearest *n, const char *word);

#endif
