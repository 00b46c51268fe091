-- Rounds: the items of a batch log in, run steps in that session, and close it.

ALTER TABLE chasqui_batches
  ADD COLUMN IF NOT EXISTS name VARCHAR(100) NULL,
  ADD COLUMN IF NOT EXISTS steps VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'actions that each item runs in its session, a comma between two; NULL = the log-in alone',
  ADD COLUMN IF NOT EXISTS step_params VARBINARY(17000) NULL COMMENT 'sealed: a JSON array of the params of each step',
  ADD COLUMN IF NOT EXISTS closes TINYINT NOT NULL DEFAULT 0 COMMENT '1: an item closes the session that it opened';

ALTER TABLE chasqui_schedules
  ADD COLUMN IF NOT EXISTS steps VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'of its batches, as in chasqui_batches',
  ADD COLUMN IF NOT EXISTS step_params VARBINARY(17000) NULL,
  ADD COLUMN IF NOT EXISTS closes TINYINT NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS zone VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'in which cron is meant; NULL = UTC';

-- Steps count from 0. step = steps_done: that step was begun, and how it ended is not known yet (or it failed).
ALTER TABLE chasqui_items
  ADD COLUMN IF NOT EXISTS step TINYINT UNSIGNED NULL COMMENT 'of a round: the step that was begun last',
  ADD COLUMN IF NOT EXISTS steps_done TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of a round: so many steps ended well',
  ADD COLUMN IF NOT EXISTS ending ENUM('done','failed','retrying','cancelled') NULL COMMENT 'of a round: what the item becomes once its session is closed';
CREATE INDEX IF NOT EXISTS by_company ON chasqui_items (company_id, state);

ALTER TABLE chasqui_sessions ADD COLUMN IF NOT EXISTS shared TINYINT NOT NULL DEFAULT 0 COMMENT '1: somebody else was given it too, so that no round closes it';

ALTER TABLE chasqui_leases MODIFY COLUMN kind ENUM('login','action','close','migrate','round') NOT NULL;
CREATE INDEX IF NOT EXISTS by_session ON chasqui_leases (session_ref);

-- What robots answered to the steps of rounds.
CREATE TABLE IF NOT EXISTS chasqui_results (
  batch_id BIGINT UNSIGNED NOT NULL,
  idx BIGINT UNSIGNED NOT NULL,
  step TINYINT UNSIGNED NOT NULL,
  job_id BIGINT UNSIGNED NOT NULL,
  company_id BIGINT UNSIGNED NOT NULL,
  at DATETIME(6) NOT NULL,
  status SMALLINT UNSIGNED NOT NULL COMMENT 'of HTTP',
  body LONGBLOB NOT NULL COMMENT 'sealed: JSON in one line',
  PRIMARY KEY (batch_id, idx, step),
  KEY at (at)
) ENGINE=InnoDB;
