/* SPDX-License-Identifier: MIT */
/*
 * screen.h - the whole screen of a terminal, and its keys. Plain ANSI: the
 * alternate screen, each line written over the last one, so that nothing
 * flickers over ssh. It is put back whatever ends the program in order.
 */
#ifndef CHASQUI_CTL_SCREEN_H
#define CHASQUI_CTL_SCREEN_H

#include <stdbool.h>

struct screen; /* one at a time */

enum key { /* other keys are the character itself */
           KEY_NONE = 0,
           KEY_END_OF_INPUT = 256,
           KEY_UP,
           KEY_DOWN,
           KEY_LEFT,
           KEY_RIGHT,
           KEY_PAGE_UP,
           KEY_PAGE_DOWN,
           KEY_HOME,
           KEY_LAST,
           KEY_ENTER,
           KEY_ESCAPE,
           KEY_TAB,
           KEY_TAB_BACK,
           KEY_BACKSPACE
};

/* SIGINT, SIGTERM and SIGHUP are only remembered from here on. */
void screen_signals(void);
bool screen_is_told_to_end(void);
/* Waits without a screen; false: it was told to end. */
bool screen_pause(int ms);

struct screen *screen_open(void);
void screen_close(struct screen **sp);
/* How large it is; 80 x 24 when the terminal does not say. */
void screen_size(int *columns, int *rows);
/* `text`, its lines from the top, each cut at the terminal's width; the rest of each and of the screen is emptied. */
void screen_draw(const char *text);
/* The next key, KEY_NONE after `ms` without one (at a change of the size, too), KEY_END_OF_INPUT when it was told to end. */
int screen_key(struct screen *s, int ms);

#endif
