/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/fairq.h"

#include "tests/unit/test.h"

struct thing {
    struct fairq_item item; /* first member */
    uint64_t key;
    unsigned number;
};

static struct thing thing[4000];
static struct fairq *q;

static int set_up(void **state)
{
    (void)state;
    memset(thing, 0, sizeof thing);
    q = fairq_new(sizeof thing / sizeof thing[0]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fairq_destroy(&q);
    return 0;
}

static void push(unsigned number, uint64_t key, unsigned cost)
{
    thing[number].key = key;
    thing[number].number = number;
    assert_true(fairq_push(q, &thing[number].item, key, cost));
}

static struct thing *pop(void)
{
    return (struct thing *)fairq_pop(q);
}

TEST_WITH(test_one_company_is_first_come_first_served, set_up, tear_down)
{
    assert_null(pop());
    for (unsigned i = 0; i < 10; i++)
        push(i, 7, 1);
    assert_int_equal(fairq_depth(q), 10);
    assert_int_equal(fairq_flows(q), 1);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(pop()->number, i);
    assert_null(pop());
    assert_int_equal(fairq_flows(q), 0);
}

TEST_WITH(test_a_crowd_of_one_company_does_not_starve_another, set_up, tear_down)
{
    for (unsigned i = 0; i < 1000; i++)
        push(i, 1, 1);
    push(1000, 2, 1);
    push(1001, 3, 1);
    unsigned seen = 0, turns = 0;
    while (seen < 2) {
        struct thing *t = pop();
        seen += t->key != 1;
        turns++;
    }
    assert_true(turns <= 2 + FAIRQ_COST_MAX);
}

TEST_WITH(test_costs_are_paid, set_up, tear_down)
{
    unsigned served[3] = {0}; /* in costs */
    for (unsigned i = 0; i < 900; i++)
        push(i, i % 3, i % 3 == 0 ? FAIRQ_COST_MAX : i % 3);
    for (unsigned i = 0; i < 300; i++) {
        struct thing *t = pop();
        served[t->key] += t->item.cost;
    }
    for (unsigned i = 1; i < 3; i++)
        assert_in_range(served[i], served[0] - 2 * FAIRQ_COST_MAX, served[0] + 2 * FAIRQ_COST_MAX);
}

TEST_WITH(test_full_refuses_and_keeps, set_up, tear_down)
{
    struct fairq *small = fairq_new(2);
    assert_true(fairq_push(small, &thing[0].item, 1, 1));
    assert_true(fairq_push(small, &thing[1].item, 2, 1));
    assert_false(fairq_push(small, &thing[2].item, 3, 1));
    assert_int_equal(fairq_depth(small), 2);
    fairq_return(small, &thing[2].item); /* what was in before may come back */
    assert_int_equal(fairq_depth(small), 3);
    assert_ptr_equal(fairq_pop(small), &thing[2].item);
    assert_ptr_equal(fairq_pop(small), &thing[0].item);
    fairq_destroy(&small);
}

TEST_WITH(test_returned_ones_come_first_in_their_order, set_up, tear_down)
{
    for (unsigned i = 0; i < 6; i++)
        push(i, i, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pop()->number, i);
    for (unsigned i = 0; i < 3; i++)
        fairq_return(q, &thing[i].item);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(pop()->number, i);
}

TEST_WITH(test_oldest_is_known, set_up, tear_down)
{
    assert_null(fairq_oldest(q));
    for (unsigned i = 0; i < 4; i++)
        push(i, 10 - i, 1);
    assert_ptr_equal(fairq_oldest(q), &thing[0].item);
    fairq_remove(q, &thing[0].item);
    assert_ptr_equal(fairq_oldest(q), &thing[1].item);
    fairq_remove(q, &thing[3].item);
    fairq_remove(q, &thing[1].item);
    assert_ptr_equal(fairq_oldest(q), &thing[2].item);
    fairq_remove(q, &thing[2].item);
    fairq_remove(q, &thing[2].item); /* again: nothing */
    assert_null(fairq_oldest(q));
    assert_int_equal(fairq_depth(q), 0);
}

/* Random pushes, removals, pops and returns against a plain count of who is in. */
TEST_WITH(test_random_use_loses_and_doubles_nothing, set_up, tear_down)
{
    static bool is_in[4000];
    unsigned n_in = 0;
    memset(is_in, 0, sizeof is_in);
    srandom(1);
    for (unsigned step = 0; step < 200000; step++) {
        unsigned i = (unsigned)random() % 4000;
        switch (random() % 4) {
        case 0:
        case 1:
            if (is_in[i])
                continue;
            push(i, (uint64_t)(random() % 900) * 0x100000001u, 1 + (unsigned)random() % FAIRQ_COST_MAX);
            is_in[i] = true;
            n_in++;
            break;
        case 2:
            fairq_remove(q, &thing[i].item);
            n_in -= is_in[i];
            is_in[i] = false;
            break;
        default: {
            struct thing *t = pop();
            assert_int_equal(t != NULL, n_in != 0);
            if (!t)
                continue;
            assert_true(is_in[t->number]);
            if (random() % 8 == 0) {
                fairq_return(q, &t->item);
                continue;
            }
            is_in[t->number] = false;
            n_in--;
        }
        }
        assert_int_equal(fairq_depth(q), n_in);
    }
    while (pop())
        n_in--;
    assert_int_equal(n_in, 0);
    assert_int_equal(fairq_flows(q), 0);
}

TEST_MAIN(NULL, NULL)
