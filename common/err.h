/* SPDX-License-Identifier: MIT */
/*
 * err.h - the one list of errors that a client can see.
 *
 * Every error that leaves Chasqui is a row of errors.def: its code on the wire and in JSON, its HTTP status,
 * whether Retry-After goes with it, a text for people. Functions return `enum err`; ERR_OK is 0.
 */
#ifndef CHASQUI_ERR_H
#define CHASQUI_ERR_H

#include <stdbool.h>

enum err {
    ERR_OK = 0,
#define ERR(sym, code, http, retry, text) ERR_##sym,
#include "errors.def"
#undef ERR
    ERR_COUNT
};

/* The code as clients see it ("session_not_found"); "ok" for ERR_OK. Static. */
const char *err_code(enum err e);
/* HTTP status of the error; 200 for ERR_OK. */
int err_http(enum err e);
/* Seconds for Retry-After, 0 = none. */
int err_retry_after_s(enum err e);
/* The default text for people. Static, never NULL. */
const char *err_text(enum err e);
/* The error with this code, ERR_COUNT when unknown. For decoding. */
enum err err_from_code(const char *code, unsigned len);
/* A code may have rows with several statuses. Returns the row with this status, else as err_from_code(). */
enum err err_from_answer(const char *code, unsigned len, unsigned http);

#endif
