-- SPDX-License-Identifier: MIT
-- What the dispatchers need of the database, and no more: they read and write rows, and change no table. To be run after `chasqui
-- migrate`, since MariaDB grants nothing on a table that is not there (ERROR 1146), and again after an upgrade that brings tables.
-- `app` is Laravel's database, 10.0.0.% the hosts of the dispatchers. Brokers and healthd have no access to the database at all.
-- What `chasqui` (the command) needs is in grants_command.sql.

CREATE USER IF NOT EXISTS 'chasqui'@'10.0.0.%' IDENTIFIED BY 'change-me';
-- DELETE only where retention.portal_jobs = delete.
GRANT SELECT, INSERT, UPDATE ON app.portal_jobs TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_alert_channels TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_alert_mutes TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_alerts TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_alerts_heard TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_audit TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_batches TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_credentials TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_epochs TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_idempotency TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_items TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_job_events TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_jobs TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_leases TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_outbox TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_outbox_since TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_pause TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_places TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_refusals TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_pauses TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_held TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_portals TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_history TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_history_at TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_portal_minutes TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_refused TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_results TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_revision TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_robots TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_schedule_items TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_schedule_runs TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_schedules TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_session_migrations TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_sessions TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_token_companies TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_tokens TO 'chasqui'@'10.0.0.%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.chasqui_webhooks TO 'chasqui'@'10.0.0.%';
-- Where auth.laravel_view is set; nothing on the tables below it.
-- GRANT SELECT ON app.chasqui_laravel_tokens TO 'chasqui'@'10.0.0.%';
