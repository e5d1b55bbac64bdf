CREATE TABLE configuration (
	registry_id BIGINT NOT NULL,
	name TEXT COLLATE "C" NOT NULL,
	value TEXT COLLATE "C" DEFAULT '' NOT NULL,
	secret BYTEA,
	master TEXT COLLATE "C",
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, name),
	CONSTRAINT configuration_secret CHECK ((secret IS NULL) = (master IS NULL))
);
