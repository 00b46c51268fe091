/* SPDX-License-Identifier: MIT */
/*
 * alert_text.h - alerts as those read them who are told: one message of several alerts, for programs, for chats and for a mail. Pure.
 *
 * What robots and clients said may stand in an alert's text: nothing of it becomes a header line, markup or another field.
 */
#ifndef CHASQUI_ALERT_TEXT_H
#define CHASQUI_ALERT_TEXT_H

#include "dispatcher/store/store_alerts.h"

#define TELEGRAM_UNITS_MAX 4096 /* of UTF-16 */
#define SLACK_UNITS_MAX 4000    /* beyond it Slack may cut */

struct alert_message {
    const struct alert_told *told;
    unsigned n, more;
    bool is_last_of_hour, is_spanish;
};

/* One line: what it is about. Without control characters. */
void alert_title(struct buf *out, const struct alert_message *m);
/* Lines for people; ends with a line end. */
void alert_lines(struct buf *out, const struct alert_message *m);
/* {event:"alerts",title,alerts:[{id,what,level,code,who,text,text_es,todo,todo_es,since,ended_at}],more,last_of_hour} */
void alert_json(struct buf *out, const struct alert_message *m);
/* {text}: & < > escaped, cut at SLACK_UNITS_MAX. */
void alert_slack(struct buf *out, const struct alert_message *m);
/* {chat_id,text,link_preview_options}: plain, cut at TELEGRAM_UNITS_MAX. */
void alert_telegram(struct buf *out, const struct alert_message *m, const char *chat);
/* A whole mail: head and body, lines ended by CR LF (RFC 5322, 2045, 2047). `to` is the comma list of the configuration. `id` makes its Message-ID. */
void alert_mail(struct buf *out, const struct alert_message *m, const char *from, const char *to,
                const uint8_t id[ID_TOKEN_BYTES], int64_t now_ms);

#endif
