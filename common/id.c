/* SPDX-License-Identifier: MIT */
/* id.c - random names, hex and SHA-256. The only source of randomness is libsodium's randombytes. */
#include "common/id.h"

#include "common/clock.h"
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void ready(void)
{
    static atomic_bool done;
    if (atomic_load_explicit(&done, memory_order_acquire))
        return;
    if (sodium_init() < 0) { /* the machine has no randomness: nothing would be safe */
        static const char line[] = "libsodium cannot start, stopping\n";
        ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);
        (void)n;
        _exit(1);
    }
    atomic_store_explicit(&done, true, memory_order_release);
}

void id_random(void *out, size_t len)
{
    ready();
    randombytes_buf(out, len);
}

uint64_t id_random_u64(void)
{
    uint64_t n;
    id_random(&n, sizeof n);
    return n;
}

static void random_hex(char *out)
{
    uint8_t raw[16];
    id_random(raw, sizeof raw);
    id_hex(raw, sizeof raw, out);
}

/* Every request gets one. A system call for each would cost more than the rest of the request. */
void id_request(char out[ID_REQUEST_BYTES])
{
    static _Thread_local uint8_t store[64 * 16];
    static _Thread_local size_t left;
    if (!left)
        id_random(store, left = sizeof store);
    left -= 16;
    id_hex(store + left, 16, out);
}

void id_boot(char out[ID_BOOT_BYTES])
{
    random_hex(out);
}

void id_job_uid(char out[ID_JOB_UID_BYTES])
{
    static const char letters[36] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"};
    const unsigned fair = 252; /* largest multiple of 36 in a byte: more would favour the first letters */
    char name[13];
    uint8_t raw[24] = {0};
    for (unsigned made = 0, used = sizeof raw; made < 12; used++) {
        if (used >= sizeof raw) {
            id_random(raw, sizeof raw);
            used = 0;
        }
        if (raw[used] < fair)
            name[made++] = letters[raw[used] % 36];
    }
    name[12] = '\0';
    snprintf(out, ID_JOB_UID_BYTES, "%s-%llu", name,
             (unsigned long long)(clock_unix_ms() / 1000) % 1000000000000000ull);
}

static bool is_upper_or_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool id_request_ok(const char *s, size_t len)
{
    bool has_word = false;
    if (len < 1 || len > 128)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool is_word = is_upper_or_digit(s[i]) || (s[i] >= 'a' && s[i] <= 'z');
        if (!is_word && s[i] != '.' && s[i] != '_' && s[i] != '-')
            return false;
        has_word |= is_word;
    }
    return has_word; /* a robot's echo of the id is recognised by its letters and digits */
}

bool id_job_uid_ok(const char *s, size_t len)
{
    size_t i = 0;
    while (i < len && is_upper_or_digit(s[i]))
        i++;
    if (i < 6 || i > 16 || i == len || s[i] != '-')
        return false;
    size_t digits = len - i - 1;
    if (digits < 1 || digits > 20)
        return false;
    for (i++; i < len; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

void id_hex(const void *in, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = in;
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool id_unhex(const char *in, size_t hexlen, void *out)
{
    if (hexlen % 2)
        return false;
    uint8_t *p = out;
    for (size_t i = 0; i < hexlen; i += 2) {
        int hi = hex_value(in[i]), lo = hex_value(in[i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        *p++ = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

void id_sha256(const void *in, size_t len, uint8_t out[32])
{
    crypto_hash_sha256(out, in, len);
}
