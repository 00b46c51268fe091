/* SPDX-License-Identifier: MIT */
/*
 * jv.h - JSON values, strictly read and written. jv.c is the only file that includes jansson. Duplicate keys,
 * depth over 32, trailing bytes, bad UTF-8, and (by flag) \u0000 are refused. Numbers are written as they were
 * read: 0.1 stays 0.1, 1e2 stays 1e2, and integers of any length keep their digits.
 *
 * Ownership: jv_parse and jv_new_* return a value that the caller frees with jv_free. jv_get and jv_at borrow.
 * jv_set_* and jv_push_* copy strings. jv_set and jv_push take ownership of `v`. All readers accept NULL and then
 * answer "absent".
 */
#ifndef CHASQUI_JV_H
#define CHASQUI_JV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jv; /* opaque */

enum jv_type { JV_ABSENT, JV_NULL, JV_BOOL, JV_INT, JV_REAL, JV_STRING, JV_ARRAY, JV_OBJECT };
enum jv_bad { JV_FINE, JV_SYNTAX, JV_UTF8, JV_DUPLICATE, JV_DEEP, JV_NUL };

/* Parses any value. On failure returns NULL and *why. JV_NUL (a \u0000 in an otherwise valid text) is a reason of
 * its own, because it is the caller's 422, not a 400. */
struct jv *jv_parse(const char *text, size_t len, enum jv_bad *why);
/* For robots' answers. A text whose strings hold invalid UTF-8, control characters, NUL or lone surrogates is
 * repaired first (text_mend_json). All other invalid JSON is refused as above. */
struct jv *jv_parse_mended(const char *text, size_t len, enum jv_bad *why);
const char *jv_bad_text(enum jv_bad why);
/* Whether the text begins an object or a list and ends inside it. The first line of multi-line JSON does so,
 * too. */
bool jv_is_begun(const char *text, size_t len);
void jv_free(struct jv *v);
struct jv *jv_copy(const struct jv *v); /* deep */

enum jv_type jv_type(const struct jv *v);
struct jv *jv_get(const struct jv *obj, const char *key);
const char *jv_str(const struct jv *v); /* NULL when not a string; no inner NUL possible */
size_t jv_str_len(const struct jv *v);
bool jv_int(const struct jv *v, int64_t *out); /* false when not a JSON integer of 64 bits */
bool jv_id(const struct jv *v,
           uint64_t *out); /* an integer of 1 or more, or its 1-19 decimal digits as a string */
bool jv_equal(const struct jv *a, const struct jv *b); /* members of objects in any order */
bool jv_is_empty_array(const struct jv *v);            /* PHP writes an empty object like that, too */
bool jv_number(const struct jv *v, double *out);       /* an integer or a real that a double holds */
bool jv_bool(const struct jv *v, bool *out);
size_t jv_len(const struct jv *v); /* members of an object or array, else 0 */
struct jv *jv_at(const struct jv *arr, size_t i);
/* Calls fn for each member of an object. */
void jv_each(const struct jv *obj, void (*fn)(void *arg, const char *key, struct jv *v), void *arg);

struct jv *jv_new_object(void);
struct jv *jv_new_array(void);
struct jv *jv_new_real(double x);                                /* finite */
void jv_set(struct jv *obj, const char *key, struct jv *v);      /* takes v; NULL = JSON null */
void jv_set_str(struct jv *obj, const char *key, const char *s); /* NULL = JSON null; invalid UTF-8 is replaced */
void jv_set_strn(struct jv *obj, const char *key, const char *s, size_t len);
void jv_set_int(struct jv *obj, const char *key, int64_t n);
void jv_set_real(struct jv *obj, const char *key, double x); /* finite */
void jv_set_bool(struct jv *obj, const char *key, bool b);
void jv_set_time(struct jv *obj, const char *key, int64_t unix_ms); /* RFC 3339; 0 = null */
void jv_merge(struct jv *obj, const struct jv *over);               /* members of over win */
void jv_push(struct jv *arr, struct jv *v);
void jv_push_str(struct jv *arr, const char *s);
void jv_push_int(struct jv *arr, int64_t n);

/* Compact text, malloc'ed, NUL-terminated, *len without the NUL. */
char *jv_dump(const struct jv *v, size_t *len);
/* As jv_dump, with 6 digits for each real: for measurements. */
char *jv_dump_measured(const struct jv *v, size_t *len);
/* Whether these bytes may occur in a JSON text: UTF-8 without NUL. */
bool jv_text_ok(const char *s, size_t len);
/* Overwrites all strings below v, then frees: for params and credentials. */
void jv_wipe(struct jv *v);

#endif
