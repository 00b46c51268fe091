-- What robots said, portals as things of their own, and credentials that were refused.

-- An event that ends an attempt tells where its time went and what the robot said.
ALTER TABLE chasqui_job_events
  ADD COLUMN IF NOT EXISTS attempt INT UNSIGNED NULL COMMENT 'the attempt that ended here; NULL = none did',
  ADD COLUMN IF NOT EXISTS outcome VARCHAR(20) CHARACTER SET ascii NULL COMMENT 'how it ended (dispatcher/attempt.def)',
  ADD COLUMN IF NOT EXISTS queued_ms BIGINT UNSIGNED NULL COMMENT 'since it could have begun',
  ADD COLUMN IF NOT EXISTS robot_ms BIGINT UNSIGNED NULL COMMENT 'of calls to robots',
  ADD COLUMN IF NOT EXISTS robot_status SMALLINT UNSIGNED NULL COMMENT 'HTTP; NULL = no answer',
  ADD COLUMN IF NOT EXISTS robot_error VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  ADD COLUMN IF NOT EXISTS robot_message VARCHAR(500) CHARACTER SET utf8mb4 NULL;

-- What the robot said in the last attempt that failed.
ALTER TABLE chasqui_jobs
  ADD COLUMN IF NOT EXISTS robot_status SMALLINT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS robot_error VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  ADD COLUMN IF NOT EXISTS robot_message VARCHAR(500) CHARACTER SET utf8mb4 NULL;

-- Pauses of a part of the queue; that of the whole stands in chasqui_pause. '' and 0 = any.
CREATE TABLE IF NOT EXISTS chasqui_pauses (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  action VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  batch_id BIGINT UNSIGNED NOT NULL DEFAULT 0,
  actor VARCHAR(160) NOT NULL,
  reason VARCHAR(200) NULL,
  since DATETIME(6) NOT NULL,
  until_at DATETIME(6) NULL COMMENT 'NULL = until it is resumed',
  UNIQUE KEY scope (portal, action, batch_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Items that a pause, a breaker or a limit holds have ready = 2: they are not looked at. A row here says that there are some of this
-- batch (batch 0: jobs of their own, by portal and action).
ALTER TABLE chasqui_items MODIFY COLUMN ready TINYINT NULL COMMENT '1 = may be claimed, 2 = is held (chasqui_held), else NULL';
CREATE TABLE IF NOT EXISTS chasqui_held (
  batch_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  action VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  n BIGINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'raised by each claim that holds some, so that two never pass by each other',
  PRIMARY KEY (batch_id, portal, action)
) ENGINE=InnoDB;

-- What all dispatchers know of a portal. Written by compare-and-swap on `version` only. Times are microseconds since 1970 by the
-- database's clock; 0 = none.
CREATE TABLE IF NOT EXISTS chasqui_portals (
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  version BIGINT UNSIGNED NOT NULL DEFAULT 0,
  state ENUM('closed','doubtful','tripped','returning') NOT NULL DEFAULT 'closed',
  since_us BIGINT UNSIGNED NOT NULL DEFAULT 0,
  why VARCHAR(64) CHARACTER SET utf8mb4 NULL COMMENT 'the error that most of those attempts ended with',
  probe_us BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'a queued log-in may probe from then on',
  sync_us BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'a synchronous one may',
  rate INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'log-ins a second while it returns',
  rate_us BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'since when this second counts',
  let INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'let through in this second',
  ended INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'attempts that ended well since the rate was raised',
  pace_us BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'logins_per_minute: when the next one is due by the pace',
  recent VARBINARY(2000) NULL COMMENT 'the last attempts (dispatcher/breaker.h)'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- How attempts ended, by minute; each dispatcher adds to rows of its own.
CREATE TABLE IF NOT EXISTS chasqui_portal_minutes (
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  minute DATETIME NOT NULL,
  dispatcher VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  outcome VARCHAR(20) CHARACTER SET ascii NOT NULL,
  n BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (portal, minute, dispatcher, outcome),
  KEY minute (minute)
) ENGINE=InnoDB;

-- Stored credentials that a robot refused for good; they are not used while chasqui_credentials.updated_at is credentials_at.
CREATE TABLE IF NOT EXISTS chasqui_refused (
  company_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  at DATETIME(6) NOT NULL,
  credentials_at DATETIME(6) NOT NULL COMMENT 'updated_at of those that were refused',
  job_id BIGINT UNSIGNED NOT NULL,
  robot_status SMALLINT UNSIGNED NULL,
  robot_error VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  robot_message VARCHAR(500) CHARACTER SET utf8mb4 NULL,
  PRIMARY KEY (company_id, portal)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
