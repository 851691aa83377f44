CREATE TABLE `traded_tokens` (
	`key` text PRIMARY KEY NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `traded_tokens_age` ON `traded_tokens` (`expires_at`);--> statement-breakpoint
CREATE TABLE `trusts` (
	`id` text PRIMARY KEY NOT NULL,
	`provider` text NOT NULL,
	`issuer` text NOT NULL,
	`project` text NOT NULL,
	`pins` text NOT NULL,
	`refs` text NOT NULL,
	`pin_on_first_use` text NOT NULL,
	`role` text NOT NULL,
	`action` text,
	`app` text NOT NULL,
	`environment` text,
	`created_at` integer NOT NULL,
	`created_by` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `trusts_issuer` ON `trusts` (`issuer`);--> statement-breakpoint
ALTER TABLE `tokens` ADD `trust_id` text;--> statement-breakpoint
ALTER TABLE `tokens` ADD `action` text;--> statement-breakpoint
CREATE INDEX `tokens_trust` ON `tokens` (`trust_id`);