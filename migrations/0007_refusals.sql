-- What the database refused for good (a foreign key, check, trigger or column of portal_jobs), and how what was refused ended.

-- An item that was refused has no row in portal_jobs; the row of a job may be one that cannot be changed. Either way its end stands here.
CREATE TABLE IF NOT EXISTS chasqui_refusals (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at DATETIME(6) NOT NULL,
  job_id BIGINT UNSIGNED NULL COMMENT 'NULL = an item whose job could not be made',
  batch_id BIGINT UNSIGNED NULL COMMENT 'of its item',
  idx BIGINT UNSIGNED NULL,
  status ENUM('retrying','done','failed','cancelled') NOT NULL COMMENT 'what the job is, whatever portal_jobs says',
  error VARCHAR(40) CHARACTER SET ascii NULL,
  message VARCHAR(1000) NULL,
  what VARCHAR(500) NOT NULL COMMENT 'table and constraint or column',
  due_at DATETIME(6) NULL COMMENT 'when its row is tried again; NULL = there is none to be changed',
  tries INT UNSIGNED NOT NULL DEFAULT 0,
  UNIQUE KEY job (job_id),
  UNIQUE KEY item (batch_id, idx),
  KEY at (at),
  KEY due (due_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Two boots of a robot may differ in letter case alone.
ALTER TABLE chasqui_sessions MODIFY COLUMN boot_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'the robot boot it was opened under';
ALTER TABLE chasqui_robots MODIFY COLUMN boot_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'last one seen';
