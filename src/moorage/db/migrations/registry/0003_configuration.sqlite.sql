CREATE TABLE configuration (
	registry_id BIGINT NOT NULL,
	name TEXT NOT NULL,
	value TEXT DEFAULT '' NOT NULL,
	secret BLOB,
	master TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, name),
	CONSTRAINT configuration_secret CHECK ((secret IS NULL) = (master IS NULL))
)
 WITHOUT ROWID;
