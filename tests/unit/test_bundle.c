/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "proto/bundle.h"

#include "tests/unit/test.h"

struct seen {
    struct proto_decoder *decoder;
    unsigned n, stop_after;
    uint64_t ids[8];
    size_t payloads[8];
};

static bool see(void *arg, const struct bus_frame *frames, unsigned n)
{
    struct seen *s = arg;
    struct msg m;
    assert_int_equal(proto_decode(s->decoder, NULL, "", ROLE_BROKER, frames, n, &m), PROTO_OK);
    s->ids[s->n] = m.type == MSG_REQUEST ? m.REQUEST.id : m.CANCEL.id;
    s->payloads[s->n++] = m.payload.len;
    return s->n != s->stop_after;
}

static void fill(struct bundle *b)
{
    struct msg request = {.type = MSG_REQUEST, .REQUEST = {.id = 7, .session_id = STR("s")}, .payload = STR("{}")};
    struct msg cancel = {.type = MSG_CANCEL, .CANCEL = {.id = 8}};
    assert_false(bundle_add(b, &request));
    assert_false(bundle_add(b, &cancel));
    request.REQUEST.id = 9;
    assert_false(bundle_add(b, &request));
    assert_int_equal(b->n, 3);
}

TEST(test_order)
{
    struct bundle b = {0};
    struct seen s = {.decoder = proto_decoder_new()};
    fill(&b);
    assert_true(bundle_each((struct str){b.data.data, (uint32_t)b.data.len}, see, &s));
    assert_int_equal(s.n, 3);
    assert_int_equal(s.ids[0], 7);
    assert_int_equal(s.ids[1], 8);
    assert_int_equal(s.ids[2], 9);
    assert_int_equal(s.payloads[0], 2);
    assert_int_equal(s.payloads[1], 0);
    s.n = 0;
    s.stop_after = 2;
    assert_true(bundle_each((struct str){b.data.data, (uint32_t)b.data.len}, see, &s));
    assert_int_equal(s.n, 2);
    bundle_drop(&b);
    assert_true(bundle_each((struct str){"", 0}, see, &s));
    assert_int_equal(s.n, 2);
    buf_free(&b.data);
    proto_decoder_destroy(&s.decoder);
}

/* Whatever is cut off, what is whole before it counts, and nothing is read beyond it. */
TEST(test_hostile)
{
    struct bundle b = {0};
    struct seen s = {.decoder = proto_decoder_new()};
    fill(&b);
    unsigned whole = 0;
    for (uint32_t cut = 1; cut < b.data.len; cut++) {
        char *exact = malloc(cut);
        memcpy(exact, b.data.data, cut);
        s.n = 0;
        whole += bundle_each((struct str){exact, cut}, see, &s);
        assert_true(s.n < 3);
        free(exact);
    }
    assert_int_equal(whole, 2); /* cut between two */
    s.n = 0;
    b.data.data[9] = MSG_MANY;
    assert_false(bundle_each((struct str){b.data.data, (uint32_t)b.data.len}, see, &s));
    memset(b.data.data, 0xff, 8);
    assert_false(bundle_each((struct str){b.data.data, (uint32_t)b.data.len}, see, &s));
    assert_int_equal(s.n, 0);
    buf_free(&b.data);
    proto_decoder_destroy(&s.decoder);
}

TEST(test_what_fits)
{
    struct msg m = {.type = MSG_REPLY, .payload = {"", BUNDLE_PAYLOAD_MAX}};
    assert_true(bundle_fits(&m));
    m.payload.len++;
    assert_false(bundle_fits(&m));
    m = (struct msg){.type = MSG_CHUNK};
    assert_false(bundle_fits(&m));
    m = (struct msg){.type = MSG_PING};
    assert_false(bundle_fits(&m));
}

TEST_MAIN(NULL, NULL)
