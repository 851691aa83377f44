CREATE TABLE `slack_threads` (
	`webhook_id` text NOT NULL,
	`lane` text NOT NULL,
	`ts` text NOT NULL,
	`channel` text NOT NULL,
	PRIMARY KEY(`webhook_id`, `lane`),
	FOREIGN KEY (`webhook_id`) REFERENCES `webhooks`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
ALTER TABLE `webhooks` ADD `quiet_until` integer;