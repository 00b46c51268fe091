-- SPDX-License-Identifier: MIT
-- Laravel's tokens for Chasqui: auth.laravel_view = chasqui_laravel_tokens
--
-- One row a token and company. `secret_sha256` is the SHA-256 of the token's secret in 64 hex digits: what Sanctum keeps in
-- personal_access_tokens.token. `abilities` is a JSON array or a list of words; only `app` and `*` are of use here, and a token with
-- neither gets 403. `expires_at` is in the time of laravel.time_zone; NULL is never. A token that is not in the view any more is refused
-- within 5 s: revoking it in Laravel is enough.
--
-- `user_id` may be left out: whose token it is, for portal_jobs.user_id where laravel.columns names that (the same in each row of a token).
--
-- Change the JOINs to how your users belong to companies; with several companies a user, the view has a row for each. Take away what
-- must not get in: AND u.deleted_at IS NULL, AND u.is_active. The chasqui user needs SELECT on this view and on none of the tables:
--   GRANT SELECT ON app.chasqui_laravel_tokens TO 'chasqui'@'10.0.0.%';
--
-- With Sanctum 3 and later write t.expires_at; before it tokens end by the configuration (sanctum.expiration, minutes), as in the line that is left out.
CREATE OR REPLACE SQL SECURITY DEFINER VIEW chasqui_laravel_tokens AS
SELECT t.id,
       t.token AS secret_sha256,
       u.company_id,
       t.abilities,
       CAST(NULL AS DATETIME) AS expires_at,
       -- t.created_at + INTERVAL 1440 MINUTE AS expires_at,
       u.id AS user_id
  FROM personal_access_tokens t
  JOIN users u ON t.tokenable_type = 'App\\Models\\User' AND u.id = t.tokenable_id;
