-- Chasqui's own narrow tables: all uniqueness stands here, none on portal_jobs.

-- The jobs that are ours (portal_jobs rows without a row here are Laravel's), and what Laravel must not see.
CREATE TABLE IF NOT EXISTS chasqui_jobs (
  job_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  job_uid VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  kind ENUM('login','action') NOT NULL,
  company_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  session_id VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'the session an action ran in',
  params MEDIUMBLOB NULL COMMENT 'sealed; erased when the job ends',
  remember TINYINT NOT NULL DEFAULT 0,
  token_id BIGINT UNSIGNED NULL,
  request_id VARCHAR(128) CHARACTER SET ascii NULL,
  UNIQUE KEY job_uid (job_uid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One row per (job, generation). Live = opening, active or closing.
CREATE TABLE IF NOT EXISTS chasqui_sessions (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  job_id BIGINT UNSIGNED NOT NULL,
  generation INT UNSIGNED NOT NULL DEFAULT 1,
  current_job_id BIGINT UNSIGNED NULL COMMENT 'job_id for the newest generation, else NULL',
  company_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  live TINYINT NULL COMMENT '1 while live, else NULL: at most one live row per company and portal',
  state ENUM('opening','active','closing','closed','expired','lost','migrated') NOT NULL,
  reason VARCHAR(40) CHARACTER SET ascii NULL,
  since DATETIME(6) NOT NULL,
  robot_id INT UNSIGNED NULL,
  boot_id VARCHAR(64) CHARACTER SET ascii NULL COMMENT 'the robot boot it was opened under',
  robot_session_id VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  live_session_id VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'robot_session_id while live',
  title VARCHAR(255) NULL COMMENT 'titulo of the log-in, base URLs replaced',
  epoch BIGINT UNSIGNED NOT NULL DEFAULT 0,
  close_pending TINYINT NOT NULL DEFAULT 0 COMMENT '1: fence and close before the robot gets new work; 2: closed, the robot cannot be told, place fades',
  adopted TINYINT NOT NULL DEFAULT 0,
  started_at DATETIME(6) NULL,
  last_activity_at DATETIME(6) NULL,
  UNIQUE KEY job_generation (job_id, generation),
  UNIQUE KEY current_job (current_job_id),
  UNIQUE KEY one_live (company_id, portal, live),
  UNIQUE KEY live_session (live_session_id),
  KEY robot_session (robot_session_id),
  KEY idle (state, last_activity_at),
  KEY by_robot (robot_id, live),
  KEY pending (close_pending, robot_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- The fence of one company and portal: raised by every log-in attempt.
CREATE TABLE IF NOT EXISTS chasqui_epochs (
  company_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (company_id, portal)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS chasqui_robots (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  base_url VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'normalised',
  viewer_url VARCHAR(255) CHARACTER SET ascii NULL,
  capacity INT UNSIGNED NULL COMMENT 'set by the operator',
  reported_capacity INT UNSIGNED NULL COMMENT 'told by the robot',
  boot_id VARCHAR(64) CHARACTER SET ascii NULL COMMENT 'last one seen',
  fenced TINYINT NULL COMMENT '1: speaks the optional calls, 0: seed only, NULL: not known yet',
  wanted ENUM('active','draining','disabled') NOT NULL DEFAULT 'active',
  removed TINYINT NULL DEFAULT 0 COMMENT '0 in use, NULL removed (name and URL free again)',
  created_at DATETIME(6) NOT NULL,
  UNIQUE KEY name (name, removed),
  UNIQUE KEY base_url (base_url, removed)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Raised by every change of the robots' list; the highest wins at healthd.
CREATE TABLE IF NOT EXISTS chasqui_revision (
  one TINYINT NOT NULL PRIMARY KEY DEFAULT 1,
  revision BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB;
INSERT IGNORE INTO chasqui_revision (one, revision) VALUES (1, 1);

-- A place is a row (robot, slot), held by one session row (session_ref = chasqui_sessions.id) or free.
CREATE TABLE IF NOT EXISTS chasqui_places (
  robot_id INT UNSIGNED NOT NULL,
  slot INT UNSIGNED NOT NULL,
  session_ref BIGINT UNSIGNED NULL,
  PRIMARY KEY (robot_id, slot),
  UNIQUE KEY session_ref (session_ref),
  KEY free_places (robot_id, session_ref, slot)
) ENGINE=InnoDB;

-- Who works on a job right now. kind says what a rescuer has to settle.
CREATE TABLE IF NOT EXISTS chasqui_leases (
  job_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  token BINARY(16) NOT NULL,
  kind ENUM('login','action','close','migrate') NOT NULL,
  session_ref BIGINT UNSIGNED NULL,
  holder VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  boot_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  taken_at DATETIME(6) NOT NULL,
  limit_at DATETIME(6) NOT NULL COMMENT 'the end of the action limit: an unfenced unknown outcome is waited out until then',
  expires_at DATETIME(6) NOT NULL,
  KEY expires (expires_at),
  KEY holder (holder, boot_id)
) ENGINE=InnoDB;

-- Sessions that must move to another robot. The session stays live while it waits here.
CREATE TABLE IF NOT EXISTS chasqui_session_migrations (
  job_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  reason VARCHAR(40) CHARACTER SET ascii NOT NULL,
  urgent TINYINT NOT NULL DEFAULT 0 COMMENT '1: somebody waits for it',
  attempts INT UNSIGNED NOT NULL DEFAULT 0,
  created_at DATETIME(6) NOT NULL,
  available_at DATETIME(6) NOT NULL,
  KEY due (urgent DESC, available_at)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS chasqui_job_events (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  job_id BIGINT UNSIGNED NOT NULL,
  at DATETIME(6) NOT NULL,
  event VARCHAR(40) CHARACTER SET ascii NOT NULL,
  worker VARCHAR(64) CHARACTER SET ascii NULL,
  dispatcher VARCHAR(64) CHARACTER SET ascii NULL,
  detail VARCHAR(255) NULL,
  KEY job (job_id, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS chasqui_tokens (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(100) NOT NULL,
  secret_sha256 BINARY(32) NOT NULL,
  abilities VARCHAR(64) CHARACTER SET ascii NOT NULL COMMENT 'comma list of app, ops:read, ops',
  all_companies TINYINT NOT NULL DEFAULT 0,
  rate_per_minute INT UNSIGNED NOT NULL,
  expires_at DATETIME(6) NULL,
  revoked_at DATETIME(6) NULL,
  created_at DATETIME(6) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS chasqui_token_companies (
  token_id BIGINT UNSIGNED NOT NULL,
  company_id BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (token_id, company_id)
) ENGINE=InnoDB;

-- Stored credentials: libsodium XChaCha20-Poly1305, company and portal as associated data.
CREATE TABLE IF NOT EXISTS chasqui_credentials (
  company_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  sealed VARBINARY(16800) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  PRIMARY KEY (company_id, portal)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS chasqui_audit (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at DATETIME(6) NOT NULL,
  actor VARCHAR(160) NOT NULL COMMENT 'token:<id>:<name> or cli:<user>@<host>',
  peer VARCHAR(64) CHARACTER SET ascii NULL,
  request_id VARCHAR(128) CHARACTER SET ascii NULL,
  action VARCHAR(40) CHARACTER SET ascii NOT NULL,
  subject VARCHAR(160) NOT NULL,
  detail VARCHAR(1000) NULL,
  KEY at (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
