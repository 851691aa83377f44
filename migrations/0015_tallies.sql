CREATE TABLE `tallies` (
	`environment_id` text NOT NULL,
	`metric` text NOT NULL,
	`labels` text NOT NULL,
	`value` real NOT NULL,
	PRIMARY KEY(`environment_id`, `metric`, `labels`)
);
