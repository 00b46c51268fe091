/* SPDX-License-Identifier: MIT */
/*
 * memory.h - what a process gives back to the system. glibc keeps freed memory for later and gives each thread a heap
 * of its own, so that the resident memory of a process that runs for weeks is the sum of all its busiest moments.
 */
#ifndef CHASQUI_MEMORY_H
#define CHASQUI_MEMORY_H

#include "loop.h"

struct memory;

/* Limits the number of heaps, so it is called before the threads start that use memory. Free pages go back to the system once a
 * minute from then on, which takes the loop under a millisecond for each 50 MiB. */
struct memory *memory_new(struct loop *l);
void memory_destroy(struct memory **mp);

#endif
