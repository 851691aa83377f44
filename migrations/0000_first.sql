CREATE TABLE `apps` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`manifest` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `apps_name_unique` ON `apps` (`name`);--> statement-breakpoint
CREATE TABLE `enrollments` (
	`hash` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`labels` text NOT NULL,
	`slots` integer NOT NULL,
	`created_by` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`used_at` integer
);
--> statement-breakpoint
CREATE TABLE `environments` (
	`id` text PRIMARY KEY NOT NULL,
	`app_id` text NOT NULL,
	`name` text NOT NULL,
	`spec` text NOT NULL,
	`rev` integer NOT NULL,
	`fence` integer NOT NULL,
	`stable_release_id` text,
	`salt` text NOT NULL,
	`preview_key` text NOT NULL,
	`mode` text NOT NULL,
	`next_version` integer NOT NULL,
	`created_at` integer NOT NULL,
	`deleted_at` integer,
	FOREIGN KEY (`app_id`) REFERENCES `apps`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `environments_app_name` ON `environments` (`app_id`,`name`);--> statement-breakpoint
CREATE TABLE `events` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`type` text NOT NULL,
	`actor` text NOT NULL,
	`app` text,
	`environment` text,
	`environment_id` text,
	`release_id` text,
	`message` text NOT NULL,
	`data` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `events_release` ON `events` (`release_id`,`id`);--> statement-breakpoint
CREATE INDEX `events_environment` ON `events` (`environment_id`,`id`);--> statement-breakpoint
CREATE TABLE `hostnames` (
	`hostname` text PRIMARY KEY NOT NULL,
	`environment_id` text NOT NULL,
	FOREIGN KEY (`environment_id`) REFERENCES `environments`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `hosts` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`labels` text NOT NULL,
	`runtime` text NOT NULL,
	`agent_version` text NOT NULL,
	`boot` text,
	`last_seen_at` integer,
	`clock_skew_ms` integer,
	`created_at` integer NOT NULL,
	`removed_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `hosts_name_unique` ON `hosts` (`name`);--> statement-breakpoint
CREATE TABLE `idempotency` (
	`key` text PRIMARY KEY NOT NULL,
	`body_hash` text NOT NULL,
	`status` integer,
	`headers` text,
	`body` text,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `instances` (
	`id` text PRIMARY KEY NOT NULL,
	`environment_id` text NOT NULL,
	`release_id` text NOT NULL,
	`host_id` text NOT NULL,
	`slot_id` text NOT NULL,
	`state` text NOT NULL,
	`state_since` integer NOT NULL,
	`drain_until` integer,
	`verified_at` integer,
	`verify_cause` text,
	`report_seq` integer NOT NULL,
	`report_state` text,
	`report_cause` text,
	`report_at` integer,
	`created_at` integer NOT NULL,
	`stopped_at` integer,
	FOREIGN KEY (`release_id`) REFERENCES `releases`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `instances_release` ON `instances` (`release_id`);--> statement-breakpoint
CREATE INDEX `instances_live` ON `instances` (`environment_id`) WHERE stopped_at IS NULL;--> statement-breakpoint
CREATE UNIQUE INDEX `instances_slot` ON `instances` (`slot_id`) WHERE stopped_at IS NULL;--> statement-breakpoint
CREATE TABLE `jobs` (
	`id` text PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`host_id` text NOT NULL,
	`environment_id` text NOT NULL,
	`release_id` text NOT NULL,
	`instance_id` text,
	`fence` integer NOT NULL,
	`payload` text NOT NULL,
	`state` text NOT NULL,
	`lease` text,
	`lease_boot` text,
	`lease_expires_at` integer,
	`attempts` integer NOT NULL,
	`progress` text,
	`result` text,
	`error` text,
	`deadline_at` integer NOT NULL,
	`created_at` integer NOT NULL,
	`finished_at` integer
);
--> statement-breakpoint
CREATE INDEX `jobs_open` ON `jobs` (`host_id`,`created_at`) WHERE finished_at IS NULL;--> statement-breakpoint
CREATE INDEX `jobs_release` ON `jobs` (`release_id`);--> statement-breakpoint
CREATE TABLE `outbox` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`environment_id` text NOT NULL,
	`kind` text NOT NULL,
	`payload` text NOT NULL,
	`attempts` integer NOT NULL,
	`created_at` integer NOT NULL,
	`next_attempt_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `outbox_environment` ON `outbox` (`environment_id`);--> statement-breakpoint
CREATE TABLE `releases` (
	`id` text PRIMARY KEY NOT NULL,
	`environment_id` text NOT NULL,
	`version` text NOT NULL,
	`image` text NOT NULL,
	`pinned_image` text,
	`digest` text,
	`state` text NOT NULL,
	`kind` text NOT NULL,
	`spec` text NOT NULL,
	`failure` text,
	`by` text NOT NULL,
	`git` text,
	`weight_bp` integer NOT NULL,
	`step_index` integer,
	`request_key` text,
	`created_at` integer NOT NULL,
	`started_at` integer,
	`serving_at` integer,
	`ended_at` integer,
	`state_since` integer NOT NULL,
	`deadline_at` integer,
	`warm_until` integer,
	`timings` text NOT NULL,
	FOREIGN KEY (`environment_id`) REFERENCES `environments`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `releases_environment_version` ON `releases` (`environment_id`,`version`);--> statement-breakpoint
CREATE UNIQUE INDEX `releases_request_key` ON `releases` (`environment_id`,`request_key`);--> statement-breakpoint
CREATE INDEX `releases_environment_created` ON `releases` (`environment_id`,`created_at`);--> statement-breakpoint
CREATE INDEX `releases_open` ON `releases` (`state`) WHERE ended_at IS NULL;--> statement-breakpoint
CREATE TABLE `slots` (
	`id` text PRIMARY KEY NOT NULL,
	`host_id` text NOT NULL,
	`n` integer NOT NULL,
	`host_port` integer NOT NULL,
	`origin` text NOT NULL,
	`environment_id` text,
	`quarantined_until` integer,
	FOREIGN KEY (`host_id`) REFERENCES `hosts`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `slots_host_n` ON `slots` (`host_id`,`n`);--> statement-breakpoint
CREATE INDEX `slots_environment` ON `slots` (`environment_id`);--> statement-breakpoint
CREATE TABLE `tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`hash` text NOT NULL,
	`role` text NOT NULL,
	`app` text,
	`environment` text,
	`host_id` text,
	`created_at` integer NOT NULL,
	`expires_at` integer,
	`revoked_at` integer,
	`last_used_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `tokens_hash_unique` ON `tokens` (`hash`);