/* SPDX-License-Identifier: MIT */
/* companies.h - the companies that wait most and use most, from the dispatchers' reports. */
#ifndef CHASQUI_BROKER_COMPANIES_H
#define CHASQUI_BROKER_COMPANIES_H

#include "broker/broker.h"

struct companies *companies_new(void);
void companies_destroy(struct companies **cp);
void companies_told(struct broker *b, const char *dispatcher,
                    const struct msg *m); /* COMPANY_STATS, well-formed */
void companies_dispatcher_gone(struct broker *b, const char *dispatcher);
struct jv *companies_jv(const struct broker *b);

#endif
