-- The durable queue. What waits to be run is a narrow row in chasqui_items; its portal_jobs row is made when it is claimed.

CREATE TABLE IF NOT EXISTS chasqui_batches (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  token_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  action VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  priority TINYINT UNSIGNED NOT NULL,
  turn BIGINT UNSIGNED NOT NULL COMMENT 'of its first item',
  status ENUM('open','running','done','cancelled') NOT NULL COMMENT 'open: items are still coming in; cancelled: nothing of it begins any more',
  total BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'items recorded, known once it is not open any more',
  request_id VARCHAR(128) CHARACTER SET ascii NULL,
  callback_url VARCHAR(500) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'told when it has ended',
  available_at DATETIME(6) NULL COMMENT 'no item begins before',
  created_at DATETIME(6) NOT NULL,
  finished_at DATETIME(6) NULL COMMENT 'nothing of it is left; also of a cancelled one',
  done BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'items by their outcome, known once it has finished',
  failed BIGINT UNSIGNED NOT NULL DEFAULT 0,
  cancelled BIGINT UNSIGNED NOT NULL DEFAULT 0,
  KEY by_status (status, id),
  KEY unfinished (finished_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One row an item. Batch 0 holds jobs of their own (asynchronous executes, retried jobs): idx is their job_id.
-- The claim reads the index `ready` in its own order; urgency = 9 - priority, turn = whose turn it is within that.
CREATE TABLE IF NOT EXISTS chasqui_items (
  batch_id BIGINT UNSIGNED NOT NULL,
  idx BIGINT UNSIGNED NOT NULL,
  company_id BIGINT UNSIGNED NOT NULL,
  state ENUM('queued','running','retrying','done','failed','cancelled') NOT NULL,
  ready TINYINT NULL COMMENT '1 = may be claimed, else NULL',
  urgency TINYINT UNSIGNED NOT NULL,
  turn BIGINT UNSIGNED NOT NULL,
  due_at DATETIME(6) NULL COMMENT 'becomes ready then',
  job_id BIGINT UNSIGNED NULL COMMENT 'its job; for one that found a session, the session''s',
  digest BINARY(16) NULL COMMENT 'keyed hash of what was sent, to know it again',
  params VARBINARY(17000) NULL COMMENT 'sealed; erased at its end',
  PRIMARY KEY (batch_id, idx),
  KEY ready (ready, urgency, turn),
  KEY by_state (batch_id, state),
  KEY due (due_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

ALTER TABLE chasqui_jobs
  ADD COLUMN IF NOT EXISTS batch_id BIGINT UNSIGNED NULL COMMENT 'of its item; NULL = a synchronous job, 0 = a queued job of its own',
  ADD COLUMN IF NOT EXISTS idx BIGINT UNSIGNED NULL COMMENT 'of its item',
  ADD COLUMN IF NOT EXISTS tries TINYINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'attempts it may have';

ALTER TABLE chasqui_leases ADD COLUMN IF NOT EXISTS cancel TINYINT NOT NULL DEFAULT 0 COMMENT '1: the holder is asked to stop';

CREATE INDEX IF NOT EXISTS chasqui_batch ON portal_jobs (batch_id);
CREATE INDEX IF NOT EXISTS chasqui_newest ON portal_jobs (company_id, id);
-- chasqui: plain-index chasqui_status portal_jobs status:20 id

-- What an Idempotency-Key stands for. scope = keyed hash of who may use it, the route and the key; digest = of the body.
CREATE TABLE IF NOT EXISTS chasqui_idempotency (
  scope BINARY(32) NOT NULL PRIMARY KEY,
  digest BINARY(32) NOT NULL,
  job_id BIGINT UNSIGNED NULL,
  batch_id BIGINT UNSIGNED NULL,
  answer MEDIUMBLOB NULL COMMENT 'sealed: what was answered, once it was',
  created_at DATETIME(6) NOT NULL,
  KEY created (created_at)
) ENGINE=InnoDB;

-- The queue is paused while a row is here that has not passed.
CREATE TABLE IF NOT EXISTS chasqui_pause (
  one TINYINT NOT NULL PRIMARY KEY DEFAULT 1,
  actor VARCHAR(160) NOT NULL,
  reason VARCHAR(200) NULL,
  since DATETIME(6) NOT NULL,
  until_at DATETIME(6) NULL COMMENT 'NULL = until it is resumed'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
