/* SPDX-License-Identifier: MIT */
/*
 * plain.h - text that came from elsewhere (what robots, tenants and brokers
 * say), as a terminal may get it: nothing in it is obeyed. Everything that the
 * command prints of it goes through here.
 */
#ifndef CHASQUI_CTL_PLAIN_H
#define CHASQUI_CTL_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The next character of `text`, which is not empty: its bytes, and its columns on the screen. false: it is not printed as it is. */
bool plain_character(const char *text, size_t *bytes, int *columns);
/* A copy with \n, \t, \x1b and the like for control characters (below 0x20, 0x7f, C1), '?' for what cannot be shown. The
 * caller frees it. */
char *plain_text(const char *text);
/* A line. */
void plain_line(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* JSON with what it leaves as it is (0x7f, C1) escaped, and a line end. */
void plain_json(FILE *out, const char *json, size_t len);

#endif
