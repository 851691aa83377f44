ALTER TABLE `instances` ADD `outages` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `releases` ADD `start_failures` text DEFAULT '[]' NOT NULL;