/* SPDX-License-Identifier: MIT */
/*
 * db_connect.c - connects to a server. Owns nothing. Must never fall back to plain text when TLS is configured,
 * and must never accept a server whose certificate or name is wrong.
 */
#include "db/db_connect.h"

#include "common/clock.h"
#include "common/log.h"
#include "db/db_error.h"

#include <fcntl.h>
#include <mariadb/mysql.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Session settings that a server may have been given for another application, and that could change a statement's
 * meaning. Without the cache of subqueries: ours run for one row each, and what it keeps of them in a temporary table is
 * never used again. */
#define SETTINGS                                                                                                                                      \
    "SET SESSION time_zone='+00:00', tx_isolation='READ-COMMITTED', innodb_lock_wait_timeout=10, lock_wait_timeout=10, idle_transaction_timeout=10, " \
    "sql_mode='STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit=1, tx_read_only=0, completion_type='NO_CHAIN', "                               \
    "sql_select_limit=18446744073709551615, sql_safe_updates=0, sql_big_selects=1, sql_auto_is_null=0, div_precision_increment=4, "                   \
    "foreign_key_checks=1, unique_checks=1, low_priority_updates=0, optimizer_switch='subquery_cache=off'"
/* The row never exists, so there is no lock, no page, no log entry. A read_only server, a standby and a node
 * without quorum refuse the statement all the same. */
#define HARMLESS_WRITE "UPDATE chasqui_revision SET revision = revision WHERE 1 = 0"

/* Never an error, even on a server without this variable. */
#define IS_NODE "SHOW VARIABLES LIKE 'wsrep_on'"
#define NODE_STATUS                                                                                               \
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_local_state_comment', 'wsrep_cluster_state_uuid', 'wsrep_cluster_size')"
#define NO_SUCH_TABLE 1146

static void tls_set(MYSQL *my, const struct conf *c)
{
    my_bool yes = 1;
    if (!c->db_tls_ca)
        return;
    mysql_ssl_set(my, c->db_tls_key, c->db_tls_cert, c->db_tls_ca, NULL, NULL);
    mysql_options(my, MYSQL_OPT_SSL_ENFORCE, &yes);
    mysql_options(my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
}

/* The client library's message about TLS is short and does not name the setting to check; the hint does. */
static const char *hint_of(unsigned number, const char *text, const struct conf *c)
{
    if (number == 2026)
        return " (db.tls_ca must be the authority of the server's certificate, and db.host a name or address in it; db.tls_cert one that the server trusts)";
    if (number == 2013 &&
        c->db_tls_cert) /* TLS 1.3: the connection may end before the refusal of a certificate arrives */
        return " (if this goes on: db.tls_cert must be one that the server trusts)";
    if (number == 1045 && !c->db_socket && !c->db_tls_cert)
        return c->db_tls_ca ? " (a user that REQUIRE X509 was made for needs db.tls_cert and db.tls_key)"
                            : " (a user that REQUIRE SSL was made for needs db.tls_ca)";
    return number == 3159 || strstr(text, "secure_transport") ? " (set db.tls_ca)" : "";
}

/* libmariadb initialises its globals at first use, without a lock. */
static void library_init(void)
{
    mysql_library_init(0, NULL, NULL);
}

void db_link_init(struct db_link *l, const struct conf *conf, struct db_hosts *hosts, unsigned patience_s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    *l = (struct db_link){.conf = conf,
                          .hosts = hosts ? hosts : db_hosts_new(conf),
                          .is_alone = !hosts,
                          .patience_s = patience_s,
                          .cut = -1};
}

void db_link_end(struct db_link *l)
{
    db_link_close(l);
    if (l->is_alone)
        db_hosts_destroy(&l->hosts);
}

static bool fail(struct db_link *l, MYSQL *my)
{
    unsigned number = mysql_errno(my);
    snprintf(l->error, sizeof(l->error), "%u %s%s", number, mysql_error(my),
             hint_of(number, mysql_error(my), l->conf));
    mysql_close(my);
    return false;
}

static bool is_node(MYSQL *my)
{
    MYSQL_RES *rows = mysql_query(my, IS_NODE) ? NULL : mysql_store_result(my);
    MYSQL_ROW row = rows ? mysql_fetch_row(rows) : NULL;
    bool is_on = row && row[1] && strcmp(row[1], "ON") == 0;
    if (rows)
        mysql_free_result(rows);
    return is_on;
}

bool db_link_open(struct db_link *l, unsigned i, unsigned connect_s)
{
    const struct conf *c = l->conf;
    const struct db_host *host = db_host_at(l->hosts, i);
    my_bool no = 0;
    unsigned off = 0;
    bool is_socket = !host->host[0];
    MYSQL *my = mysql_init(NULL);
    mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &l->patience_s);
    mysql_options(my, MYSQL_OPT_WRITE_TIMEOUT, &l->patience_s);
    mysql_options(my, MYSQL_OPT_RECONNECT, &no);
    mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &off);
    mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (!is_socket)
        tls_set(my, c);
    if (!mysql_real_connect(my, is_socket ? NULL : host->host, c->db_user, c->db_password, c->db_name, host->port,
                            is_socket ? c->db_socket : NULL, CLIENT_FOUND_ROWS))
        return fail(l, my);
    atomic_store(&l->cut, fcntl((int)mysql_get_socket(my), F_DUPFD_CLOEXEC, 3));
    l->my = my;
    l->at = i;
    if (!mysql_query(my, SETTINGS)) {
        l->is_node = is_node(my);
        l->is_new = true;
        return true;
    }
    l->my = NULL;
    db_link_cut(l);
    return fail(l, my);
}

bool db_link_open_alone(struct db_link *l, unsigned connect_s)
{
    unsigned n = db_hosts_count(l->hosts);
    int reads = -1, bare = -1;
    for (unsigned i = 0; i < n; i++) {
        if (!db_link_open(l, i, connect_s))
            continue;
        enum db_takes takes = n == 1 ? DB_TAKES_WRITES : db_link_ask(l);
        if (takes == DB_TAKES_WRITES)
            return true;
        if (takes == DB_TAKES_READS && reads < 0)
            reads = (int)i;
        if (takes == DB_TAKES_OTHERS && bare < 0)
            bare = (int)i;
        db_link_close(l);
    }
    if (bare >= 0) /* no server has been migrated yet */
        return db_link_open(l, (unsigned)bare, connect_s);
    return reads >= 0 && db_link_open(l, (unsigned)reads, connect_s);
}

void db_link_cut(struct db_link *l)
{
    int fd = atomic_exchange(&l->cut, -1);
    if (fd < 0)
        return;
    shutdown(fd, SHUT_RDWR);
    close(fd);
}

void db_link_close(struct db_link *l)
{
    int fd = atomic_exchange(&l->cut, -1);
    if (fd >= 0)
        close(fd);
    if (l->my)
        mysql_close(l->my);
    l->my = NULL;
}

enum db_takes db_link_ask(struct db_link *l)
{
    if (!mysql_query(l->my, HARMLESS_WRITE))
        return DB_TAKES_WRITES;
    snprintf(l->error, sizeof(l->error), "%u %s", mysql_errno(l->my), mysql_error(l->my));
    if (mysql_errno(l->my) == NO_SUCH_TABLE)
        return DB_TAKES_OTHERS;
    switch (db_error_kind(mysql_errno(l->my), mysql_sqlstate(l->my))) {
    case DB_KIND_GONE:
        return DB_TAKES_NOTHING;
    case DB_KIND_NOT_HERE:
        return DB_TAKES_READS;
    case DB_KIND_OTHER:
    case DB_KIND_NOT_NOW:
    case DB_KIND_FORGOTTEN:
    case DB_KIND_DUPLICATE:
    case DB_KIND_REFUSED: /* a missing privilege, for instance: not the same as read-only */
        break;
    }
    return DB_TAKES_WRITES;
}

static void node_row(struct db_node *out, const char *name, const char *value)
{
    if (strcmp(name, "wsrep_cluster_size") == 0)
        out->size = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(name, "wsrep_cluster_state_uuid") == 0)
        snprintf(out->cluster, sizeof(out->cluster), "%.39s", value);
    else
        snprintf(out->state, sizeof(out->state), "%.23s", value);
}

bool db_link_node(struct db_link *l, struct db_node *out)
{
    *out = (struct db_node){0};
    if (!l->is_node)
        return true;
    MYSQL_RES *rows = mysql_query(l->my, NODE_STATUS) ? NULL : mysql_store_result(l->my);
    MYSQL_ROW row;
    if (!rows)
        snprintf(l->error, sizeof(l->error), "%u %s", mysql_errno(l->my), mysql_error(l->my));
    while (rows && (row = mysql_fetch_row(rows)))
        node_row(out, row[0], row[1] ? row[1] : "");
    if (rows)
        mysql_free_result(rows);
    return rows != NULL;
}

/* Logged once, until it is fixed. A status that the ENUM lacks is refused in every row. */
static void lack_tell(const struct db_link *l, const char *lacks)
{
    static atomic_bool is_told;
    bool was_told = atomic_exchange(&is_told, *lacks != '\0');
    if (*lacks && !was_told && l->conf->role == CONF_DISPATCHER)
        log_line(LOG_WARN, "status_not_taken", "word", lacks, "why",
                 "the ENUM portal_jobs.status lacks it: set laravel.status.*, or run chasqui migrate", NULL);
}

bool db_link_shape(struct db_link *l, struct portal_shape *out)
{
    MYSQL_RES *rows = mysql_query(l->my, SHAPE_SQL) ? NULL : mysql_store_result(l->my);
    MYSQL_ROW row;
    shape_begin(out);
    shape_words(out, l->conf);
    while (rows && (row = mysql_fetch_row(rows)))
        shape_row(out, row[0], row[1], row[2], row[3]);
    if (rows)
        mysql_free_result(rows);
    shape_zones(out, l->conf, clock_unix_ms() / 1000);
    lack_tell(l, out->lacks);
    return rows != NULL;
}
