CREATE TABLE sign_in_flow (
	registry_id BIGINT NOT NULL,
	state BYTEA NOT NULL,
	redirect TEXT COLLATE "C" NOT NULL,
	next TEXT COLLATE "C" DEFAULT '' NOT NULL,
	address TEXT COLLATE "C" DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	vouched TEXT COLLATE "C",
	PRIMARY KEY (registry_id, state)
);

CREATE INDEX sign_in_flow_address ON sign_in_flow (registry_id, address, created_at);

CREATE INDEX sign_in_flow_created ON sign_in_flow (registry_id, created_at);
