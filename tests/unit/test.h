/* SPDX-License-Identifier: MIT */
/*
 * test.h - what all unit tests share: the headers that cmocka wants, and a list that a test joins where it is written.
 *
 *     TEST(test_zero_is_even)
 *     {
 *         assert_true(is_even(0));
 *     }
 *     TEST_MAIN(NULL, NULL)
 *
 * Tests run in the order of their lines. TEST_MAIN has what is done once before the first and after the last.
 */
#ifndef CHASQUI_TESTS_TEST_H
#define CHASQUI_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TESTS_MAX 64

static struct CMUnitTest tests_joined[TESTS_MAX];
static size_t tests_n;

static inline void test_join(struct CMUnitTest test)
{
    if (tests_n == TESTS_MAX)
        abort();
    tests_joined[tests_n++] = test;
}

/* What a constructor's priority is for: they run in the order of their lines. */
#define TEST_WITH(name, set_up, tear_down)                                                                        \
    static void name(void **state);                                                                               \
    __attribute__((constructor(1000 + __LINE__))) static void name##_joins(void)                                  \
    {                                                                                                             \
        test_join((struct CMUnitTest)cmocka_unit_test_setup_teardown(name, set_up, tear_down));                   \
    }                                                                                                             \
    static void name(void **state __attribute__((unused)))
#define TEST(name) TEST_WITH(name, NULL, NULL)

#define TEST_MAIN(set_up, tear_down)                                                                              \
    int main(void)                                                                                                \
    {                                                                                                             \
        return _cmocka_run_group_tests("tests", tests_joined, tests_n, set_up, tear_down);                        \
    }

#endif
