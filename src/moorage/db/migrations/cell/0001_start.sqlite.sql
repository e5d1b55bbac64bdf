CREATE TABLE entry (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	uuid TEXT NOT NULL,
	name TEXT NOT NULL,
	"plan" TEXT NOT NULL,
	state TEXT NOT NULL,
	generation BIGINT DEFAULT 1 NOT NULL,
	prefix TEXT NOT NULL,
	port BIGINT,
	parallel BIGINT DEFAULT 0 NOT NULL,
	limit_bytes BIGINT DEFAULT (-1) NOT NULL,
	first SMALLINT DEFAULT 0 NOT NULL,
	created_at BIGINT NOT NULL,
	deleted_at BIGINT,
	UNIQUE (uuid),
	UNIQUE (prefix),
	UNIQUE (port)
);

CREATE UNIQUE INDEX entry_name ON entry (name) WHERE deleted_at IS NULL;

CREATE TABLE host (
	name TEXT NOT NULL,
	entry_id BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (name),
	FOREIGN KEY(entry_id) REFERENCES entry (id)
);
