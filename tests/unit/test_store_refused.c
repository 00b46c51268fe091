/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_refused.c - what a real database refuses: named, never retried, nothing of it kept. */
#include "tests/unit/store_fixture.h"

#include "db/db_error.h"

static void plain(const char *sql)
{
    sql_fine(db_run(look, sql, strlen(sql)));
}

static int tables_make(void **state)
{
    reset(state);
    plain("DROP TABLE IF EXISTS t, chasqui_t, companies, seen");
    plain("CREATE TABLE companies (id INT PRIMARY KEY) ENGINE=InnoDB");
    plain("CREATE TABLE seen (id INT PRIMARY KEY, note VARCHAR(3) NOT NULL) ENGINE=InnoDB");
    plain(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, company_id INT, word VARCHAR(5) CHARACTER SET ascii, kind ENUM('a','b'), small TINYINT, "
        "born DATETIME, must INT NOT NULL DEFAULT 0, u INT, uid VARCHAR(10), UNIQUE KEY t_uid_unique (uid), KEY (company_id), "
        "CONSTRAINT t_company_id_foreign FOREIGN KEY (company_id) REFERENCES companies (id), "
        "CONSTRAINT `odd``check` CHECK (u IS NULL OR u > 0)) ENGINE=InnoDB");
    plain("INSERT INTO companies VALUES (1)");
    plain("INSERT INTO t (company_id, uid) VALUES (1, 'x')");
    db_destroy(&db);
    db = db_new(&conf);
    return 0;
}

static void assert_refused(const char *table, const char *constraint, const char *column, const char *sql)
{
    db_news_clear(db);
    enum db_rc rc = db_exec(db, sql, "");
    if (rc != DB_REFUSED)
        fail_msg("%d, %s: %s", rc, db_error(db), sql);
    assert_string_equal(db_refusal(db)->table, table);
    assert_string_equal(db_refusal(db)->constraint, constraint);
    assert_string_equal(db_refusal(db)->column, column);
    assert_true(db_refusal(db)->text[0]);
}

static void refusals_of_all_kinds(void)
{
    assert_refused("t", "t_company_id_foreign", "", "INSERT INTO t (company_id) VALUES (77)");
    assert_refused("t", "t_company_id_foreign", "", "DELETE FROM companies WHERE id = 1");
    assert_refused("t", "odd`check", "", "INSERT INTO t (u) VALUES (0)");
    assert_refused("t", "", "word", "INSERT INTO t (word) VALUES ('much too long')");
    assert_refused("t", "", "word", "UPDATE t SET word = '\xc3\xb1`a`.`b`.`c`'");
    assert_refused("t", "", "kind", "INSERT INTO t (kind) VALUES ('c')");
    assert_refused("t", "", "small", "INSERT INTO t (small) VALUES (1000)");
    assert_refused("t", "", "born", "INSERT INTO t (born) VALUES ('it''s yesterday')");
    assert_refused("t", "", "must", "INSERT INTO t (must) VALUES (NULL)");
    assert_refused("t", "", "nowhere", "INSERT INTO t (nowhere) VALUES (1)");
}

TEST_WITH(test_every_refusal_is_named, tables_make, NULL)
{
    refusals_of_all_kinds();
    plain("ALTER TABLE t ADD COLUMN tenant_id BIGINT UNSIGNED NOT NULL");
    assert_refused("t", "", "tenant_id", "INSERT INTO t (u) VALUES (1)");
}

/* Laravel's host may run a server that speaks another language. */
TEST_WITH(test_refusals_are_named_in_other_languages, tables_make, NULL)
{
    const char *const locales[] = {"es_ES", "de_DE", "ja_JP", "ru_RU", "fr_FR"};
    for (unsigned i = 0; i < sizeof(locales) / sizeof(*locales); i++) {
        char sql[60];
        snprintf(sql, sizeof(sql), "SET SESSION lc_messages = '%s'", locales[i]);
        sql_fine(db_run(db, sql, strlen(sql)));
        refusals_of_all_kinds();
    }
}

TEST_WITH(test_a_trigger_speaks_for_itself, tables_make, NULL)
{
    plain(
        "CREATE TRIGGER t_no BEFORE INSERT ON t FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the ledger is closed'");
    assert_refused("t", "", "", "INSERT INTO t (u) VALUES (1)");
    assert_string_equal(db_refusal(db)->text, "the ledger is closed");
    plain("DROP TRIGGER t_no");
    plain(
        "CREATE TRIGGER t_no BEFORE INSERT ON t FOR EACH ROW SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 30001, MESSAGE_TEXT = 'no'");
    assert_refused("t", "", "", "INSERT INTO t (u) VALUES (1)");
    assert_string_equal(db_refusal(db)->text, "no");
    plain("DROP TRIGGER t_no");
    plain("CREATE TRIGGER t_no BEFORE INSERT ON t FOR EACH ROW INSERT INTO seen VALUES (1, 'long note')");
    assert_refused("t", "", "note", "INSERT INTO t (u) VALUES (1)");
    plain("DROP TRIGGER t_no");
    plain("CREATE TRIGGER t_no BEFORE INSERT ON t FOR EACH ROW INSERT INTO gone VALUES (1)");
    assert_refused("gone", "", "", "INSERT INTO t (u) VALUES (1)");
}

/* ---- transactions ------------------------------------------------------------------------------------------- */

struct tx {
    unsigned calls, rows;
    const char *sql;
    bool goes_on; /* it takes the refusal for nothing */
};

static enum db_rc tx_one(struct db *on, void *arg)
{
    struct tx *t = arg;
    t->calls++;
    TRY(db_exec(on, "INSERT INTO companies VALUES (?)", "u", (uint64_t)50));
    enum db_rc rc = db_exec(on, t->sql, "");
    if (t->goes_on)
        return db_exec(on, "INSERT INTO companies VALUES (51)", "") == DB_REFUSED ? DB_OK : DB_FAIL;
    return rc;
}

TEST_WITH(test_a_transaction_with_a_refusal_is_not_run_again_and_leaves_nothing, tables_make, NULL)
{
    enum db_rc rc;
    struct tx t = {.sql = "INSERT INTO t (company_id) VALUES (77)"};
    assert_int_equal(db_tx(db, tx_one, NULL, &t, &rc), TX_NOT);
    assert_int_equal(rc, DB_REFUSED);
    assert_int_equal(t.calls, 1);
    assert_number(1, "SELECT COUNT(*) FROM companies", "");
    t = (struct tx){.sql = t.sql, .goes_on = true};
    assert_int_equal(db_tx(db, tx_one, NULL, &t, &rc), TX_NOT); /* nor one whose function would commit the rest */
    assert_int_equal(rc, DB_REFUSED);
    assert_number(1, "SELECT COUNT(*) FROM companies", "");
    assert_int_equal(store_tx(db, tx_one, NULL, &t), STORE_REFUSED);
    assert_int_equal(db_exec(db, "INSERT INTO companies VALUES (52)", ""), DB_OK); /* the connection is well */
}

/* A unique key of Laravel's own on its table is met again by every try. */
TEST_WITH(test_a_unique_key_of_others_is_a_refusal, tables_make, NULL)
{
    enum db_rc rc;
    struct tx t = {.sql = "INSERT INTO t (uid) VALUES ('x')"};
    assert_int_equal(db_tx(db, tx_one, NULL, &t, &rc), TX_NOT);
    assert_int_equal(rc, DB_REFUSED);
    assert_string_equal(db_refusal(db)->constraint, "t_uid_unique");
    assert_string_equal(db_refusal(db)->table, "t");
    plain("CREATE TABLE chasqui_t (uid VARCHAR(10) PRIMARY KEY) ENGINE=InnoDB");
    plain("INSERT INTO chasqui_t VALUES ('x')");
    t.sql = "INSERT INTO chasqui_t (uid) VALUES ('x')";
    assert_int_equal(db_tx(db, tx_one, NULL, &t, &rc), TX_NOT);
    assert_int_equal(rc, DB_DUP); /* ours: the caller knows what it means */
}

static void fill_row(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = row == *(unsigned *)arg ? 77 : 1;
}

static enum db_rc tx_bulk(struct db *on, void *arg)
{
    return db_bulk(on, "INSERT INTO t (company_id) VALUES (?)", "u", 20, fill_row, arg);
}

TEST_WITH(test_a_bulk_statement_that_is_refused_half_way_leaves_nothing, tables_make, NULL)
{
    enum db_rc rc;
    unsigned bad = 13;
    assert_int_equal(db_tx(db, tx_bulk, NULL, &bad, &rc), TX_NOT);
    assert_int_equal(rc, DB_REFUSED);
    assert_string_equal(db_refusal(db)->constraint, "t_company_id_foreign");
    assert_number(1, "SELECT COUNT(*) FROM t", "");
    bad = 20;
    assert_int_equal(db_tx(db, tx_bulk, NULL, &bad, &rc), TX_DONE);
    assert_number(21, "SELECT COUNT(*) FROM t", "");
}

TEST_MAIN(server_start, server_stop)
