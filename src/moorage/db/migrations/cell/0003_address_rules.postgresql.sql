CREATE TABLE address_rules (
	entry_id BIGINT NOT NULL,
	registry TEXT COLLATE "C" NOT NULL,
	management TEXT COLLATE "C" NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (entry_id),
	FOREIGN KEY(entry_id) REFERENCES entry (id)
);
