/* SPDX-License-Identifier: MIT */
/*
 * gate.h - what stands in front of the HTTP library: it parses heads leniently,
 * and what one parser lets through another reads differently (request
 * smuggling). The gate admits only heads that can be read in one way (RFC 9112).
 */
#ifndef CHASQUI_GATE_H
#define CHASQUI_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_HEAD_BYTES_MAX 32768 /* request line, fields and empty line */

struct gate_field {
    const char *name, *value; /* NUL-terminated, in the head's memory */
};

/* A head as libmicrohttpd 0.9.75 leaves it: the parser works in place and puts NULs where the ends of methods,
 * names and lines were, so the bytes between the parts still tell how the head looked. */
struct gate_head {
    const char *method;    /* the head's first byte */
    const char *target_at; /* where the request target began */
    const char *target;    /* a copy made before the library took it apart, NUL-terminated */
    const char *version;   /* "HTTP/1.1" */
    const struct gate_field *fields;
    unsigned n;
    size_t bytes; /* from the method to the end of the empty line */
};

/* Host and port of a target in absolute form ("http://host/path", RFC 9112 3.2.2); NULL of any other. */
const char *gate_authority(const char *target, size_t *len);

enum gate_verdict { GATE_PASS, GATE_BAD, GATE_TOO_LARGE };

/* What the gate learnt on its way; valid for GATE_PASS only. */
struct gate_framing {
    bool is_http10, is_chunked;
    uint64_t content_length; /* 0 when absent or chunked */
};

/* `why` is set to a short reason for people (static), empty for GATE_PASS. */
enum gate_verdict gate_check(const struct gate_head *h, struct gate_framing *framing, const char **why);

#endif
