DROP INDEX `releases_environment_version`;--> statement-breakpoint
CREATE INDEX `releases_version` ON `releases` (`version`,`environment_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `releases_label` ON `releases` (`version`,`environment_id`) WHERE ended_at IS NULL OR serving_at IS NOT NULL OR json_extract(timings, '$.shifting') IS NOT NULL;