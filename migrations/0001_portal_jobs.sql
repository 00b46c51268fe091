-- portal_jobs is Laravel's table. On an empty database it is made here; on one that Laravel fills it is completed:
-- only NULL-able columns and non-unique indexes are added, and an ENUM status is widened. Every statement can be
-- run again.
CREATE TABLE IF NOT EXISTS portal_jobs (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  job_uid VARCHAR(64) NOT NULL,
  company_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(64) NOT NULL,
  action VARCHAR(64) NOT NULL,
  status VARCHAR(20) NOT NULL DEFAULT 'queued',
  robot_worker_base_url VARCHAR(255) NULL,
  robot_worker_viewer_url VARCHAR(255) NULL,
  robot_session_id VARCHAR(100) NULL,
  created_at TIMESTAMP NULL,
  updated_at TIMESTAMP NULL,
  KEY idx_session_id (robot_session_id),
  KEY chasqui_company (company_id, portal),
  KEY chasqui_uid (job_uid),
  KEY chasqui_status (status, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

ALTER TABLE portal_jobs
  ADD COLUMN IF NOT EXISTS job_uid VARCHAR(64) NULL,
  ADD COLUMN IF NOT EXISTS robot_worker_base_url VARCHAR(255) NULL,
  ADD COLUMN IF NOT EXISTS robot_worker_viewer_url VARCHAR(255) NULL,
  ADD COLUMN IF NOT EXISTS robot_session_id VARCHAR(100) NULL,
  ADD COLUMN IF NOT EXISTS created_at TIMESTAMP NULL,
  ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP NULL,
  ADD COLUMN IF NOT EXISTS priority TINYINT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS attempts INT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS batch_id BIGINT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS worker VARCHAR(64) NULL,
  ADD COLUMN IF NOT EXISTS error VARCHAR(64) NULL,
  ADD COLUMN IF NOT EXISTS message VARCHAR(1000) NULL,
  ADD COLUMN IF NOT EXISTS available_at DATETIME(3) NULL,
  ADD COLUMN IF NOT EXISTS started_at DATETIME(3) NULL,
  ADD COLUMN IF NOT EXISTS finished_at DATETIME(3) NULL;

-- chasqui: plain-index idx_session_id portal_jobs robot_session_id:100
-- chasqui: plain-index chasqui_company portal_jobs company_id portal:64
-- chasqui: plain-index chasqui_uid portal_jobs job_uid:64

-- chasqui: widen-enum portal_jobs.status queued running retrying done failed cancelled
