-- What attempts came to, by minute, so that a day can be set beside the day before when no timeline is left in memory.

-- One row for each minute in which something ended, by whom and how. `wait` is the time from which an attempt could have begun to its
-- begin; `robot` is the time of calls to its robot. Both are counted in ten classes: wait_0 up to 0.25 s, each next one up to four times as
-- long, robot_0 up to 0.25 s, each next one up to twice as long, and the last of each beyond.
CREATE TABLE IF NOT EXISTS chasqui_history (
  minute DATETIME NOT NULL,
  portal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  worker VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '"" = no robot was called',
  kind ENUM('login','action') NOT NULL,
  outcome VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'dispatcher/store/attempt.def',
  n MEDIUMINT UNSIGNED NOT NULL,
  wait_0 MEDIUMINT UNSIGNED NOT NULL, wait_1 MEDIUMINT UNSIGNED NOT NULL, wait_2 MEDIUMINT UNSIGNED NOT NULL, wait_3 MEDIUMINT UNSIGNED NOT NULL,
  wait_4 MEDIUMINT UNSIGNED NOT NULL, wait_5 MEDIUMINT UNSIGNED NOT NULL, wait_6 MEDIUMINT UNSIGNED NOT NULL, wait_7 MEDIUMINT UNSIGNED NOT NULL,
  wait_8 MEDIUMINT UNSIGNED NOT NULL, wait_9 MEDIUMINT UNSIGNED NOT NULL,
  robot_0 MEDIUMINT UNSIGNED NOT NULL, robot_1 MEDIUMINT UNSIGNED NOT NULL, robot_2 MEDIUMINT UNSIGNED NOT NULL, robot_3 MEDIUMINT UNSIGNED NOT NULL,
  robot_4 MEDIUMINT UNSIGNED NOT NULL, robot_5 MEDIUMINT UNSIGNED NOT NULL, robot_6 MEDIUMINT UNSIGNED NOT NULL, robot_7 MEDIUMINT UNSIGNED NOT NULL,
  robot_8 MEDIUMINT UNSIGNED NOT NULL, robot_9 MEDIUMINT UNSIGNED NOT NULL,
  PRIMARY KEY (minute, portal, worker, kind, outcome)
) ENGINE=InnoDB;

-- How far that is: the first minute that is not summed up yet. The row is locked by whoever sums up.
CREATE TABLE IF NOT EXISTS chasqui_history_at (
  one TINYINT NOT NULL PRIMARY KEY DEFAULT 1,
  minute DATETIME NOT NULL,
  event_id BIGINT UNSIGNED NOT NULL COMMENT 'of chasqui_job_events: those up to it are older'
) ENGINE=InnoDB;
-- It begins now. 20,000 events hold the last minute, and are walked once.
INSERT IGNORE INTO chasqui_history_at (one, minute, event_id)
  SELECT 1, FROM_UNIXTIME(UNIX_TIMESTAMP() DIV 60 * 60), IF(COALESCE(MAX(id), 0) > 20000, MAX(id) - 20000, 0) FROM chasqui_job_events;
