-- What is told outside (events.url). The timeline is its own outbox: a row is written in the transaction that it tells of, and waits here until
-- it was told. out_state: 1 waits, 3 waits behind another of its job, 2 given up, NULL told, or not for outside.
ALTER TABLE chasqui_job_events
  ADD COLUMN IF NOT EXISTS out_state TINYINT NULL DEFAULT 1;

CREATE INDEX IF NOT EXISTS outgoing ON chasqui_job_events (out_state, id);

CREATE INDEX IF NOT EXISTS outgoing_of_job ON chasqui_job_events (job_id, out_state, id);

-- A job of which something is being told, or could not be told yet: at most one row of it is on its way, so its order is kept.
CREATE TABLE IF NOT EXISTS chasqui_outbox (
  job_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  event_id BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of chasqui_job_events; 0 = the next one',
  part TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'a row may be told as more than one event',
  attempts INT UNSIGNED NOT NULL DEFAULT 0,
  delivery BINARY(16) NOT NULL,
  token BINARY(16) NULL COMMENT 'of the try under way',
  due_at DATETIME(6) NOT NULL,
  last_error VARCHAR(200) NULL,
  KEY due (due_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- From when on it is told.
CREATE TABLE IF NOT EXISTS chasqui_outbox_since (
  one TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  since DATETIME(6) NOT NULL
) ENGINE=InnoDB;
