/* SPDX-License-Identifier: MIT */
/*
 * proto.h - the wire protocol between Chasqui's processes (manual: SPEC.md).
 *
 * A message is `[version+type][msgpack header][payload]`. Frame 0 is two bytes: PROTO_VERSION and the message's
 * code. Frame 1 is a msgpack map. Frame 2 exists only in messages that carry a payload. The codec is made from
 * proto.def. All input from a peer is hostile until proto_decode() has returned 0. proto_decode() first walks the
 * raw bytes (declared counts <= bytes left, depth <= 4, items <= 4096), then checks the type and bounds of each
 * field.
 */
#ifndef CHASQUI_PROTO_H
#define CHASQUI_PROTO_H

#include "common/bus.h"
#include "common/buf.h"
#include "common/stat.h"
#include <stdbool.h>
#include <stdint.h>

#define PROTO_VERSION 1
#define PROTO_PING_MS 500        /* interval of the PING in each direction */
#define PROTO_SILENT_MS 2000     /* a peer silent for this long is considered gone */
#define CHUNK_MAX 262144         /* maximum bytes of a CHUNK's payload */
#define CHUNK_MIN 32768          /* a stream's chunk may always hold this many bytes */
#define CHUNK_WINDOW 4           /* unacknowledged chunks that a new stream may have */
#define REPLY_PAYLOAD_MAX 524288 /* longer answers are streamed */
#define REQUEST_PAYLOAD_MAX 1048576
#define PROTO_COMPANIES_MAX 1000   /* companies of a token in each REQUEST */
#define TOKEN_FOREIGN (1ull << 62) /* ids from here on belong to tokens that are not in chasqui_tokens */
#define TOKEN_TEXT_MAX 8192
enum foreign {
    FOREIGN_FORM = 1,
    FOREIGN_TEXT = 2
}; /* HELLO.foreign: verifies tokens in another format and needs their text */
#define HEALTH_ROBOTS_MAX 5000
#define ROBOT_STATS_MAX 1000 /* rows in one message; more robots take more messages */
#define COMPANY_STATS_MAX 64
#define ATTEMPT_STATS_MAX 500

enum lane { LANE_CONTROL, LANE_INTERACTIVE, LANE_LOGIN, LANE_BATCH, LANE_COUNT };
extern const char *const lane_name[LANE_COUNT];

enum role { ROLE_BROKER = 1, ROLE_DISPATCHER = 2, ROLE_HEALTHD = 4 };

enum op {
#define OP(sym, lane, repeatable, help) OP_##sym,
#include "op.def"
#undef OP
    OP_COUNT
};
struct op_row {
    const char *name;
    enum lane lane;
    bool repeatable;
};
extern const struct op_row op_table[OP_COUNT];

struct str {
    const char *p;
    uint32_t len;
}; /* borrowed from the frame (decode) or from the caller (encode) */
#define STR(cstr) ((struct str){(cstr), (uint32_t)__builtin_strlen(cstr)})
struct str str_of(const char *s); /* NULL = "" */
bool str_is(struct str s, const char *c);
/* Copies s with a NUL, cut to at most room-1 bytes, never inside a character. */
void str_copy(char *out, size_t room, struct str s);
/* The first `max` bytes of s at most, cut at a UTF-8 character boundary. */
struct str str_cut(struct str s, size_t max);

struct u64s {
    const uint64_t *v;
    uint32_t n;
}; /* decode: points into the message's own pool */

enum msg_type {
#define MSG(sym, code, roles, help) MSG_##sym = code,
#define F_U64(m, f, max)
#define F_BOOL(m, f)
#define F_STR(m, f, max)
#define F_BIN(m, f, max)
#define F_U64S(m, f, max)
#define F_STATS(m, f)
#define END(m)
#include "proto.def"
#undef MSG
#undef F_U64
#undef F_BOOL
#undef F_STR
#undef F_BIN
#undef F_U64S
#undef F_STATS
#undef END
    MSG_TYPE_MAX
};

/* struct msg_HELLO { ... } and so on */
#define MSG(sym, code, roles, help) struct msg_##sym {
#define F_U64(m, f, max) uint64_t f;
#define F_BOOL(m, f) bool f;
#define F_STR(m, f, max) struct str f;
#define F_BIN(m, f, max) struct str f;
#define F_U64S(m, f, max) struct u64s f;
#define F_STATS(m, f) struct stats *f;
#define END(m)                                                                                                    \
    }                                                                                                             \
    ;
#include "proto.def"
#undef MSG
#undef F_U64
#undef F_BOOL
#undef F_STR
#undef F_BIN
#undef F_U64S
#undef F_STATS
#undef END

struct msg {
    enum msg_type type;
    union {
#define MSG(sym, code, roles, help) struct msg_##sym sym;
#define F_U64(m, f, max)
#define F_BOOL(m, f)
#define F_STR(m, f, max)
#define F_BIN(m, f, max)
#define F_U64S(m, f, max)
#define F_STATS(m, f)
#define END(m)
#include "proto.def"
#undef MSG
#undef F_U64
#undef F_BOOL
#undef F_STR
#undef F_BIN
#undef F_U64S
#undef F_STATS
#undef END
    };
    struct str payload; /* empty when there is none */
};

enum proto_bad {
    PROTO_OK,
    PROTO_FRAMES,
    PROTO_VERSION_UNKNOWN,
    PROTO_TYPE,
    PROTO_MSGPACK,
    PROTO_FIELD,
    PROTO_BOUND,
    PROTO_ROLE,
    PROTO_PAYLOAD
};
const char *proto_bad_text(enum proto_bad bad);

/* A decoder owns the arrays that decoded messages point into. One per process is enough. A decoded message is
 * valid until the next proto_decode() with the same decoder, or until its frames are freed, whichever is first. */
struct proto_decoder;
struct proto_decoder *proto_decoder_new(void);
void proto_decoder_destroy(struct proto_decoder **dp);
/* `from` is the one role that the socket's peers must have. The message's type must be one that this role may
 * send, and bus_peer_is(bus, role, that) must hold (bus NULL: not checked, for tests). */
enum proto_bad proto_decode(struct proto_decoder *d, struct bus *bus, const char *zap_role, enum role from,
                            const struct bus_frame *frames, unsigned n, struct msg *out);

/* Encodes the first two frames: the two type bytes into type_frame, the header into header->data. proto_send shows
 * its use. */
void proto_encode(const struct msg *m, uint8_t type_frame[2], struct buf *header);
/* Encodes and sends; the payload is copied. Returns as bus_send. Counts stat bus_messages_out_total. */
int proto_send(struct bus_sock *s, const void *peer, size_t peer_len, const struct msg *m);
/* As proto_send, but payload.p must be malloc'ed. Ownership of it passes to the bus when 0 is returned. */
int proto_send_take(struct bus_sock *s, const void *peer, size_t peer_len, const struct msg *m);

/* Payload rows of ROBOTS and HEALTH. For the decoders of all rows, see proto_decode_robots(). */
enum verdict { VERDICT_UNKNOWN, VERDICT_UP, VERDICT_SUSPECT, VERDICT_DOWN };
extern const char *const verdict_name[4];
/* In what way a robot is down. Dead: no process listens at its port. Silent: a process listens but does not
 * answer. */
enum down { DOWN_NOT, DOWN_DEAD, DOWN_SILENT };
extern const char *const down_name[3]; /* "", dead, silent */
enum wanted { WANTED_ACTIVE, WANTED_DRAINING, WANTED_DISABLED };
extern const char *const wanted_name[3];
struct robot_row {
    struct str name, base_url;
    enum wanted wanted;
};
struct health_row {
    struct str name;
    enum verdict verdict;
    int64_t since_unix_ms;
    int64_t sessions, capacity; /* -1 = not reported */
    struct str boot_id, why;    /* "" = none */
    enum down down;             /* DOWN_NOT unless the verdict is down */
    struct str other_boot;      /* boot id of a second process that answers under the same URL; "" = none */
};
/* Compares two healthds' verdicts on a robot; the better one counts. Order: up, suspect, silent, dead, unknown. Of
 * equal verdicts the latest counts. */
bool health_is_better(const struct health_row *a, const struct health_row *b);
enum fault {
#define FAULT(symbol, name, line) FAULT_##symbol,
#include "fault.def"
#undef FAULT
    FAULT_COUNT
};
extern const char *const fault_name[FAULT_COUNT];
/* why a robot is suspect when /health succeeds but calls to it get no answer */
#define MUTE_WHY "healthy but silent"
/* Rows of ROBOT_STATS, ATTEMPT_STATS and COMPANY_STATS. */
struct robot_stats_row {
    struct str name;
    enum wanted wanted;
    uint64_t in_flight, done, failed; /* log-ins */
    struct hist login;
    uint64_t fault[FAULT_COUNT];
    uint64_t mute; /* when missed answers make it suspect: the number of latest calls it did not answer; else 0 */
};
struct attempt_stats_row {
    struct str portal, action, outcome, robot_error;
    uint64_t n;
}; /* robot_error "" = the robot named none */
struct company_stats_row {
    uint64_t company_id, waits, wait_ms, requests, busy_ms;
};
void proto_encode_robots(struct buf *out, const struct robot_row *rows, unsigned n);
/* Calls fn for each row. Returns -1 when malformed, and fn may then have been called for some rows: decode twice,
 * the first time with fn NULL. */
int proto_decode_robots(struct str payload, void (*fn)(void *arg, const struct robot_row *row), void *arg);
void proto_encode_health(struct buf *out, const struct health_row *rows, unsigned n);
int proto_decode_health(struct str payload, void (*fn)(void *arg, const struct health_row *row), void *arg);
void proto_encode_robot_stats(struct buf *out, const struct robot_stats_row *rows, unsigned n);
int proto_decode_robot_stats(struct str payload, void (*fn)(void *arg, const struct robot_stats_row *row),
                             void *arg);
void proto_encode_attempt_stats(struct buf *out, const struct attempt_stats_row *rows, unsigned n);
int proto_decode_attempt_stats(struct str payload, void (*fn)(void *arg, const struct attempt_stats_row *row),
                               void *arg);
void proto_encode_company_stats(struct buf *out, const struct company_stats_row *rows, unsigned n);
int proto_decode_company_stats(struct str payload, void (*fn)(void *arg, const struct company_stats_row *row),
                               void *arg);

#endif
