/* SPDX-License-Identifier: MIT */
/*
 * viewer_link.h - the address of a session's viewer. With viewer.key_file the link is signed and ends, so that the
 * address alone shows nothing; the robot checks it (docs/robots.md).
 */
#ifndef CHASQUI_VIEWER_LINK_H
#define CHASQUI_VIEWER_LINK_H

#include "common/buf.h"
#include "common/conf.h"
#include <stdint.h>

/* Reads the key; before any thread is started. false after saying why the file cannot be used. */
bool viewer_link_open(const struct conf *conf);
void viewer_link_close(void);
/* Adds BASE/viewer/SESSION, with ?until=&rights=&signature= when there is a key. `now_s` is unix time. Any thread. */
void viewer_link_add(struct buf *out, const char *base, const char *session_id, int64_t now_s);

#endif
