ALTER TABLE `slots` ADD `public_host` text;--> statement-breakpoint
ALTER TABLE `slots` ADD `rule_version` integer;