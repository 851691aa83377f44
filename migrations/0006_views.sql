CREATE INDEX `jobs_unfinished` ON `jobs` (`environment_id`) WHERE finished_at IS NULL;--> statement-breakpoint
CREATE INDEX `jobs_instance` ON `jobs` (`instance_id`) WHERE instance_id IS NOT NULL;--> statement-breakpoint
CREATE INDEX `jobs_finished` ON `jobs` (`environment_id`,`finished_at`) WHERE finished_at IS NOT NULL;--> statement-breakpoint
CREATE INDEX `releases_unended` ON `releases` (`environment_id`) WHERE ended_at IS NULL;--> statement-breakpoint
CREATE INDEX `releases_weighted` ON `releases` (`environment_id`) WHERE weight_bp > 0;--> statement-breakpoint
CREATE INDEX `releases_served` ON `releases` (`environment_id`,`serving_at`) WHERE serving_at IS NOT NULL;--> statement-breakpoint
CREATE INDEX `releases_contracted` ON `releases` (`environment_id`,`contracted_at`) WHERE contracted_at IS NOT NULL;