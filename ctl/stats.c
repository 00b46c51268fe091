/*
 * stats.c - `chasqui stats`: the numbers once, or live on the whole screen. A
 * broker answers from what processes report to it; looking costs no query.
 *
 * The screen is plain ANSI: the alternate screen, each line written over the
 * last one, so that nothing flickers over ssh. It is put back whatever ends it.
 */
#include "ctl/broker.h"
#include "ctl/stats_view.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define STATS_PATH "/api/v1/ops/stats?history=0"
#define EVERY_MS 1000

static volatile sig_atomic_t is_told_to_end;

static void told_to_end(int number)
{
    (void)number;
    is_told_to_end = 1;
}

static void signals_take(void)
{
    struct sigaction act = {.sa_handler = told_to_end}; /* no SA_RESTART: poll() returns */
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
}

static struct stats_size terminal_size(void)
{
    struct winsize size = {0};
    bool is_terminal = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    return (struct stats_size){.columns = is_terminal ? size.ws_col : 0,
                               .with_colour = is_terminal && !getenv("NO_COLOR")};
}

/* ---- once ---------------------------------------------------------------------------------------------------------- */

static enum ctl_exit show_once(struct ctl *c)
{
    struct jv *body = broker_get(c, DOOR_OPS, STATS_PATH);
    struct stats_size size = terminal_size();
    struct buf text = {0};
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    stats_view(body, &size, &text);
    fputs(text.data, stdout);
    buf_free(&text);
    jv_free(body);
    return CTL_DONE;
}

/* ---- the whole screen ---------------------------------------------------------------------------------------------- */

struct screen {
    struct termios before;
    bool has_keys; /* standard input is a terminal */
};

static void screen_open(struct screen *s)
{
    struct termios raw;
    s->has_keys = tcgetattr(STDIN_FILENO, &s->before) == 0;
    if (s->has_keys) {
        raw = s->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs("\033[?1049h\033[?25l\033[2J", stdout);
}

static void screen_close(struct screen *s)
{
    if (s->has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
}

/* From the top, each line's rest and the rest of the screen emptied. */
static void screen_draw(const char *text)
{
    struct buf out = {0};
    buf_adds(&out, "\033[H");
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        buf_add(&out, line, len);
        buf_adds(&out, line[len] && line[len + 1] ? "\033[K\r\n" : "\033[K");
        line += len + (line[len] == '\n');
    }
    buf_adds(&out, "\033[J");
    fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    buf_free(&out);
}

/* false: `q` was pressed, or it was told to end. */
static bool wait_a_second(const struct screen *s)
{
    struct pollfd key = {.fd = s->has_keys ? STDIN_FILENO : -1, .events = POLLIN};
    char pressed;
    if (poll(&key, 1, EVERY_MS) > 0 && (read(STDIN_FILENO, &pressed, 1) != 1 || pressed == 'q' || pressed == 'Q'))
        return false;
    return !is_told_to_end;
}

/* Asks without a word on failure: the screen says it. */
static void frame(struct ctl *c, struct buf *text)
{
    struct http_request request = {.method = "GET", .base_url = c->conf->ctl_ops_url, .path = STATS_PATH};
    struct http_answer answer;
    struct winsize window = {0};
    struct stats_size size = terminal_size();
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    size.rows = window.ws_row > 2 ? window.ws_row - 1 : 23;
    http_ask(c, &request, &answer);
    if (broker_is_good(&answer))
        stats_view(answer.body, &size, text);
    else if (!answer.status)
        buf_addf(text, "no broker answers at %s: %s\ntrying again every second\n", answer.url, answer.why);
    else
        buf_addf(text, "%s answered %d; is ctl.token set, with the ability ops:read?\n", answer.url, answer.status);
    buf_adds(text, "q ends this");
    jv_free(answer.body);
}

static enum ctl_exit watch_screen(struct ctl *c)
{
    struct screen s;
    signals_take();
    screen_open(&s);
    do {
        struct buf text = {0};
        frame(c, &text);
        screen_draw(text.data);
        buf_free(&text);
    } while (wait_a_second(&s));
    screen_close(&s);
    return CTL_DONE;
}

/* An object a line, for programs. */
static enum ctl_exit watch_json(struct ctl *c)
{
    struct screen none = {.has_keys = false};
    signals_take();
    do {
        struct jv *body = broker_get(c, DOOR_OPS, STATS_PATH);
        if (!body)
            return CTL_FAILED;
        ctl_json(body);
        if (fflush(stdout) != 0)
            return CTL_FAILED;
    } while (wait_a_second(&none));
    return CTL_DONE;
}

enum ctl_exit stats_command(struct ctl *c)
{
    if (!c->args.n[OPT_WATCH])
        return show_once(c);
    if (c->args.json)
        return watch_json(c);
    if (!isatty(STDOUT_FILENO))
        return ctl_usage(c, "--watch needs a terminal; with --json it prints an object each second");
    return watch_screen(c);
}
