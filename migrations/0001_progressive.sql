CREATE TABLE `verdicts` (
	`release_id` text NOT NULL,
	`window` integer NOT NULL,
	`at` integer NOT NULL,
	`verdict` text NOT NULL,
	`reason` text NOT NULL,
	`words` text NOT NULL,
	`numbers` text NOT NULL,
	PRIMARY KEY(`release_id`, `window`)
);
--> statement-breakpoint
ALTER TABLE `environments` ADD `held` text;--> statement-breakpoint
ALTER TABLE `instances` ADD `unreachable_since` integer;--> statement-breakpoint
ALTER TABLE `releases` ADD `step_since` integer;--> statement-breakpoint
ALTER TABLE `releases` ADD `paused` text;--> statement-breakpoint
ALTER TABLE `releases` ADD `hold` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `releases` ADD `instances_made` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `releases` ADD `smoke` text;--> statement-breakpoint
ALTER TABLE `releases` ADD `contracted_at` integer;