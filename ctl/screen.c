/* SPDX-License-Identifier: MIT */
/* screen.c - the whole screen of a terminal, and its keys. */
#include "ctl/screen.h"

#include "common/buf.h"
#include "common/check.h"
#include "ctl/plain.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE_MS 50 /* what follows an ESC so soon is one key with it */
#define ESCAPE_ROOM 8

static volatile sig_atomic_t is_told_to_end;

struct screen {
    struct termios before;
    bool has_keys; /* standard input is a terminal */
};

static void told_to_end(int number)
{
    (void)number;
    is_told_to_end = 1;
}

static void told_of_size(int number)
{
    (void)number; /* poll() returns: that is all */
}

void screen_signals(void)
{
    struct sigaction act = {.sa_handler = told_to_end}; /* no SA_RESTART: poll() returns */
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    act.sa_handler = told_of_size;
    sigaction(SIGWINCH, &act, NULL);
}

bool screen_is_told_to_end(void)
{
    return is_told_to_end;
}

bool screen_pause(int ms)
{
    if (!is_told_to_end)
        poll(NULL, 0, ms);
    return !is_told_to_end;
}

struct screen *screen_open(void)
{
    struct screen *s = xcalloc(1, sizeof(*s));
    struct termios raw;
    screen_signals();
    s->has_keys = tcgetattr(STDIN_FILENO, &s->before) == 0;
    if (s->has_keys) {
        raw = s->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs("\033[?1049h\033[?25l\033[2J", stdout);
    return s;
}

void screen_close(struct screen **sp)
{
    if ((*sp)->has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &(*sp)->before);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    free(*sp);
    *sp = NULL;
}

void screen_size(int *columns, int *rows)
{
    struct winsize size = {0};
    bool is_told = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    *columns = is_told && size.ws_col ? size.ws_col : 80;
    *rows = is_told && size.ws_row ? size.ws_row : 24;
}

/* The length of a style such as \033[1;31m, 0 when there is none. */
static size_t style_len(const char *text)
{
    size_t len = strncmp(text, "\033[", 2) == 0 ? 2 + strspn(text + 2, "0123456789;") : 0;
    return len && text[len] == 'm' ? len + 1 : 0;
}

/* What of a line fits, with all its styles. A line that wrapped would scroll the first one away. */
static void line_add(struct buf *out, const char *line, size_t len, int room)
{
    int used = 0, columns;
    for (size_t at = 0, bytes; at < len; at += bytes) {
        if ((bytes = style_len(line + at))) {
            buf_add(out, line + at, bytes);
            continue;
        }
        plain_character(line + at, &bytes, &columns);
        used += columns;
        if (used <= room)
            buf_add(out, line + at, bytes);
    }
    if (used < room) /* in the last column it would take the last character */
        buf_adds(out, "\033[K");
}

void screen_draw(const char *text)
{
    struct buf out = {0};
    int columns, rows;
    screen_size(&columns, &rows);
    buf_adds(&out, "\033[H");
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        line_add(&out, line, len, columns);
        if (line[len] && line[len + 1])
            buf_adds(&out, "\r\n");
        line += len + (line[len] == '\n');
    }
    buf_adds(&out, "\033[J");
    fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    buf_free(&out);
}

/* ---- keys --------------------------------------------------------------------------------------------------- */

static bool is_more(int ms)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&in, 1, ms) > 0;
}

/* What terminals send for a key behind its ESC. */
static int escape_key(void)
{
    static const struct {
        const char *text;
        int key;
    } keys[] = {{"[A", KEY_UP},       {"[B", KEY_DOWN},     {"[C", KEY_RIGHT},     {"[D", KEY_LEFT},
                {"OA", KEY_UP},       {"OB", KEY_DOWN},     {"OC", KEY_RIGHT},     {"OD", KEY_LEFT},
                {"[H", KEY_HOME},     {"[F", KEY_LAST},     {"OH", KEY_HOME},      {"OF", KEY_LAST},
                {"[1~", KEY_HOME},    {"[4~", KEY_LAST},    {"[7~", KEY_HOME},     {"[8~", KEY_LAST},
                {"[Z", KEY_TAB_BACK}, {"[5~", KEY_PAGE_UP}, {"[6~", KEY_PAGE_DOWN}};
    char text[ESCAPE_ROOM] = "";
    for (unsigned n = 0; n + 1 < ESCAPE_ROOM && is_more(ESCAPE_MS); n++) {
        if (read(STDIN_FILENO, &text[n], 1) != 1)
            break;
        for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
            if (strcmp(keys[i].text, text) == 0)
                return keys[i].key;
        if (n && text[n] >= '@' && text[n] <= '~') /* the end of a key that means nothing here */
            return KEY_NONE;
    }
    return *text ? KEY_NONE : KEY_ESCAPE;
}

int screen_key(struct screen *s, int ms)
{
    struct pollfd in = {.fd = s->has_keys ? STDIN_FILENO : -1, .events = POLLIN};
    unsigned char c;
    if (is_told_to_end)
        return KEY_END_OF_INPUT;
    int n = poll(&in, 1, ms);
    if (is_told_to_end)
        return KEY_END_OF_INPUT;
    if (n <= 0)
        return KEY_NONE;
    if (read(STDIN_FILENO, &c, 1) != 1)
        return KEY_END_OF_INPUT;
    switch (c) {
    case '\033':
        return escape_key();
    case '\r':
    case '\n':
        return KEY_ENTER;
    case '\t':
        return KEY_TAB;
    case 0x7f:
    case '\b':
        return KEY_BACKSPACE;
    default:
        return c;
    }
}
