CREATE TABLE traffic (
	hour BIGINT NOT NULL,
	entry_uuid TEXT COLLATE "C" NOT NULL,
	source TEXT COLLATE "C" NOT NULL,
	manifest_pulls BIGINT DEFAULT 0 NOT NULL,
	blob_pulls BIGINT DEFAULT 0 NOT NULL,
	pushes BIGINT DEFAULT 0 NOT NULL,
	others BIGINT DEFAULT 0 NOT NULL,
	refusals BIGINT DEFAULT 0 NOT NULL,
	bytes_in BIGINT DEFAULT 0 NOT NULL,
	bytes_out BIGINT DEFAULT 0 NOT NULL,
	writes BIGINT NOT NULL,
	rolled BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (hour, entry_uuid, source)
);

CREATE INDEX traffic_due ON traffic (hour, entry_uuid) WHERE writes <> rolled;
