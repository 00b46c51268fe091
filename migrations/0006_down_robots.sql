-- Since when a robot is down, for all dispatchers together: down_ms grows while one of them sees it down, in small steps by the
-- database's clock, so that no clock that jumps ends a session. A robot that was not seen down lately (down_seen) is not.
ALTER TABLE chasqui_robots
  ADD COLUMN IF NOT EXISTS down_as ENUM('dead','silent') NULL COMMENT 'dead: no process is there; silent: it does not answer',
  ADD COLUMN IF NOT EXISTS down_seen DATETIME(6) NULL COMMENT 'a dispatcher saw it down then',
  ADD COLUMN IF NOT EXISTS down_ms BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'how long it has been down';
