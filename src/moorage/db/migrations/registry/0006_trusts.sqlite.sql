CREATE TABLE robot_trust (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	robot_id BIGINT NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	issuer TEXT NOT NULL,
	audience TEXT NOT NULL,
	claims TEXT NOT NULL,
	jwks TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT,
	FOREIGN KEY(robot_id) REFERENCES robot (id)
);

CREATE INDEX robot_trust_issuer ON robot_trust (registry_id, issuer, robot_id);

CREATE INDEX robot_trust_robot ON robot_trust (registry_id, robot_id, id);
