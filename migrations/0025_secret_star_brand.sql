CREATE TABLE `previews` (
	`app` text NOT NULL,
	`number` integer NOT NULL,
	`environment_id` text NOT NULL,
	`template_id` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`closed_at` integer,
	`closed_cause` text,
	`run` integer,
	`source` text NOT NULL,
	`by` text NOT NULL,
	PRIMARY KEY(`app`, `number`)
);
--> statement-breakpoint
ALTER TABLE `tokens` ADD `pull` text;