CREATE TABLE cve_allowlist (
	registry_id BIGINT NOT NULL,
	project_id BIGINT NOT NULL,
	items TEXT COLLATE "C" DEFAULT '[]' NOT NULL,
	expires_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, project_id)
);

CREATE TABLE session (
	registry_id BIGINT NOT NULL,
	hash BYTEA NOT NULL,
	user_id BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	address TEXT COLLATE "C" DEFAULT '' NOT NULL,
	agent TEXT COLLATE "C" DEFAULT '' NOT NULL,
	PRIMARY KEY (registry_id, hash),
	FOREIGN KEY(registry_id, user_id) REFERENCES "user" (registry_id, id)
);

CREATE INDEX session_last ON session (registry_id, last_at);

CREATE INDEX session_of_user ON session (registry_id, user_id);
