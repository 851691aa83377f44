CREATE INDEX `accessories_moving` ON `accessories` (`job_id`) WHERE state IN ('starting', 'stopping');--> statement-breakpoint
CREATE INDEX `accessories_host` ON `accessories` (`host_id`);