-- Dispatchers that write to different nodes of a cluster, and the bounds of a robot.

ALTER TABLE chasqui_robots
  ADD COLUMN IF NOT EXISTS counted BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'raised by each transaction that counts the robot\'s sessions, so that two never pass by each other';
