-- Whose jobs a batch's are, for an application whose portal_jobs has a user_id.

ALTER TABLE chasqui_batches
  ADD COLUMN IF NOT EXISTS user_id BIGINT UNSIGNED NULL COMMENT 'the user of the application whose token opened it; NULL = not known';
