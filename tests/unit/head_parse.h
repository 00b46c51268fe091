/* SPDX-License-Identifier: MIT */
/*
 * head_parse.h - takes a head apart in place as libmicrohttpd 0.9.75 does, with
 * its lenience, so that the gate can be tested without a connection.
 */
#ifndef CHASQUI_TESTS_HEAD_PARSE_H
#define CHASQUI_TESTS_HEAD_PARSE_H

#include "broker/gate.h"
#include <stdlib.h>
#include <string.h>

#define HEAD_FIELDS_MAX 256

struct head_parse {
    struct gate_head head;
    struct gate_field fields[HEAD_FIELDS_MAX];
    char *bytes, *target, *moved[HEAD_FIELDS_MAX]; /* owned */
    unsigned n_moved;
};

/* The next line, its end made NULs; NULL when there is none. */
static inline char *head_line(char **at, char *end, size_t *len)
{
    char *line = *at;
    for (char *p = line; p < end; p++) {
        if (*p == '\r' && p + 1 < end && p[1] == '\n') {
            p[0] = p[1] = '\0';
            *len = (size_t)(p - line);
            *at = p + 2;
            return line;
        }
        if (*p == '\n') {
            *p = '\0';
            *len = (size_t)(p - line);
            *at = p + 1;
            return line;
        }
    }
    return NULL;
}

static inline void head_free(struct head_parse *h)
{
    free(h->bytes);
    free(h->target);
    for (unsigned i = 0; i < h->n_moved; i++)
        free(h->moved[i]);
    memset(h, 0, sizeof *h);
}

/* false: the library itself refuses it. head_free() in any case. */
static inline bool head_parse(struct head_parse *h, const char *text, size_t len)
{
    memset(h, 0, sizeof *h);
    h->bytes = malloc(len + 1); /* what lies behind a head in the library's memory is readable */
    memcpy(h->bytes, text, len);
    h->bytes[len] = '\0';
    char *at = h->bytes, *end = h->bytes + len, *line;
    size_t line_len, len_of;
    do
        line = head_line(&at, end, &line_len);
    while (line && !*line);
    if (!line)
        return false;
    char *target = memchr(line, ' ', line_len);
    if (!target || target == line)
        return false;
    *target++ = '\0';
    while (*target == ' ' && target < line + line_len)
        target++;
    char *version = line + line_len - 1;
    while (version > target && *version == ' ')
        version--;
    while (version > target && *version != ' ')
        version--;
    if (version <= target)
        return false;
    *version++ = '\0';
    if (line_len - (size_t)(version - line) != 8 || memcmp(version, "HTTP/1.", 7) != 0 || version[7] < '0' ||
        version[7] > '9')
        return false;
    h->target = strdup(target);
    h->head = (struct gate_head){
        .method = line, .target_at = target, .target = h->target, .version = version, .fields = h->fields};
    while ((line = head_line(&at, end, &len_of)) && *line) {
        struct gate_field *last = h->head.n ? &h->fields[h->head.n - 1] : NULL;
        if (last && (*line == ' ' || *line == '\t')) { /* folded: the library appends to the name, in new memory */
            char *moved = malloc(strlen(last->name) + strlen(line) + 1);
            strcpy(moved, last->name);
            strcat(moved, line + strspn(line, " \t"));
            h->moved[h->n_moved++] = moved;
            last->name = moved;
            if (h->n_moved == HEAD_FIELDS_MAX)
                return false;
            continue;
        }
        char *colon = strchr(line, ':');
        if (!colon || h->head.n == HEAD_FIELDS_MAX)
            return false;
        *colon++ = '\0';
        h->fields[h->head.n++] = (struct gate_field){line, colon + strspn(colon, " \t")};
    }
    h->head.bytes = (size_t)(at - h->head.method);
    return line != NULL;
}

#endif
