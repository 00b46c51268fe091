-- SPDX-License-Identifier: MIT
-- What `chasqui` (the command) needs of the database: the rows, and the tables that `chasqui migrate` makes. To be run before that.
-- `app` is Laravel's database, 10.0.0.% the host where the command is used. What the dispatchers need is in grants.sql.

CREATE USER IF NOT EXISTS 'chasqui_ops'@'10.0.0.%' IDENTIFIED BY 'change-me-too';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO 'chasqui_ops'@'10.0.0.%';
-- For chasqui migrate only; where nobody but an administrator may do that: chasqui migrate --print, and take this away.
GRANT CREATE, ALTER, INDEX ON app.* TO 'chasqui_ops'@'10.0.0.%';
