CREATE TABLE project_role (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	project_id BIGINT,
	name TEXT NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	FOREIGN KEY(project_id) REFERENCES project (id)
);

CREATE UNIQUE INDEX project_role_in ON project_role (registry_id, project_id, name) WHERE project_id IS NOT NULL;

CREATE UNIQUE INDEX project_role_name ON project_role (registry_id, name) WHERE project_id IS NULL;

CREATE TABLE project_role_permission (
	registry_id BIGINT NOT NULL,
	role_id BIGINT NOT NULL,
	resource TEXT NOT NULL,
	action TEXT NOT NULL,
	PRIMARY KEY (registry_id, role_id, resource, action),
	FOREIGN KEY(role_id) REFERENCES project_role (id)
)
 WITHOUT ROWID;

CREATE TABLE repository_grant (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	project_id BIGINT NOT NULL,
	user_id BIGINT,
	group_id BIGINT,
	robot_id BIGINT,
	pattern TEXT NOT NULL,
	permissions TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	CONSTRAINT repository_grant_one CHECK ((user_id IS NULL AND group_id IS NULL) OR (user_id IS NULL AND robot_id IS NULL) OR (group_id IS NULL AND robot_id IS NULL)),
	CONSTRAINT repository_grant_whose CHECK (user_id IS NOT NULL OR group_id IS NOT NULL OR robot_id IS NOT NULL),
	FOREIGN KEY(project_id) REFERENCES project (id),
	FOREIGN KEY(user_id) REFERENCES user (id),
	FOREIGN KEY(group_id) REFERENCES user_group (id),
	FOREIGN KEY(robot_id) REFERENCES robot (id)
);

CREATE INDEX repository_grant_group ON repository_grant (registry_id, group_id, project_id) WHERE group_id IS NOT NULL;

CREATE INDEX repository_grant_project ON repository_grant (registry_id, project_id, id);

CREATE INDEX repository_grant_robot ON repository_grant (registry_id, robot_id, project_id) WHERE robot_id IS NOT NULL;

CREATE INDEX repository_grant_user ON repository_grant (registry_id, user_id, project_id) WHERE user_id IS NOT NULL;
