CREATE TABLE cve_allowlist (
	registry_id BIGINT NOT NULL,
	project_id BIGINT NOT NULL,
	items TEXT DEFAULT '[]' NOT NULL,
	expires_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, project_id)
)
 WITHOUT ROWID;

CREATE TABLE session (
	registry_id BIGINT NOT NULL,
	hash BLOB NOT NULL,
	user_id BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	address TEXT DEFAULT '' NOT NULL,
	agent TEXT DEFAULT '' NOT NULL,
	PRIMARY KEY (registry_id, hash),
	FOREIGN KEY(user_id) REFERENCES user (id)
)
 WITHOUT ROWID;

CREATE INDEX session_last ON session (registry_id, last_at);

CREATE INDEX session_of_user ON session (registry_id, user_id);

CREATE INDEX project_created ON project (registry_id, created_at, id, public) WHERE deleted_at IS NULL AND state = 'live';

CREATE INDEX project_listed ON project (registry_id, name, id, public) WHERE deleted_at IS NULL AND state = 'live';

CREATE INDEX repository_all ON repository (registry_id, name, id, project_id) WHERE deleted_at IS NULL AND state = 'live';

CREATE INDEX repository_listed ON repository (registry_id, project_id, name, id) WHERE deleted_at IS NULL AND state = 'live';

ALTER TABLE manifest ADD COLUMN kind TEXT;

ALTER TABLE manifest ADD COLUMN config_type TEXT;

ALTER TABLE manifest ADD COLUMN facts TEXT;

CREATE INDEX manifest_kindless ON manifest (registry_id, repository_id, id) WHERE kind IS NULL AND deleted_at IS NULL;
