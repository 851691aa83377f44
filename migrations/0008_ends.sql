ALTER TABLE `slots` RENAME COLUMN `quarantined_until` TO `rest_until`;--> statement-breakpoint
CREATE TABLE `control_clock` (
	`id` integer PRIMARY KEY NOT NULL,
	`swept_at` integer NOT NULL,
	`back_since` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `apps` ADD `ending` text;--> statement-breakpoint
ALTER TABLE `environments` ADD `ending` text;--> statement-breakpoint
ALTER TABLE `hosts` ADD `seen_before_at` integer;--> statement-breakpoint
ALTER TABLE `hosts` ADD `draining` text;--> statement-breakpoint
ALTER TABLE `slots` ADD `aside_cause` text;--> statement-breakpoint
ALTER TABLE `slots` ADD `aside_until` integer;--> statement-breakpoint
CREATE INDEX `slots_resting` ON `slots` (`rest_until`) WHERE rest_until IS NOT NULL;--> statement-breakpoint
CREATE INDEX `events_app` ON `events` (`app`,`id`);--> statement-breakpoint
CREATE INDEX `hostnames_environment` ON `hostnames` (`environment_id`);--> statement-breakpoint
CREATE INDEX `idempotency_age` ON `idempotency` (`created_at`);--> statement-breakpoint
CREATE INDEX `instances_on_host` ON `instances` (`host_id`) WHERE stopped_at IS NULL;--> statement-breakpoint
CREATE INDEX `tokens_host` ON `tokens` (`host_id`);--> statement-breakpoint
UPDATE `slots` SET `rest_until` = 0 WHERE `environment_id` IS NOT NULL AND `rest_until` IS NULL AND NOT EXISTS (SELECT 1 FROM `instances` WHERE `instances`.`slot_id` = `slots`.`id` AND `instances`.`stopped_at` IS NULL);
