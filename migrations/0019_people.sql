CREATE TABLE `access_settings` (
	`id` integer PRIMARY KEY NOT NULL,
	`issuer` text NOT NULL,
	`audience` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `people_grants` (
	`id` text PRIMARY KEY NOT NULL,
	`who` text NOT NULL,
	`role` text NOT NULL,
	`app` text,
	`environment` text,
	`created_at` integer NOT NULL,
	`created_by` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `people_grants_who` ON `people_grants` (`who`);--> statement-breakpoint
CREATE TABLE `people_links` (
	`identity` text PRIMARY KEY NOT NULL,
	`email` text NOT NULL,
	`created_at` integer NOT NULL,
	`created_by` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `people_links_email` ON `people_links` (`email`);