CREATE TABLE `audit_links` (
	`event_id` integer PRIMARY KEY NOT NULL,
	`at` integer NOT NULL,
	`environment_id` text,
	`leaf` text NOT NULL,
	`hash` text NOT NULL
);
