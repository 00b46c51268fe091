-- What is wrong, as brokers say it in the summary line, and whom it was told to.

-- A code and whom it is about, once, whichever brokers say it. Its row is used again when it comes back.
CREATE TABLE IF NOT EXISTS chasqui_alerts (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  code VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  who VARCHAR(160) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  level ENUM('warn','bad') NOT NULL,
  is_event TINYINT NOT NULL DEFAULT 0 COMMENT '1: it happened, and does not go on',
  text VARCHAR(500) CHARACTER SET utf8mb4 NOT NULL,
  text_es VARCHAR(500) CHARACTER SET utf8mb4 NOT NULL,
  todo VARCHAR(400) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
  todo_es VARCHAR(400) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
  first_at DATETIME(6) NOT NULL COMMENT 'it was said first, since it was last over',
  seen_at DATETIME(6) NOT NULL COMMENT 'it was said last',
  ended_at DATETIME(6) NULL COMMENT 'NULL = it goes on',
  flaps INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'times that it came back soon after it was over',
  acked_by VARCHAR(160) CHARACTER SET utf8mb4 NULL,
  acked_at DATETIME(6) NULL,
  webhook_told TINYINT NOT NULL DEFAULT 0 COMMENT '1: its beginning was told, and not its end',
  webhook_told_at DATETIME(6) NULL,
  mail_told TINYINT NOT NULL DEFAULT 0,
  mail_told_at DATETIME(6) NULL,
  UNIQUE KEY code_who (code, who),
  KEY ended (ended_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- What is not told for a while; who '' = whomever it is about.
CREATE TABLE IF NOT EXISTS chasqui_alert_mutes (
  code VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  who VARCHAR(160) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  until_at DATETIME(6) NOT NULL,
  actor VARCHAR(160) CHARACTER SET utf8mb4 NOT NULL,
  reason VARCHAR(200) CHARACTER SET utf8mb4 NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (code, who)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- A way by which alerts are told: webhook, mail. Whoever has its row locked and its lease tells all that is due in one message.
CREATE TABLE IF NOT EXISTS chasqui_alert_channels (
  channel VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  due_at DATETIME(6) NOT NULL COMMENT 'not before; while a message is under way, the end of its lease',
  token BINARY(16) NULL COMMENT 'of the message under way',
  delivery BINARY(16) NULL COMMENT 'the same until it is taken',
  attempts INT UNSIGNED NOT NULL DEFAULT 0,
  failed_at DATETIME(6) NULL COMMENT 'since then nothing was taken; NULL = the last one was',
  last_error VARCHAR(200) CHARACTER SET utf8mb4 NULL,
  told_at DATETIME(6) NULL,
  hour_at DATETIME(6) NOT NULL COMMENT 'the hour in which `sent` counts began then',
  sent INT UNSIGNED NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- When brokers spoke last, and since when without a gap: silence of all of them is the end of no alert.
CREATE TABLE IF NOT EXISTS chasqui_alerts_heard (
  one TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  at DATETIME(6) NOT NULL,
  since DATETIME(6) NOT NULL
) ENGINE=InnoDB;

ALTER TABLE chasqui_schedules
  ADD COLUMN IF NOT EXISTS done_by CHAR(5) CHARACTER SET ascii NULL COMMENT 'HH:MM by the clocks of its zone: a batch that has not ended then is an alert; NULL = none is';
