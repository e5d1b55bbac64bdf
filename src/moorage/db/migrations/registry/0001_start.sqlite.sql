CREATE TABLE blob (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	digest BLOB NOT NULL,
	size BIGINT NOT NULL,
	"key" TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	format BIGINT DEFAULT 0 NOT NULL,
	data_key BIGINT,
	projects BIGINT DEFAULT 0 NOT NULL,
	live_projects BIGINT DEFAULT 0 NOT NULL,
	CONSTRAINT blob_projects CHECK (0 <= live_projects AND live_projects <= projects)
);

CREATE UNIQUE INDEX blob_digest ON blob (registry_id, digest);

CREATE UNIQUE INDEX blob_key ON blob (registry_id, "key");

CREATE TABLE doomed (
	registry_id BIGINT NOT NULL,
	"key" TEXT NOT NULL,
	size BIGINT NOT NULL,
	destroy_at BIGINT NOT NULL,
	tries BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (registry_id, "key")
)
 WITHOUT ROWID;

CREATE INDEX doomed_due ON doomed (registry_id, destroy_at);

CREATE TABLE event (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	uuid TEXT NOT NULL,
	kind TEXT NOT NULL,
	at BIGINT NOT NULL,
	actor TEXT NOT NULL,
	party TEXT DEFAULT '' NOT NULL,
	outcome TEXT NOT NULL,
	rule TEXT DEFAULT '' NOT NULL,
	request_id TEXT DEFAULT '' NOT NULL,
	address TEXT DEFAULT '' NOT NULL,
	agent TEXT DEFAULT '' NOT NULL,
	project TEXT DEFAULT '' NOT NULL,
	target TEXT DEFAULT '' NOT NULL,
	body TEXT NOT NULL,
	count BIGINT DEFAULT 1 NOT NULL
);

CREATE INDEX event_at ON event (registry_id, at, id);

CREATE INDEX event_kind ON event (registry_id, kind, at, id);

CREATE INDEX event_project ON event (registry_id, project, at, id);

CREATE UNIQUE INDEX event_uuid ON event (registry_id, uuid);

CREATE TABLE outbox (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	uuid TEXT NOT NULL,
	at BIGINT NOT NULL,
	kind TEXT NOT NULL,
	body TEXT NOT NULL
);

CREATE TABLE project (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	public SMALLINT DEFAULT 0 NOT NULL,
	limit_bytes BIGINT DEFAULT (-1) NOT NULL,
	used BIGINT DEFAULT 0 NOT NULL,
	trash BIGINT DEFAULT 0 NOT NULL,
	loose_window BIGINT,
	owner_id BIGINT,
	state TEXT DEFAULT 'live' NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT,
	deleted_at BIGINT,
	CONSTRAINT project_used CHECK (used >= 0),
	CONSTRAINT project_trash CHECK (trash >= 0)
);

CREATE UNIQUE INDEX project_name ON project (registry_id, name) WHERE deleted_at IS NULL;

CREATE TABLE pull_stat (
	registry_id BIGINT NOT NULL,
	manifest_id BIGINT NOT NULL,
	pulls BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, manifest_id)
)
 WITHOUT ROWID;

CREATE TABLE refresh_token (
	registry_id BIGINT NOT NULL,
	hash BLOB NOT NULL,
	caller_kind TEXT NOT NULL,
	caller_id BIGINT NOT NULL,
	client TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	revoked_at BIGINT,
	last_used_at BIGINT,
	PRIMARY KEY (registry_id, hash)
)
 WITHOUT ROWID;

CREATE INDEX refresh_token_caller ON refresh_token (registry_id, caller_kind, caller_id);

CREATE INDEX refresh_token_expires ON refresh_token (registry_id, expires_at);

CREATE TABLE registry (
	registry_id BIGINT NOT NULL,
	clock BIGINT NOT NULL,
	access_version BIGINT DEFAULT 0 NOT NULL,
	restored_at BIGINT,
	limit_bytes BIGINT NOT NULL,
	used BIGINT DEFAULT 0 NOT NULL,
	trash BIGINT DEFAULT 0 NOT NULL,
	lease BIGINT NOT NULL,
	trash_window BIGINT NOT NULL,
	backup_window BIGINT NOT NULL,
	creates_projects SMALLINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (registry_id),
	CONSTRAINT registry_used CHECK (used >= 0),
	CONSTRAINT registry_trash CHECK (trash >= 0)
)
 WITHOUT ROWID;

CREATE TABLE signing_key (
	registry_id BIGINT NOT NULL,
	id TEXT NOT NULL,
	algorithm TEXT NOT NULL,
	wrapped BLOB NOT NULL,
	master TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	retired_at BIGINT,
	PRIMARY KEY (registry_id, id)
)
 WITHOUT ROWID;

CREATE TABLE user (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	email TEXT,
	realname TEXT DEFAULT '' NOT NULL,
	comment TEXT DEFAULT '' NOT NULL,
	password TEXT,
	admin SMALLINT DEFAULT 0 NOT NULL,
	disabled SMALLINT DEFAULT 0 NOT NULL,
	valid_from BIGINT DEFAULT 0 NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT,
	deleted_at BIGINT
);

CREATE INDEX user_email ON user (registry_id, email) WHERE deleted_at IS NULL;

CREATE UNIQUE INDEX user_name ON user (registry_id, name) WHERE deleted_at IS NULL;

CREATE TABLE user_group (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	source TEXT NOT NULL,
	external TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	deleted_at BIGINT
);

CREATE INDEX user_group_name ON user_group (registry_id, source, name) WHERE deleted_at IS NULL;

CREATE TABLE immutable_rule (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	project_id BIGINT NOT NULL,
	repositories TEXT DEFAULT '**' NOT NULL,
	excludes_repositories SMALLINT DEFAULT 0 NOT NULL,
	tags TEXT DEFAULT '**' NOT NULL,
	excludes_tags SMALLINT DEFAULT 0 NOT NULL,
	disabled SMALLINT DEFAULT 0 NOT NULL,
	created_at BIGINT NOT NULL,
	FOREIGN KEY(project_id) REFERENCES project (id)
);

CREATE INDEX immutable_rule_project ON immutable_rule (registry_id, project_id);

CREATE TABLE label (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	project_id BIGINT,
	name TEXT NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	colour TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT,
	deleted_at BIGINT,
	FOREIGN KEY(project_id) REFERENCES project (id)
);

CREATE INDEX label_name ON label (registry_id, project_id, name) WHERE deleted_at IS NULL;

CREATE TABLE member (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	project_id BIGINT NOT NULL,
	user_id BIGINT,
	group_id BIGINT,
	role BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT,
	CONSTRAINT member_one CHECK ((user_id IS NULL) <> (group_id IS NULL)),
	FOREIGN KEY(project_id) REFERENCES project (id),
	FOREIGN KEY(user_id) REFERENCES user (id),
	FOREIGN KEY(group_id) REFERENCES user_group (id)
);

CREATE UNIQUE INDEX member_group ON member (registry_id, group_id, project_id) WHERE group_id IS NOT NULL;

CREATE INDEX member_project ON member (registry_id, project_id);

CREATE UNIQUE INDEX member_user ON member (registry_id, user_id, project_id) WHERE user_id IS NOT NULL;

CREATE TABLE project_blob (
	registry_id BIGINT NOT NULL,
	blob_id BIGINT NOT NULL,
	project_id BIGINT NOT NULL,
	links BIGINT NOT NULL,
	live_links BIGINT NOT NULL,
	PRIMARY KEY (registry_id, blob_id, project_id),
	CONSTRAINT project_blob_links CHECK (0 <= live_links AND live_links <= links),
	FOREIGN KEY(blob_id) REFERENCES blob (id),
	FOREIGN KEY(project_id) REFERENCES project (id)
)
 WITHOUT ROWID;

CREATE INDEX project_blob_project ON project_blob (registry_id, project_id);

CREATE TABLE project_metadata (
	registry_id BIGINT NOT NULL,
	project_id BIGINT NOT NULL,
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (registry_id, project_id, name),
	FOREIGN KEY(project_id) REFERENCES project (id)
)
 WITHOUT ROWID;

CREATE TABLE repository (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	project_id BIGINT NOT NULL,
	name TEXT NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	state TEXT DEFAULT 'live' NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT,
	deleted_at BIGINT,
	FOREIGN KEY(project_id) REFERENCES project (id)
);

CREATE INDEX repository_deleted ON repository (registry_id, deleted_at) WHERE deleted_at IS NOT NULL;

CREATE UNIQUE INDEX repository_name ON repository (registry_id, name) WHERE deleted_at IS NULL;

CREATE INDEX repository_project ON repository (registry_id, project_id, name);

CREATE TABLE robot (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	project_id BIGINT,
	name TEXT NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	secret BLOB NOT NULL,
	old_secret BLOB,
	old_until BIGINT,
	disabled SMALLINT DEFAULT 0 NOT NULL,
	duration BIGINT DEFAULT (-1) NOT NULL,
	expires_at BIGINT,
	valid_from BIGINT DEFAULT 0 NOT NULL,
	creator_kind TEXT DEFAULT '' NOT NULL,
	creator_id BIGINT,
	last_used_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT,
	deleted_at BIGINT,
	FOREIGN KEY(project_id) REFERENCES project (id)
);

CREATE UNIQUE INDEX robot_name ON robot (registry_id, name) WHERE deleted_at IS NULL;

CREATE INDEX robot_project ON robot (registry_id, project_id);

CREATE TABLE user_group_member (
	registry_id BIGINT NOT NULL,
	group_id BIGINT NOT NULL,
	user_id BIGINT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, group_id, user_id),
	FOREIGN KEY(group_id) REFERENCES user_group (id),
	FOREIGN KEY(user_id) REFERENCES user (id)
)
 WITHOUT ROWID;

CREATE INDEX user_group_member_user ON user_group_member (registry_id, user_id);

CREATE TABLE user_identity (
	registry_id BIGINT NOT NULL,
	issuer TEXT NOT NULL,
	subject TEXT NOT NULL,
	user_id BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	claims TEXT DEFAULT '{}' NOT NULL,
	PRIMARY KEY (registry_id, issuer, subject),
	FOREIGN KEY(user_id) REFERENCES user (id)
)
 WITHOUT ROWID;

CREATE INDEX user_identity_user ON user_identity (registry_id, user_id);

CREATE TABLE manifest (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	repository_id BIGINT NOT NULL,
	digest BLOB NOT NULL,
	media_type TEXT NOT NULL,
	artifact_type TEXT NOT NULL,
	subject BLOB,
	annotations TEXT,
	size BIGINT NOT NULL,
	content_size BIGINT NOT NULL,
	pushed_at BIGINT NOT NULL,
	deleted_at BIGINT,
	loose_since BIGINT,
	body BLOB NOT NULL,
	FOREIGN KEY(repository_id) REFERENCES repository (id)
);

CREATE INDEX manifest_deleted ON manifest (registry_id, deleted_at) WHERE deleted_at IS NOT NULL;

CREATE UNIQUE INDEX manifest_digest ON manifest (registry_id, repository_id, digest);

CREATE INDEX manifest_loose ON manifest (registry_id, loose_since) WHERE loose_since IS NOT NULL;

CREATE INDEX manifest_pushed ON manifest (registry_id, repository_id, pushed_at, id) WHERE deleted_at IS NULL;

CREATE INDEX manifest_subject ON manifest (registry_id, repository_id, subject, artifact_type, id) WHERE subject IS NOT NULL AND deleted_at IS NULL;

CREATE INDEX manifest_trash ON manifest (registry_id, repository_id, deleted_at, id) WHERE deleted_at IS NOT NULL;

CREATE TABLE repository_blob (
	registry_id BIGINT NOT NULL,
	repository_id BIGINT NOT NULL,
	blob_id BIGINT NOT NULL,
	refs BIGINT DEFAULT 0 NOT NULL,
	held SMALLINT DEFAULT 0 NOT NULL,
	review_at BIGINT,
	PRIMARY KEY (registry_id, repository_id, blob_id),
	CONSTRAINT repository_blob_refs CHECK (refs >= 0),
	CONSTRAINT repository_blob_live CHECK (refs = 0 OR (held = 0 AND review_at IS NULL)),
	CONSTRAINT repository_blob_held CHECK (held = 0 OR review_at IS NOT NULL),
	FOREIGN KEY(repository_id) REFERENCES repository (id),
	FOREIGN KEY(blob_id) REFERENCES blob (id)
)
 WITHOUT ROWID;

CREATE INDEX repository_blob_blob ON repository_blob (registry_id, blob_id, repository_id);

CREATE INDEX repository_blob_review ON repository_blob (registry_id, review_at) WHERE review_at IS NOT NULL;

CREATE TABLE robot_permission (
	registry_id BIGINT NOT NULL,
	robot_id BIGINT NOT NULL,
	kind TEXT NOT NULL,
	namespace TEXT NOT NULL,
	resource TEXT NOT NULL,
	action TEXT NOT NULL,
	PRIMARY KEY (registry_id, robot_id, kind, namespace, resource, action),
	FOREIGN KEY(robot_id) REFERENCES robot (id)
)
 WITHOUT ROWID;

CREATE TABLE upload (
	registry_id BIGINT NOT NULL,
	id TEXT NOT NULL,
	repository_id BIGINT NOT NULL,
	subject TEXT NOT NULL,
	algorithm TEXT NOT NULL,
	version BIGINT DEFAULT 0 NOT NULL,
	received BIGINT DEFAULT 0 NOT NULL,
	reserved BIGINT DEFAULT 0 NOT NULL,
	hash_state BLOB,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, id),
	FOREIGN KEY(repository_id) REFERENCES repository (id)
)
 WITHOUT ROWID;

CREATE INDEX upload_expires ON upload (registry_id, expires_at);

CREATE INDEX upload_repository ON upload (registry_id, repository_id);

CREATE TABLE manifest_blob (
	registry_id BIGINT NOT NULL,
	manifest_id BIGINT NOT NULL,
	blob_id BIGINT NOT NULL,
	repository_id BIGINT NOT NULL,
	PRIMARY KEY (registry_id, manifest_id, blob_id),
	FOREIGN KEY(registry_id, repository_id, blob_id) REFERENCES repository_blob (registry_id, repository_id, blob_id),
	FOREIGN KEY(manifest_id) REFERENCES manifest (id)
)
 WITHOUT ROWID;

CREATE INDEX manifest_blob_link ON manifest_blob (registry_id, repository_id, blob_id);

CREATE TABLE manifest_child (
	registry_id BIGINT NOT NULL,
	parent_id BIGINT NOT NULL,
	child BLOB NOT NULL,
	repository_id BIGINT NOT NULL,
	PRIMARY KEY (registry_id, parent_id, child),
	FOREIGN KEY(parent_id) REFERENCES manifest (id)
)
 WITHOUT ROWID;

CREATE INDEX manifest_child_child ON manifest_child (registry_id, repository_id, child);

CREATE TABLE manifest_label (
	registry_id BIGINT NOT NULL,
	manifest_id BIGINT NOT NULL,
	label_id BIGINT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (registry_id, manifest_id, label_id),
	FOREIGN KEY(manifest_id) REFERENCES manifest (id),
	FOREIGN KEY(label_id) REFERENCES label (id)
)
 WITHOUT ROWID;

CREATE INDEX manifest_label_label ON manifest_label (registry_id, label_id);

CREATE TABLE tag (
	registry_id BIGINT NOT NULL,
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	repository_id BIGINT NOT NULL,
	name TEXT NOT NULL,
	manifest_id BIGINT NOT NULL,
	start_at BIGINT NOT NULL,
	end_at BIGINT,
	CONSTRAINT tag_interval CHECK (end_at IS NULL OR end_at > start_at),
	FOREIGN KEY(manifest_id) REFERENCES manifest (id)
);

CREATE UNIQUE INDEX tag_current ON tag (registry_id, repository_id, name) WHERE end_at IS NULL;

CREATE INDEX tag_ended ON tag (registry_id, end_at) WHERE end_at IS NOT NULL;

CREATE INDEX tag_manifest ON tag (registry_id, manifest_id, end_at);

CREATE INDEX tag_past ON tag (registry_id, repository_id, name, start_at) WHERE end_at IS NOT NULL;

CREATE TABLE upload_part (
	registry_id BIGINT NOT NULL,
	upload_id TEXT NOT NULL,
	n BIGINT NOT NULL,
	"key" TEXT NOT NULL,
	size BIGINT,
	PRIMARY KEY (registry_id, upload_id, n),
	FOREIGN KEY(registry_id, upload_id) REFERENCES upload (registry_id, id)
)
 WITHOUT ROWID;

CREATE UNIQUE INDEX upload_part_key ON upload_part (registry_id, "key");
