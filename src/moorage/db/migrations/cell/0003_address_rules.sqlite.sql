CREATE TABLE address_rules (
	entry_id BIGINT NOT NULL,
	registry TEXT NOT NULL,
	management TEXT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (entry_id),
	FOREIGN KEY(entry_id) REFERENCES entry (id)
);
