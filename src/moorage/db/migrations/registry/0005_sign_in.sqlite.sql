CREATE TABLE sign_in_flow (
	registry_id BIGINT NOT NULL,
	state BLOB NOT NULL,
	redirect TEXT NOT NULL,
	next TEXT DEFAULT '' NOT NULL,
	address TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	vouched TEXT,
	PRIMARY KEY (registry_id, state)
)
 WITHOUT ROWID;

CREATE INDEX sign_in_flow_address ON sign_in_flow (registry_id, address, created_at);

CREATE INDEX sign_in_flow_created ON sign_in_flow (registry_id, created_at);
