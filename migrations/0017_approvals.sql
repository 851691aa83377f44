ALTER TABLE `releases` ADD `started_as` text;--> statement-breakpoint
ALTER TABLE `releases` ADD `approval` text;--> statement-breakpoint
ALTER TABLE `tokens` ADD `identities` text;--> statement-breakpoint
ALTER TABLE `tokens` ADD `made_by` text;