/* SPDX-License-Identifier: MIT */
/* nearest.c - what somebody meant who mistyped a word. */
#include "ctl/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define LETTERS_MAX 40
#define FAR 99

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned nearest_distance(const char *a, const char *b)
{
    unsigned row[3][LETTERS_MAX + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > LETTERS_MAX || m > LETTERS_MAX)
        return FAR;
    for (size_t j = 0; j <= m; j++)
        row[1][j] = row[0][j] = (unsigned)j;
    unsigned *before = row[0], *last = row[1], *now = row[2];
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            now[j] = least(least(now[j - 1] + 1, last[j] + 1), last[j - 1] + (x != y));
            bool is_swapped =
                i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && tolower((unsigned char)a[i - 2]) == y;
            if (is_swapped)
                now[j] = least(now[j], before[j - 2] + 1);
        }
        unsigned *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[m];
}

void nearest_offer(struct nearest *n, const char *word)
{
    size_t len = strlen(n->typed), most = strlen(word);
    unsigned distance = nearest_distance(n->typed, word);
    bool is_beginning = len >= 2 && len < most && strncasecmp(n->typed, word, len) == 0;
    if (is_beginning && distance > 1)
        distance = 1;
    if (distance * 3 > (len > most ? len : most) + 1 && !is_beginning)
        return;
    if (!n->best || distance < n->distance) {
        n->best = word;
        n->distance = distance;
    }
}
