/* SPDX-License-Identifier: MIT */
/*
 * db_error.h - the meaning of a database error, and the objects that it names. Pure: numbers and texts in, a kind
 * and names out.
 */
#ifndef CHASQUI_DB_ERROR_H
#define CHASQUI_DB_ERROR_H

/* The four kinds of the design (gone, not now, not here, refused), and the remaining errors. */
enum db_kind {
    DB_KIND_OTHER,     /* none of the others: logged with its number */
    DB_KIND_GONE,      /* the connection is unusable: reconnect, next host */
    DB_KIND_NOT_NOW,   /* the transaction is lost, and may be run again */
    DB_KIND_NOT_HERE,  /* this server takes no writes: next host */
    DB_KIND_FORGOTTEN, /* the statement must be prepared again; it was not executed */
    DB_KIND_DUPLICATE, /* a unique key was violated */
    DB_KIND_REFUSED    /* the same statement will be refused again */
};
/* Classifies by number, else by SQLSTATE (5 characters). */
enum db_kind db_error_kind(unsigned number, const char *sqlstate);

#define DB_IDENT_ROOM 193 /* 64 characters of utf8mb3 */

/* A refusal in names: the table, and its constraint or column. Unknown names are "". */
struct db_refusal {
    unsigned number; /* 0 = there was none */
    char table[DB_IDENT_ROOM];
    char constraint[DB_IDENT_ROOM]; /* a foreign key, check or unique key */
    char column[DB_IDENT_ROOM];
    char text[201]; /* a trigger's own message (SIGNAL), else the meaning of the number */
};
/* Reads the server's message, in any language of the server (identifiers and quotes are not translated), and the
 * text of the refused statement. The message may be cut. */
void db_refusal_read(struct db_refusal *out, unsigned number, const char *message, const char *sql);
/* Writes "constraint fk of table t", "column c of table t" or "table t: words", for a log, a page or a message. */
void db_refusal_words(const struct db_refusal *r, char *out, unsigned room);

#endif
