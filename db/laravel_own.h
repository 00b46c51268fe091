/* SPDX-License-Identifier: MIT */
/* laravel_own.h - selects the rows of portal_jobs with a session that Laravel opened and that is not adopted. One
 * rule for the dispatcher and for `chasqui adopt`. Texts of SQL only. */
#ifndef CHASQUI_LARAVEL_OWN_H
#define CHASQUI_LARAVEL_OWN_H

/* Rows `j` of portal_jobs that are Laravel's own and hold a session that is not adopted. Two kinds of session id
 * do not count. First, an id that no caller could name (text_session_id_ok()). Second, an id that we know: an
 * application that logs in through Chasqui writes our session's id into a row of its own, and that row must not
 * revive the session once it has ended. */
#define LARAVEL_OWN                                                                                                                                  \
    "j.status IN ({done}, {running}) AND j.robot_worker_base_url <> '' AND CHAR_LENGTH(j.robot_session_id) BETWEEN 1 AND 100 AND "                   \
    "j.robot_session_id REGEXP '^[.]*[]!\"$&--0->@-[^-~][]!\"$&-.0->@-[^-~]*$' AND "                                                                 \
    "j.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM chasqui_sessions x WHERE x.job_id = j.id) AND NOT EXISTS (SELECT 1 FROM "                    \
    "chasqui_jobs y WHERE y.job_id = j.id) AND NOT EXISTS (SELECT 1 FROM chasqui_sessions z FORCE INDEX (robot_session) WHERE z.robot_session_id = " \
    "j.robot_session_id AND z.company_id = j.company_id AND z.portal = j.portal)"
/* Restricts these to young rows: ? seconds. It comes before LARAVEL_OWN: the server asks in the order of the text, a
 * company has many rows that are old, and LARAVEL_OWN looks into other tables for each. */
#define LARAVEL_YOUNG "COALESCE({utc j.updated_at}, {utc j.created_at}) >= NOW() - INTERVAL ? SECOND"

#endif
