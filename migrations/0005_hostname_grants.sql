CREATE TABLE `hostname_grants` (
	`app` text NOT NULL,
	`pattern` text NOT NULL,
	`claim` integer NOT NULL,
	`by` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`app`, `pattern`)
);
--> statement-breakpoint
-- Upgrades grant what exists, as it is.
INSERT INTO `hostname_grants` (`app`, `pattern`, `claim`, `by`, `created_at`)
SELECT a.`name`, h.`hostname`, 1, 'upgrade', a.`created_at` FROM `hostnames` h
JOIN `environments` e ON e.`id` = h.`environment_id` JOIN `apps` a ON a.`id` = e.`app_id`;
