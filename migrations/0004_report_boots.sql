ALTER TABLE `instances` ADD `report_boot` text;--> statement-breakpoint
CREATE INDEX `instances_host` ON `instances` (`host_id`) WHERE stopped_at IS NULL;