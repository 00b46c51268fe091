-- Since when a robot is being emptied, and when its sessions move at the latest (NULL: only when they are idle).
ALTER TABLE chasqui_robots
  ADD COLUMN IF NOT EXISTS drain_since DATETIME(6) NULL COMMENT 'wanted is draining since then',
  ADD COLUMN IF NOT EXISTS drain_deadline DATETIME(6) NULL COMMENT 'sessions move then, also those in use';
