/* SPDX-License-Identifier: MIT */
/*
 * gate.h - a check in front of the HTTP library. The library parses heads leniently, and two lenient parsers may
 * read one head in two ways (request smuggling). The gate admits only heads with a single reading (RFC 9112).
 */
#ifndef CHASQUI_GATE_H
#define CHASQUI_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_HEAD_BYTES_MAX 16384 /* request line, fields and empty line */

struct gate_field {
    const char *name, *value; /* NUL-terminated, in the head's memory */
};

/* A head as libmicrohttpd 0.9.75 leaves it. The parser works in place and writes NULs over the ends of methods,
 * names and lines, so the bytes between the parts still show the original head. */
struct gate_head {
    const char *method;    /* the head's first byte */
    const char *target_at; /* where the request target began */
    const char *target;    /* a copy made before the library parsed it, NUL-terminated */
    const char *version;   /* "HTTP/1.1" */
    const struct gate_field *fields;
    unsigned n;
    size_t bytes; /* from the method to the end of the empty line */
};

/* Host and port of a target in absolute form ("http://host/path", RFC 9112 3.2.2); NULL for any other target. */
const char *gate_authority(const char *target, size_t *len);

enum gate_verdict { GATE_PASS, GATE_BAD, GATE_TOO_LARGE };

/* Properties found by the gate; valid for GATE_PASS only. */
struct gate_framing {
    bool is_http10, is_chunked;
    uint64_t content_length; /* 0 when absent or chunked */
};

/* `why` is set to a short reason for people (static), empty for GATE_PASS. */
enum gate_verdict gate_check(const struct gate_head *h, struct gate_framing *framing, const char **why);

#endif
