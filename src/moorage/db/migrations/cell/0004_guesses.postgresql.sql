CREATE TABLE registry_guess (
	hash BYTEA NOT NULL,
	count BIGINT NOT NULL,
	at BIGINT NOT NULL,
	next_at BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (hash)
);

CREATE INDEX registry_guess_at ON registry_guess (at);
