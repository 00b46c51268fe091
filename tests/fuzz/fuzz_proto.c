/* parts: common */
/* SPDX-License-Identifier: MIT */
/* Good messages with bytes changed, cut and doubled, and random bytes, given to every decoder. Nothing may crash, read beyond
 * its frame (ASan) or take a message that is over its bounds. */
#include "proto/bundle.h"

#include "tests/fuzz/fuzz.h"

static void seed_message(struct buf *out, uint8_t type[2])
{
    static uint64_t numbers[] = {1, 300, 70000, 1ull << 40};
    static struct stats stats = {.present = true};
    struct msg m[] = {
        {.type = MSG_HELLO,
         .HELLO = {.name = STR("d1"),
                   .boot_id = STR("boot"),
                   .version = STR("1"),
                   .capacity = 256,
                   .foreign = 3,
                   .alerts = true}},
        {.type = MSG_PING,
         .PING = {.seq = 5, .incarnation = 9, .limits = {numbers, 4}, .database_ok = true, .stats = &stats}},
        {.type = MSG_REQUEST,
         .REQUEST = {.id = 1,
                     .op = 3,
                     .request_id = STR("abc"),
                     .companies = {numbers, 4},
                     .session_id = STR("s"),
                     .portal = STR("sunat"),
                     .user_id = 12}},
        {.type = MSG_REPLY, .REPLY = {.id = 1, .status = 502, .error = STR("robot_error"), .message = STR("no")}},
        {.type = MSG_HEALTH, .HEALTH = {.incarnation = STR("i"), .seq = 2, .full = true, .stats = &stats}},
    };
    stats.v[0] = 17;
    stats.h[0] = (struct hist){.sum_us = 70000, .n = {1, 0, 300}};
    proto_encode(&PICK(m), type, out);
}

static void seed_rows(struct buf *out)
{
    struct robot_row r[2] = {{STR("r1"), STR("http://a:1"), WANTED_ACTIVE},
                             {STR("r2"), STR("http://b:2"), WANTED_DISABLED}};
    struct health_row h[2] = {{STR("r1"), VERDICT_UP, 1, 2, 3, STR("b"), STR(""), .down = DOWN_NOT},
                              {STR("r2"), VERDICT_DOWN, 9, -1, -1, STR(""), STR("timeout"), .down = DOWN_SILENT}};
    struct robot_stats_row s[2] = {{STR("r1"), WANTED_ACTIVE, 1, 2, 3, {70000, {1, 0, 300}}, {1}, .mute = 0},
                                   {.name = STR("r2"), .mute = 3}};
    struct company_stats_row c[2] = {{1, 2, 3, 4, 5}, {20131, 0, 0, 1, 70000}};
    struct attempt_stats_row a[2] = {
        {STR("sunat"), STR("sunat.menu_sol_login"), STR("refused"), STR("bad_credentials"), 7},
        {STR("p"), STR("p.l"), STR("done"), STR(""), 1}};
    switch (pick(5)) {
    case 0:
        proto_encode_robots(out, r, 2);
        break;
    case 1:
        proto_encode_health(out, h, 2);
        break;
    case 2:
        proto_encode_robot_stats(out, s, 2);
        break;
    case 3:
        proto_encode_attempt_stats(out, a, 2);
        break;
    default:
        proto_encode_company_stats(out, c, 2);
    }
}

static void mutate(struct buf *b);

static void seed_bundle(struct bundle *b)
{
    struct msg m[] = {
        {.type = MSG_REQUEST, .REQUEST = {.id = 1, .session_id = STR("s")}, .payload = STR("{}")},
        {.type = MSG_CANCEL, .CANCEL = {.id = 2}},
        {.type = MSG_REPLY, .REPLY = {.id = 3, .status = 200}, .payload = STR("[]")},
    };
    for (uint32_t n = 1 + pick(4); n; n--)
        bundle_add(b, &PICK(m));
}

struct opened {
    struct proto_decoder *decoder;
    unsigned long *taken;
};

static bool open_part(void *arg, const struct bus_frame *frames, unsigned n)
{
    const struct opened *o = arg;
    struct msg m;
    for (unsigned role = 1; role <= 4; role *= 2)
        *o->taken += proto_decode(o->decoder, NULL, "", (enum role)role, frames, n, &m) == PROTO_OK;
    return true;
}

static void try_bundle(struct opened *o)
{
    struct bundle b = {0};
    seed_bundle(&b);
    mutate(&b.data);
    char *exact = exact_copy(b.data.data, b.data.len);
    bundle_each((struct str){exact, (uint32_t)b.data.len}, open_part, o);
    free(exact);
    buf_free(&b.data);
}

static void mutate(struct buf *b)
{
    for (uint32_t n = pick(6); n && b->len; n--)
        switch (pick(4)) {
        case 0:
            b->data[pick((uint32_t)b->len)] = (char)pick(256);
            break;
        case 1:
            b->len = pick((uint32_t)b->len) + 1;
            break;
        case 2:
            b->data[pick((uint32_t)b->len)] ^= (char)(1u << pick(8));
            break;
        default: {
            char more[8];
            for (unsigned i = 0; i < sizeof(more); i++)
                more[i] = (char)pick(256);
            buf_add(b, more, 1 + pick(8));
        }
        }
}

int main(int argc, char **argv)
{
    unsigned long runs = runs_of(argc, argv), taken = 0;
    struct proto_decoder *d = proto_decoder_new();
    for (unsigned long run = 0; run < runs; run++) {
        struct buf header = {0}, rows = {0};
        uint8_t type[2] = {PROTO_VERSION, (uint8_t)pick(24)};
        struct msg m;
        if (pick(8))
            seed_message(&header, type);
        mutate(&header);
        seed_rows(&rows);
        mutate(&rows);
        char *h = exact_copy(header.data, header.len), *r = exact_copy(rows.data, rows.len);
        struct bus_frame frames[3] = {{type, 2}, {h, header.len}, {r, rows.len}};
        for (unsigned role = 1; role <= 4; role *= 2)
            taken += proto_decode(d, NULL, "", (enum role)role, frames, 2 + pick(2), &m) == PROTO_OK;
        taken += proto_decode_robots((struct str){r, (uint32_t)rows.len}, NULL, NULL) == 0;
        taken += proto_decode_health((struct str){r, (uint32_t)rows.len}, NULL, NULL) == 0;
        taken += proto_decode_robot_stats((struct str){r, (uint32_t)rows.len}, NULL, NULL) == 0;
        taken += proto_decode_company_stats((struct str){r, (uint32_t)rows.len}, NULL, NULL) == 0;
        taken += proto_decode_attempt_stats((struct str){r, (uint32_t)rows.len}, NULL, NULL) == 0;
        try_bundle(&(struct opened){d, &taken});
        free(h);
        free(r);
        buf_free(&header);
        buf_free(&rows);
    }
    proto_decoder_destroy(&d);
    printf("fuzz_proto: %lu runs, %lu taken\n", runs, taken);
    return taken ? EXIT_SUCCESS : EXIT_FAILURE; /* nothing taken would mean that nothing was tested */
}
