/* SPDX-License-Identifier: MIT */
/*
 * stats.c - `chasqui stats`: the numbers once, or an object each second; watch.c
 * has them on the whole screen. A broker answers from what processes report to
 * it; looking costs no query.
 */
#include "ctl/broker.h"
#include "ctl/colour.h"
#include "ctl/screen.h"
#include "ctl/stats_view.h"
#include "ctl/watch.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define STATS_PATH "/api/v1/ops/stats?history=0"
#define EVERY_MS 1000

static struct stats_size terminal_size(void)
{
    struct winsize size = {0};
    bool is_terminal = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    return (struct stats_size){.columns = is_terminal ? size.ws_col : 0,
                               .with_colour = is_terminal && colour_wanted(STDOUT_FILENO)};
}

/* ---- once --------------------------------------------------------------------------------------------------- */

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

/* An object a line, for programs. */
static enum ctl_exit watch_json(struct ctl *c)
{
    screen_signals();
    do {
        struct jv *body = broker_get(c, DOOR_OPS, STATS_PATH);
        if (!body)
            return CTL_FAILED;
        ctl_json(body);
        if (fflush(stdout) != 0)
            return CTL_FAILED;
    } while (screen_pause(EVERY_MS));
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
    return watch_command(c);
}
