PRAGMA foreign_keys=OFF;--> statement-breakpoint
CREATE TABLE `__new_cloudflare_resources` (
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
INSERT INTO `__new_cloudflare_resources`("id", "host_id", "hostname", "kind", "remote_id", "name", "zone_id", "created_at") SELECT "id", "host_id", NULL, "kind", "remote_id", "name", "zone_id", "created_at" FROM `cloudflare_resources`;--> statement-breakpoint
DROP TABLE `cloudflare_resources`;--> statement-breakpoint
ALTER TABLE `__new_cloudflare_resources` RENAME TO `cloudflare_resources`;--> statement-breakpoint
PRAGMA foreign_keys=ON;--> statement-breakpoint
CREATE UNIQUE INDEX `cloudflare_resources_name` ON `cloudflare_resources` (`kind`,`name`);--> statement-breakpoint
CREATE INDEX `cloudflare_resources_host` ON `cloudflare_resources` (`host_id`);