CREATE TABLE `image_blobs` (
	`app_id` text NOT NULL,
	`digest` text NOT NULL,
	`size` integer NOT NULL,
	`parts` text NOT NULL,
	`used_at` integer NOT NULL,
	PRIMARY KEY(`app_id`, `digest`)
);
--> statement-breakpoint
CREATE TABLE `image_layers` (
	`environment_id` text NOT NULL,
	`diff_id` text NOT NULL,
	`digest` text NOT NULL,
	`media_type` text NOT NULL,
	PRIMARY KEY(`environment_id`, `diff_id`)
);
--> statement-breakpoint
CREATE TABLE `image_parts` (
	`key` text PRIMARY KEY NOT NULL,
	`app_id` text NOT NULL,
	`digest` text NOT NULL,
	`size` integer NOT NULL,
	`is_stored` integer NOT NULL,
	`blob` text,
	`is_leaving` integer DEFAULT false NOT NULL,
	`used_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `image_parts_app` ON `image_parts` (`app_id`,`digest`);--> statement-breakpoint
CREATE TABLE `images` (
	`app_id` text NOT NULL,
	`digest` text NOT NULL,
	`manifest` text NOT NULL,
	`blobs` text NOT NULL,
	`bytes` integer NOT NULL,
	`pushed_by` text NOT NULL,
	`used_at` integer NOT NULL,
	PRIMARY KEY(`app_id`, `digest`)
);
