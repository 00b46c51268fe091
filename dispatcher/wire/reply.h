/* SPDX-License-Identifier: MIT */
/* reply.h - the answers to requests: whole ones, and streams. */
#ifndef CHASQUI_DISPATCHER_REPLY_H
#define CHASQUI_DISPATCHER_REPLY_H

#include "dispatcher/dispatcher.h"

/* Each of these answers once and frees the request. Bodies are copied unless stated otherwise. */
void reply_take(struct dispatcher *d, struct request *r, int status, const char *content_type,
                const char *session_id,
                struct buf *body); /* takes body's bytes; a body over REPLY_PAYLOAD_MAX is streamed from memory */
void reply_jv(struct dispatcher *d, struct request *r, int status, struct jv *body); /* takes body */
/* message NULL = err_text(e); extra (taken, may be NULL) = members merged into the error body. The caller must
 * replace robots' base URLs in message and extra (robots_hide_urls). */
void reply_error(struct dispatcher *d, struct request *r, enum err e, const char *message, struct jv *extra);
void reply_ended(struct dispatcher *d, struct request *r,
                 const struct session_row *row); /* 410 with state, since, reason, successor_session_id */
/* Informs the broker. job_uid NULL = the request's own. */
void request_accepted(struct dispatcher *d, struct request *r, uint64_t job_id, const char *job_uid);
/* Streams: begin, then chunks as the receiver's credit allows; `writable` is called when chunks may be sent. */
void stream_begin(struct dispatcher *d, struct request *r, int status, const char *content_type,
                  int64_t length /* -1 unknown */, const char *filename /* NULL = not an attachment */,
                  const char *session_id, void (*on_credit)(struct dispatcher *d, struct request *r));
unsigned stream_credit(const struct request *r);
void stream_chunk(struct dispatcher *d, struct request *r, char *data /* malloc'ed, taken */, size_t len);
void stream_end(struct dispatcher *d, struct request *r,
                bool broken); /* needs no credit; answers and frees the request */

#endif
