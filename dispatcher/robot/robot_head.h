/* SPDX-License-Identifier: MIT */
/*
 * robot_head.h - the header lines of a robot's answer.
 */
#ifndef CHASQUI_ROBOT_HEAD_H
#define CHASQUI_ROBOT_HEAD_H

#include "dispatcher/robot/robot_http.h"

struct head {               /* zero-initialised; buf_free(&held) at the end */
    struct buf held;        /* one of our lines, which may continue in the next one (obs-fold) */
    const char *request_id; /* sent as X-Request-Id; NULL = none */
    bool is_final;          /* the status is not 1xx */
};

/* Reads one line as curl gives it (any bytes, no NUL at the end) into `a`: Content-Type, Content-Disposition,
 * Content-Encoding, X-Robot-Boot, X-Request-Id. A line counts once the next one has arrived. A status line resets
 * the answer (after 100 Continue) and returns true. */
bool head_line(struct head *h, struct call_answer *a, const char *line, size_t len);

#endif
