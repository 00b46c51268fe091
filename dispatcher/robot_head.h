/*
 * robot_head.h - the header lines of a robot's answer.
 */
#ifndef CHASQUI_ROBOT_HEAD_H
#define CHASQUI_ROBOT_HEAD_H

#include "dispatcher/robot_http.h"

/* Takes one line as curl gives it (any bytes, no NUL at the end) into `a`: Content-Type, Content-Disposition,
 * X-Robot-Boot. A status line begins anew (after 100 Continue) and answers true. */
bool head_line(struct call_answer *a, const char *line, size_t len);

#endif
