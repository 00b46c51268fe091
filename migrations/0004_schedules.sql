-- Recurring batches, and who is told when a batch has ended.

CREATE TABLE IF NOT EXISTS chasqui_schedules (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  cron VARCHAR(100) CHARACTER SET ascii NOT NULL COMMENT 'in UTC',
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  action VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  priority TINYINT UNSIGNED NOT NULL DEFAULT 5,
  callback_url VARCHAR(500) CHARACTER SET ascii COLLATE ascii_bin NULL,
  is_stored TINYINT NOT NULL DEFAULT 0 COMMENT '1: for every company with stored credentials of the portal when it runs; it has no items',
  actor VARCHAR(160) NOT NULL COMMENT 'who made it',
  enabled TINYINT NOT NULL DEFAULT 1,
  next_at DATETIME(6) NULL COMMENT 'when it runs next; NULL = it does not',
  created_at DATETIME(6) NOT NULL,
  UNIQUE KEY name (name),
  KEY next (next_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- What becomes an item of each of its batches. round = how many of this company stand before it.
CREATE TABLE IF NOT EXISTS chasqui_schedule_items (
  schedule_id BIGINT UNSIGNED NOT NULL,
  idx BIGINT UNSIGNED NOT NULL,
  company_id BIGINT UNSIGNED NOT NULL,
  round INT UNSIGNED NOT NULL DEFAULT 0,
  params VARBINARY(17000) NULL COMMENT 'sealed',
  PRIMARY KEY (schedule_id, idx)
) ENGINE=InnoDB;

-- A time of a schedule: at most one batch, whatever the number of dispatchers. filling: items are still copied into its batch, which
-- is open; its last item tells how far that has come.
CREATE TABLE IF NOT EXISTS chasqui_schedule_runs (
  schedule_id BIGINT UNSIGNED NOT NULL,
  run_at DATETIME(6) NOT NULL,
  batch_id BIGINT UNSIGNED NULL COMMENT 'NULL = missed',
  filling TINYINT NULL COMMENT '1, else NULL',
  missed INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'times from run_at on that were too late to be run',
  actor VARCHAR(160) NOT NULL COMMENT 'dispatcher:<name> or cli:<user>@<host>',
  made_at DATETIME(6) NOT NULL,
  PRIMARY KEY (schedule_id, run_at),
  UNIQUE KEY batch (batch_id),
  KEY filling (filling),
  KEY at (run_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- A batch that has ended and has a callback_url.
CREATE TABLE IF NOT EXISTS chasqui_webhooks (
  batch_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  state ENUM('waiting','delivered','given_up') NOT NULL,
  attempts INT UNSIGNED NOT NULL DEFAULT 0,
  due_at DATETIME(6) NULL COMMENT 'of the next try, or when the lease of the one under way ends; NULL = settled',
  delivery BINARY(16) NOT NULL COMMENT 'the same at each try',
  token BINARY(16) NULL COMMENT 'of the try under way',
  last_error VARCHAR(200) NULL,
  created_at DATETIME(6) NOT NULL,
  settled_at DATETIME(6) NULL,
  KEY due (due_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
