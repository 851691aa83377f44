ALTER TABLE `hosts` ADD `boot_before` text;--> statement-breakpoint
ALTER TABLE `hosts` ADD `boot_refused` text;--> statement-breakpoint
ALTER TABLE `hosts` ADD `shared_at` integer;--> statement-breakpoint
ALTER TABLE `hosts` ADD `stale_token_at` integer;