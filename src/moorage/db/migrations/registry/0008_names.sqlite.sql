CREATE TABLE old_project_name (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	project_id BIGINT NOT NULL,
	start_at BIGINT NOT NULL,
	end_at BIGINT NOT NULL,
	freed_at BIGINT,
	FOREIGN KEY(project_id) REFERENCES project (id)
);

CREATE INDEX old_project_name_name ON old_project_name (registry_id, name, end_at) WHERE freed_at IS NULL;

CREATE INDEX old_project_name_project ON old_project_name (registry_id, project_id, end_at);

CREATE TABLE old_repository_name (
	registry_id BIGINT NOT NULL,
	project_id BIGINT NOT NULL,
	name TEXT NOT NULL,
	repository_id BIGINT NOT NULL,
	end_at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, project_id, name),
	FOREIGN KEY(project_id) REFERENCES project (id),
	FOREIGN KEY(repository_id) REFERENCES repository (id)
)
 WITHOUT ROWID;

CREATE INDEX old_repository_name_repository ON old_repository_name (registry_id, repository_id);
