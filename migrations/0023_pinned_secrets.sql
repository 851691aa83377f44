CREATE TABLE `past_secrets` (
	`environment_id` text NOT NULL,
	`name` text NOT NULL,
	`version` integer NOT NULL,
	`sealed` text NOT NULL,
	`key_id` text NOT NULL,
	PRIMARY KEY(`environment_id`, `name`, `version`)
);
--> statement-breakpoint
ALTER TABLE `releases` ADD `secret_versions` text;