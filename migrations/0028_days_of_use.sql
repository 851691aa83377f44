CREATE TABLE `days_of_use` (
	`day` integer PRIMARY KEY NOT NULL,
	`visitors` integer NOT NULL,
	`object_calls` integer NOT NULL,
	`object_rows` integer NOT NULL,
	`table_copies` integer NOT NULL
);
