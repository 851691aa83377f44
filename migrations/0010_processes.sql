CREATE TABLE `runs` (
	`id` text PRIMARY KEY NOT NULL,
	`environment_id` text NOT NULL,
	`release_id` text NOT NULL,
	`process` text,
	`command` text NOT NULL,
	`by` text NOT NULL,
	`due_at` integer,
	`missed` integer DEFAULT 0 NOT NULL,
	`state` text NOT NULL,
	`cause` text,
	`exit_code` integer,
	`logs` text DEFAULT '[]' NOT NULL,
	`host_id` text,
	`job_id` text,
	`attempts` integer DEFAULT 0 NOT NULL,
	`stop_by` text,
	`deadline_ms` integer NOT NULL,
	`created_at` integer NOT NULL,
	`started_at` integer,
	`ended_at` integer
);
--> statement-breakpoint
CREATE INDEX `runs_environment` ON `runs` (`environment_id`,`created_at`);--> statement-breakpoint
CREATE INDEX `runs_open` ON `runs` (`environment_id`) WHERE ended_at IS NULL;--> statement-breakpoint
CREATE UNIQUE INDEX `runs_due` ON `runs` (`environment_id`,`process`,`due_at`) WHERE due_at IS NOT NULL;--> statement-breakpoint
CREATE TABLE `__new_instances` (
	`id` text PRIMARY KEY NOT NULL,
	`environment_id` text NOT NULL,
	`release_id` text NOT NULL,
	`host_id` text NOT NULL,
	`slot_id` text,
	`process` text,
	`state` text NOT NULL,
	`state_since` integer NOT NULL,
	`drain_until` integer,
	`verified_at` integer,
	`verify_cause` text,
	`unreachable_since` integer,
	`report_seq` integer NOT NULL,
	`report_boot` text,
	`report_state` text,
	`report_cause` text,
	`report_at` integer,
	`exits` text DEFAULT '[]' NOT NULL,
	`outages` text DEFAULT '[]' NOT NULL,
	`secret_versions` text,
	`created_at` integer NOT NULL,
	`stopped_at` integer,
	FOREIGN KEY (`release_id`) REFERENCES `releases`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
INSERT INTO `__new_instances`("id", "environment_id", "release_id", "host_id", "slot_id", "state", "state_since", "drain_until", "verified_at", "verify_cause", "unreachable_since", "report_seq", "report_boot", "report_state", "report_cause", "report_at", "exits", "outages", "secret_versions", "created_at", "stopped_at") SELECT "id", "environment_id", "release_id", "host_id", "slot_id", "state", "state_since", "drain_until", "verified_at", "verify_cause", "unreachable_since", "report_seq", "report_boot", "report_state", "report_cause", "report_at", "exits", "outages", "secret_versions", "created_at", "stopped_at" FROM `instances`;--> statement-breakpoint
DROP TABLE `instances`;--> statement-breakpoint
ALTER TABLE `__new_instances` RENAME TO `instances`;--> statement-breakpoint
CREATE INDEX `instances_release` ON `instances` (`release_id`);--> statement-breakpoint
CREATE INDEX `instances_live` ON `instances` (`environment_id`) WHERE stopped_at IS NULL;--> statement-breakpoint
CREATE INDEX `instances_on_host` ON `instances` (`host_id`) WHERE stopped_at IS NULL;--> statement-breakpoint
CREATE INDEX `instances_host` ON `instances` (`host_id`) WHERE stopped_at IS NULL;--> statement-breakpoint
CREATE UNIQUE INDEX `instances_slot` ON `instances` (`slot_id`) WHERE stopped_at IS NULL;--> statement-breakpoint
ALTER TABLE `environments` ADD `schedules` text;--> statement-breakpoint
ALTER TABLE `releases` ADD `worker_troubles` text;