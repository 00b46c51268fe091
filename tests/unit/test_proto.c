/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "proto/codec_read.h"

#include "common/id.h"
#include "tests/unit/test.h"

static struct proto_decoder *decoder;

static enum proto_bad decode(uint8_t version, uint8_t type, enum role from, const void *header, size_t len,
                             struct msg *out)
{
    uint8_t head[2] = {version, type};
    struct bus_frame frames[2] = {{head, 2}, {header, len}};
    return proto_decode(decoder, NULL, "", from, frames, 2, out);
}

static enum proto_bad decode_hex(uint8_t type, enum role from, const char *hex, struct msg *out)
{
    static uint8_t bytes[4096];
    size_t len = strlen(hex) / 2;
    assert_true(id_unhex(hex, strlen(hex), bytes));
    return decode(PROTO_VERSION, type, from, bytes, len, out);
}

/* The bytes of SPEC.md's rules, fixed: a change here is another version of the wire. */
TEST(test_golden)
{
    struct msg m = {.type = MSG_HELLO,
                    .HELLO = {.name = STR("d1"), .boot_id = STR("b"), .version = STR("1"), .capacity = 256}};
    struct buf header = {0};
    uint8_t type[2];
    char hex[400];
    proto_encode(&m, type, &header);
    id_hex(header.data, header.len, hex);
    assert_int_equal(type[0], 1);
    assert_int_equal(type[1], 1);
    assert_string_equal(hex, "84a46e616d65a26431a7626f6f745f6964a162a776657273696f6ea131a86361706163697479cd0100");
    buf_clear(&header);
    uint64_t limits[4] = {1, 2, 3, 70000};
    m = (struct msg){.type = MSG_CREDIT, .CREDIT = {.incarnation = UINT64_MAX, .limits = {limits, 4}}};
    proto_encode(&m, type, &header);
    id_hex(header.data, header.len, hex);
    assert_string_equal(hex, "82ab696e6361726e6174696f6ecfffffffffffffffffa66c696d69747394010203ce00011170");
    buf_clear(&header);
    m = (struct msg){.type = MSG_CHUNK, .CHUNK = {.id = 7, .seq = 3, .last = true}};
    proto_encode(&m, type, &header);
    id_hex(header.data, header.len, hex);
    assert_string_equal(hex, "83a2696407a373657103a46c617374c3");
    buf_free(&header);
}

TEST(test_round_trip)
{
    uint64_t companies[] = {1, 500, 1ull << 40};
    uint8_t hash[32] = {1, 2, 3};
    struct msg out, m = {.type = MSG_REQUEST,
                         .REQUEST = {.id = 9,
                                     .lane = 2,
                                     .op = OP_EXECUTE_LOGIN,
                                     .deadline_ms = 120000,
                                     .request_id = STR("r-1"),
                                     .companies = {companies, 3},
                                     .secret_hash = {(const char *)hash, 32},
                                     .portal = STR("sunat"),
                                     .force_new = true,
                                     .reason = STR("ñandú")}};
    struct buf header = {0};
    uint8_t type[2];
    proto_encode(&m, type, &header);
    assert_int_equal(decode(type[0], type[1], ROLE_BROKER, header.data, header.len, &out), PROTO_OK);
    assert_int_equal(out.REQUEST.id, 9);
    assert_int_equal(out.REQUEST.companies.n, 3);
    assert_int_equal(out.REQUEST.companies.v[2], 1ull << 40);
    assert_memory_equal(out.REQUEST.secret_hash.p, hash, 32);
    assert_true(out.REQUEST.force_new && !out.REQUEST.remember);
    assert_true(str_is(out.REQUEST.reason, "ñandú"));
    assert_int_equal(out.REQUEST.session_id.len, 0);
    for (size_t cut = 0; cut < header.len; cut++) /* truncated at each byte */
        assert_int_not_equal(decode(type[0], type[1], ROLE_BROKER, header.data, cut, &out), PROTO_OK);
    buf_free(&header);
}

TEST(test_hostile)
{
    struct msg m;
    static const struct {
        uint8_t type;
        enum role from;
        const char *hex;
        enum proto_bad bad;
    } bad[] = {
        {MSG_HELLO, ROLE_DISPATCHER, "dfffffffff", PROTO_MSGPACK}, /* five bytes, four billion entries */
        {MSG_HELLO, ROLE_DISPATCHER, "81a4786d6178ddffffffff", PROTO_MSGPACK},   /* an array of four billion */
        {MSG_HELLO, ROLE_DISPATCHER, "81a46e616d65dbffffffff61", PROTO_MSGPACK}, /* a string of four billion */
        {MSG_HELLO, ROLE_DISPATCHER, "90", PROTO_MSGPACK},                       /* not a map */
        {MSG_HELLO, ROLE_DISPATCHER, "810101", PROTO_MSGPACK},                   /* a key that is no string */
        {MSG_HELLO, ROLE_DISPATCHER, "82a46e616d65a161a46e616d65a162", PROTO_MSGPACK}, /* a key twice */
        {MSG_HELLO, ROLE_DISPATCHER, "80c0", PROTO_MSGPACK},                         /* something behind the map */
        {MSG_HELLO, ROLE_DISPATCHER, "81a46e616d6501", PROTO_FIELD},                 /* a number for a string */
        {MSG_HELLO, ROLE_DISPATCHER, "81a46e616d65a100", PROTO_FIELD},               /* NUL */
        {MSG_HELLO, ROLE_DISPATCHER, "81a46e616d65a1ff", PROTO_FIELD},               /* not UTF-8 */
        {MSG_HELLO, ROLE_DISPATCHER, "81a86361706163697479ff", PROTO_FIELD},         /* -1 */
        {MSG_HELLO, ROLE_DISPATCHER, "81a86361706163697479ce000186a1", PROTO_BOUND}, /* 100001 */
        {MSG_HELLO, ROLE_DISPATCHER, "81a86361706163697479cb3ff0000000000000", PROTO_FIELD}, /* 1.0 */
        {MSG_HELLO, ROLE_DISPATCHER, "81a178c70100aa", PROTO_MSGPACK},                       /* an ext type */
        {MSG_HELLO, ROLE_DISPATCHER, "81a178919191919191c0", PROTO_MSGPACK},                 /* too deep */
        {MSG_CREDIT, ROLE_DISPATCHER, "81a66c696d697473950102030405", PROTO_BOUND},          /* five lanes */
        {MSG_REQUEST, ROLE_BROKER, "81a26f707f", PROTO_BOUND},                               /* no such op */
        {MSG_REQUEST, ROLE_BROKER, "81a46c616e6504", PROTO_BOUND},                           /* no such lane */
        {MSG_REQUEST, ROLE_DISPATCHER, "80", PROTO_ROLE},
        {MSG_REPLY, ROLE_BROKER, "80", PROTO_ROLE},
        {MSG_HEALTH, ROLE_DISPATCHER, "80", PROTO_ROLE},
        {0, ROLE_BROKER, "80", PROTO_TYPE},
        {200, ROLE_BROKER, "80", PROTO_TYPE},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (decode_hex(bad[i].type, bad[i].from, bad[i].hex, &m) != bad[i].bad)
            fail_msg("%s: %s, not %s", bad[i].hex,
                     proto_bad_text(decode_hex(bad[i].type, bad[i].from, bad[i].hex, &m)),
                     proto_bad_text(bad[i].bad));
    assert_int_equal(decode(2, MSG_HELLO, ROLE_DISPATCHER, "\x80", 1, &m), PROTO_VERSION_UNKNOWN);
    /* Unknown fields of any shape are skipped. */
    assert_int_equal(decode_hex(MSG_HELLO, ROLE_DISPATCHER, "82a1789281a1610102a46e616d65a162", &m), PROTO_OK);
    assert_true(str_is(m.HELLO.name, "b"));
}

TEST(test_frames)
{
    uint8_t head[2] = {PROTO_VERSION, MSG_PONG}, map = 0x80;
    struct bus_frame f[4] = {{head, 2}, {&map, 1}, {"x", 1}, {"y", 1}};
    struct msg m;
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_BROKER, f, 1, &m), PROTO_FRAMES);
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_BROKER, f, 2, &m), PROTO_OK);
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_BROKER, f, 3, &m),
                     PROTO_PAYLOAD); /* PONG carries none */
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_BROKER, f, 4, &m), PROTO_FRAMES);
    f[0].len = 1;
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_BROKER, f, 2, &m), PROTO_FRAMES);
}

static void robot_seen(void *arg, const struct robot_row *row)
{
    struct robot_row *out = arg;
    *out = *row;
}

static void health_seen(void *arg, const struct health_row *row)
{
    struct health_row *out = arg;
    *out = *row;
}

#define ROW(bytes) bytes, sizeof(bytes) - 1
TEST(test_rows)
{
    struct robot_row r = {STR("r1"), STR("http://h:1"), WANTED_DRAINING}, r2;
    struct health_row h = {STR("r1"),   VERDICT_SUSPECT, 1700000000000, -1,          7,
                           STR("boot"), STR("timeout"),  DOWN_NOT,      STR("boot2")},
                      h2;
    struct buf b = {0};
    proto_encode_robots(&b, &r, 1);
    assert_int_equal(proto_decode_robots((struct str){b.data, (uint32_t)b.len}, robot_seen, &r2), 0);
    assert_int_equal(r2.wanted, WANTED_DRAINING);
    for (uint32_t cut = 0; cut < b.len; cut++)
        assert_int_equal(proto_decode_robots((struct str){b.data, cut}, NULL, NULL), -1);
    buf_clear(&b);
    proto_encode_health(&b, &h, 1);
    assert_int_equal(proto_decode_health((struct str){b.data, (uint32_t)b.len}, health_seen, &h2), 0);
    assert_int_equal(h2.sessions, -1);
    assert_int_equal(h2.capacity, 7);
    assert_int_equal(h2.verdict, VERDICT_SUSPECT);
    for (uint32_t cut = 0; cut < b.len; cut++)
        assert_int_equal(proto_decode_health((struct str){b.data, cut}, NULL, NULL), -1);
    assert_true(str_is(h2.other_boot, "boot2"));
    /* What an older healthd sends, and a newer one. */
    static const struct {
        const char *row;
        unsigned len;
        enum down down;
    } rows[] = {
        {ROW("\x91\x97\xa1r\xa4"
             "down"
             "\x01\x00\x00\xa0\xa7"
             "refused"),
         DOWN_DEAD},
        {ROW("\x91\x97\xa1r\xa4"
             "down"
             "\x01\x00\x00\xa0\xa7"
             "timeout"),
         DOWN_SILENT},
        {ROW("\x91\x97\xa1r\xa2"
             "up"
             "\x01\x00\x00\xa0\xa0"),
         DOWN_NOT},
        {ROW("\x91\x9a\xa1r\xa4"
             "down"
             "\x01\x00\x00\xa0\xa7"
             "timeout"
             "\xa4"
             "dead"
             "\xa1"
             "b"
             "\x92\x01\x81\xa1x\x02"),
         DOWN_DEAD},
        {ROW("\x91\x98\xa1r\xa4"
             "down"
             "\x01\x00\x00\xa0\xa7"
             "refused"
             "\xa5"
             "tired"),
         DOWN_SILENT},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(proto_decode_health((struct str){rows[i].row, rows[i].len}, health_seen, &h2), 0);
        assert_int_equal(h2.down, rows[i].down);
    }
    assert_int_equal(proto_decode_health((struct str){"\x91\x96\xa1r\xa2up\x01\x00\x00\xa0", 11}, NULL, NULL), -1);
    assert_int_equal(proto_decode_health((struct str){"\xdd\xff\xff\xff\xff", 5}, NULL, NULL), -1);
    buf_free(&b);
}

static void robot_stats_seen(void *arg, const struct robot_stats_row *row)
{
    struct robot_stats_row *out = arg;
    *out = *row;
}

static void company_stats_seen(void *arg, const struct company_stats_row *row)
{
    struct company_stats_row *out = arg;
    *out = *row;
}

static void attempt_stats_seen(void *arg, const struct attempt_stats_row *row)
{
    struct attempt_stats_row *out = arg;
    *out = *row;
}

TEST(test_rows_of_statistics)
{
    struct robot_stats_row r = {STR("r1"), WANTED_DRAINING, 3, 70000, 1, {1500, {1, 1}}, {0, 7}, 5}, r2;
    struct company_stats_row c = {20131, 5, 70000, 9, 1ull << 40}, c2;
    struct buf b = {0};
    proto_encode_robot_stats(&b, &r, 1);
    assert_int_equal(proto_decode_robot_stats((struct str){b.data, (uint32_t)b.len}, robot_stats_seen, &r2), 0);
    assert_int_equal(r2.wanted, WANTED_DRAINING);
    assert_memory_equal(&r2.login, &r.login, sizeof(r.login));
    assert_memory_equal(r2.fault, r.fault, sizeof(r.fault));
    assert_int_equal(r2.done, 70000);
    assert_int_equal(r2.mute, 5);
    for (uint32_t cut = 0; cut < b.len; cut++)
        assert_int_equal(proto_decode_robot_stats((struct str){b.data, cut}, NULL, NULL), -1);
    assert_int_equal(proto_decode_robot_stats((struct str){"\xdd\xff\xff\xff\xff", 5}, NULL, NULL), -1);
    buf_clear(&b);
    proto_encode_company_stats(&b, &c, 1);
    assert_int_equal(proto_decode_company_stats((struct str){b.data, (uint32_t)b.len}, company_stats_seen, &c2),
                     0);
    assert_memory_equal(&c2, &c, sizeof(c));
    for (uint32_t cut = 0; cut < b.len; cut++)
        assert_int_equal(proto_decode_company_stats((struct str){b.data, cut}, NULL, NULL), -1);
    buf_clear(&b);
    struct attempt_stats_row a = {STR("sunat"), STR("sunat.l"), STR("refused"), STR("bad"), 300}, a2;
    char hex[200];
    proto_encode_attempt_stats(&b, &a, 1);
    id_hex(b.data, b.len, hex);
    assert_string_equal(hex, "9195a573756e6174a773756e61742e6ca772656675736564a3626164cd012c");
    assert_int_equal(proto_decode_attempt_stats((struct str){b.data, (uint32_t)b.len}, attempt_stats_seen, &a2),
                     0);
    assert_true(a2.n == 300 && a2.robot_error.len == 3 && a2.outcome.len == 7);
    for (uint32_t cut = 0; cut < b.len; cut++)
        assert_int_equal(proto_decode_attempt_stats((struct str){b.data, cut}, NULL, NULL), -1);
    buf_free(&b);
}

/* A histogram among the statistics is an array; one with too many buckets, or of something else, is refused. */
TEST(test_histograms)
{
    static struct stats sent = {.present = true};
    struct msg m = {.type = MSG_PING, .PING = {.seq = 1, .stats = &sent}}, got;
    struct buf header = {0};
    uint8_t head[2];
    sent.h[HIST_database_op_seconds] = (struct hist){.sum_us = 12345, .n = {1, 2, [HIST_BUCKETS - 1] = 70000}};
    sent.v[STAT_uptime_seconds] = 9;
    proto_encode(&m, head, &header);
    struct bus_frame f[2] = {{head, 2}, {header.data, header.len}};
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_DISPATCHER, f, 2, &got), PROTO_OK);
    assert_memory_equal(got.PING.stats->h, sent.h, sizeof(sent.h));
    assert_int_equal(got.PING.stats->v[STAT_uptime_seconds], 9);
    buf_free(&header);
    static const char unknown[] = "\x81\xa5stats\x81\xa1x\x92\x01\x02", text[] = "\x81\xa5stats\x81\xa1x\x91\xa1y",
                      many[] = "\x81\xa5stats\x81\xa1x\xdc\x00\x14\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1";
    f[1] = (struct bus_frame){unknown, sizeof unknown - 1};
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_DISPATCHER, f, 2, &got), PROTO_OK);
    f[1] = (struct bus_frame){text, sizeof text - 1};
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_DISPATCHER, f, 2, &got), PROTO_FIELD);
    f[1] = (struct bus_frame){many, sizeof many - 1};
    assert_int_equal(proto_decode(decoder, NULL, "", ROLE_DISPATCHER, f, 2, &got), PROTO_BOUND);
}

TEST(test_texts_are_cut_at_a_character)
{
    char out[6];
    assert_int_equal(str_cut(STR("abc"), 3).len, 3);
    assert_int_equal(str_cut(STR("a\u00f1\u00f1"), 4).len, 3);
    assert_int_equal(str_cut(STR("\u20ac\u20ac"), 5).len, 3);
    assert_int_equal(str_cut(STR("\u20ac"), 2).len, 0);
    str_copy(out, sizeof out, STR("ab\U0001f600"));
    assert_string_equal(out, "ab");
    str_copy(out, sizeof out, STR("abcde"));
    assert_string_equal(out, "abcde");
}

static int decoder_make(void **state)
{
    (void)state;
    decoder = proto_decoder_new();
    return 0;
}

static int decoder_end(void **state)
{
    (void)state;
    proto_decoder_destroy(&decoder);
    return 0;
}

TEST_MAIN(decoder_make, decoder_end)
