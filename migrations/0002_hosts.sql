CREATE TABLE `accessories` (
	`environment_id` text NOT NULL,
	`name` text NOT NULL,
	`host_id` text NOT NULL,
	`spec` text NOT NULL,
	`pinned_image` text,
	`state` text NOT NULL,
	`state_since` integer NOT NULL,
	`cause` text,
	`job_id` text,
	`secret_versions` text,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`environment_id`, `name`)
);
--> statement-breakpoint
CREATE INDEX `accessories_moving` ON `accessories` (`job_id`) WHERE state IN ('starting', 'stopping');--> statement-breakpoint
CREATE INDEX `accessories_host` ON `accessories` (`host_id`);--> statement-breakpoint
CREATE TABLE `cloudflare_resources` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`host_id` text,
	`hostname` text,
	`kind` text NOT NULL,
	`remote_id` text,
	`name` text NOT NULL,
	`zone_id` text,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `cloudflare_resources_name` ON `cloudflare_resources` (`kind`,`name`);--> statement-breakpoint
CREATE INDEX `cloudflare_resources_host` ON `cloudflare_resources` (`host_id`);--> statement-breakpoint
CREATE TABLE `registries` (
	`app_id` text NOT NULL,
	`registry` text NOT NULL,
	`username` text NOT NULL,
	`sealed` text NOT NULL,
	`key_id` text NOT NULL,
	`updated_at` integer NOT NULL,
	`updated_by` text NOT NULL,
	PRIMARY KEY(`app_id`, `registry`)
);
--> statement-breakpoint
CREATE TABLE `secrets` (
	`environment_id` text NOT NULL,
	`name` text NOT NULL,
	`sealed` text NOT NULL,
	`key_id` text NOT NULL,
	`version` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`updated_by` text NOT NULL,
	PRIMARY KEY(`environment_id`, `name`)
);
--> statement-breakpoint
CREATE TABLE `tunnels` (
	`host_id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`tunnel_id` text,
	`config_version` integer,
	`state` text NOT NULL,
	`cause` text,
	`attempts` integer NOT NULL,
	`next_attempt_at` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `__new_jobs` (
	`id` text PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`host_id` text NOT NULL,
	`environment_id` text NOT NULL,
	`release_id` text,
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
INSERT INTO `__new_jobs`("id", "kind", "host_id", "environment_id", "release_id", "instance_id", "fence", "payload", "state", "lease", "lease_boot", "lease_expires_at", "attempts", "progress", "result", "error", "deadline_at", "created_at", "finished_at") SELECT "id", "kind", "host_id", "environment_id", "release_id", "instance_id", "fence", "payload", "state", "lease", "lease_boot", "lease_expires_at", "attempts", "progress", "result", "error", "deadline_at", "created_at", "finished_at" FROM `jobs`;--> statement-breakpoint
DROP TABLE `jobs`;--> statement-breakpoint
ALTER TABLE `__new_jobs` RENAME TO `jobs`;--> statement-breakpoint
CREATE INDEX `jobs_open` ON `jobs` (`host_id`,`created_at`) WHERE finished_at IS NULL;--> statement-breakpoint
CREATE INDEX `jobs_release` ON `jobs` (`release_id`);--> statement-breakpoint
CREATE INDEX `jobs_logs` ON `jobs` (`deadline_at`) WHERE kind = 'logs';--> statement-breakpoint
ALTER TABLE `hostnames` ADD `zone_id` text;--> statement-breakpoint
ALTER TABLE `hostnames` ADD `route_id` text;--> statement-breakpoint
ALTER TABLE `hostnames` ADD `record_id` text;--> statement-breakpoint
ALTER TABLE `hostnames` ADD `route_state` text;--> statement-breakpoint
ALTER TABLE `hostnames` ADD `route_cause` text;--> statement-breakpoint
ALTER TABLE `hostnames` ADD `route_next_at` integer;--> statement-breakpoint
ALTER TABLE `hosts` ADD `facts` text;--> statement-breakpoint
ALTER TABLE `hosts` ADD `facts_at` integer;--> statement-breakpoint
ALTER TABLE `hosts` ADD `tunnel_rev` integer;--> statement-breakpoint
ALTER TABLE `hosts` ADD `rotate_at` integer;--> statement-breakpoint
ALTER TABLE `instances` ADD `secret_versions` text;--> statement-breakpoint
ALTER TABLE `releases` ADD `override` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `tokens` ADD `replaces` text;