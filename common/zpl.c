/* SPDX-License-Identifier: MIT */
/*
 * zpl.c - reads ZPL. Every line is checked here before czmq's zconfig sees the text. zconfig reports errors on
 * standard output only, keeps no line numbers and accepts unintended input (a value cut at an unquoted '#', "key =
 * # comment" as a value, a deeper line without its parent). zconfig keeps the lines' order, so the n-th named line
 * is the n-th node of a walk through its tree.
 */
#include "common/zpl.h"

#include "common/check.h"
#include <ctype.h>
#include <czmq.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Passed from the check of the lines to the walk. */
struct lines {
    unsigned n;
    struct {
        unsigned number;
        bool has_value;
    } named[ZPL_LINES_MAX];
};

void zpl_complain(struct buf *why, const char *file, unsigned line, const char *fmt, ...)
{
    char reason[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    if (line)
        buf_addf(why, "%s:%u: %s\n", file, line, reason);
    else
        buf_addf(why, "%s: %s\n", file, reason);
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("$-_@.&+/", c));
}

static bool is_rest_blank(const char *s)
{
    s += strspn(s, " ");
    return *s == '\0' || *s == '#';
}

/* Checks one line without its newline. Returns NULL when fine, else what is wrong. *level is the level of the last
 * named line, -1 before the first. */
static const char *check_line(const char *s, int *level, bool *is_named, bool *has_value)
{
    size_t indent = strspn(s, " ");
    *is_named = *has_value = false;
    for (const char *p = s; *p; p++)
        if (iscntrl((unsigned char)*p))
            return *p == '\t' ? "a tab; indent by four spaces a level" : "a control character";
    if (s[indent] == '\0')
        return NULL;
    if (indent % 4)
        return "the indentation is not a multiple of four spaces";
    if (s[indent] == '#')
        return NULL;
    if ((int)(indent / 4) > *level + 1)
        return "indented too deep: it has no section above it";
    *level = (int)(indent / 4);

    const char *p = s + indent, *name = p;
    while (is_name_char(*p))
        p++;
    if (p == name || *name == '/' || p[-1] == '/')
        return "a name is expected here";
    *is_named = true;
    p += strspn(p, " ");
    if (*p != '=')
        return is_rest_blank(p) ? NULL : "'=' is expected after the name";
    *has_value = true;
    p++;
    p += strspn(p, " ");
    if (*p == '"' || *p == '\'') {
        const char *end = strchr(p + 1, *p);
        if (!end)
            return "the closing quote is missing";
        return is_rest_blank(end + 1) ? NULL : "something follows the closing quote";
    }
    if (*p == '#')
        return "a value is expected before the comment";
    for (; *p; p++)
        if (*p == '#' && p[-1] != ' ')
            return "a value that holds '#' must stand in quotes";
    return NULL;
}

static bool check_lines(const char *file, char *text, struct lines *lines, struct buf *why)
{
    int level = -1;
    unsigned number = 0;
    bool good = true;
    for (char *line = text, *next; line; line = next) {
        bool is_named, has_value;
        next = strchr(line, '\n');
        size_t len = next ? (size_t)(next - line) : strlen(line);
        if (len && line[len - 1] == '\r') /* files of other systems */
            line[len - 1] = ' ';
        if (next)
            *next = '\0';
        number++;
        const char *reason = check_line(line, &level, &is_named, &has_value);
        if (next)
            *next++ = '\n';
        if (!reason && is_named && lines->n == ZPL_LINES_MAX)
            reason = "too many lines";
        if (reason) {
            zpl_complain(why, file, number, "%s", reason);
            good = false;
            if (why->len > 4096 || lines->n == ZPL_LINES_MAX)
                return false;
        } else if (is_named) {
            lines->named[lines->n].number = number;
            lines->named[lines->n++].has_value = has_value;
        }
    }
    return good;
}

static struct zpl *copy_tree(zconfig_t *from, const struct lines *lines, unsigned *at)
{
    struct zpl *first = NULL, **end = &first;
    for (; from; from = zconfig_next(from)) {
        CHECK(*at < lines->n, "node=%u of %u", *at, lines->n);
        struct zpl *node = xcalloc(1, sizeof *node);
        node->line = lines->named[*at].number;
        node->name = xstrdup(zconfig_name(from));
        node->value = lines->named[*at].has_value ? xstrdup(zconfig_value(from)) : NULL;
        ++*at;
        node->child = copy_tree(zconfig_child(from), lines, at);
        *end = node;
        end = &node->next;
    }
    return first;
}

struct zpl *zpl_parse(const char *file, const char *text, size_t len, struct buf *why)
{
    if (len > ZPL_BYTES_MAX) {
        zpl_complain(why, file, 0, "larger than %d bytes", ZPL_BYTES_MAX);
        return NULL;
    }
    if (memchr(text, '\0', len)) {
        zpl_complain(why, file, 0, "holds a NUL byte");
        return NULL;
    }
    char *copy = xstrndup(text, len);
    struct lines *lines = xcalloc(1, sizeof *lines);
    struct zpl *root = NULL;
    zconfig_t *tree = check_lines(file, copy, lines, why) ? zconfig_str_load(copy) : NULL;
    if (tree) {
        unsigned at = 0;
        root = xcalloc(1, sizeof *root);
        root->child = copy_tree(zconfig_child(tree), lines, &at);
        zconfig_destroy(&tree);
    } else if (!why->len) {
        zpl_complain(why, file, 0, "cannot be read as ZPL");
    }
    explicit_bzero(copy, len); /* may hold passwords */
    free(copy);
    free(lines);
    return root;
}

void zpl_free(struct zpl *root)
{
    while (root) {
        struct zpl *next = root->next;
        zpl_free(root->child);
        if (root->value)
            explicit_bzero(root->value, strlen(root->value));
        free(root->name);
        free(root->value);
        free(root);
        root = next;
    }
}

const struct zpl *zpl_find(const struct zpl *parent, const char *name)
{
    for (const struct zpl *z = parent->child; z; z = z->next)
        if (strcmp(z->name, name) == 0)
            return z;
    return NULL;
}
