CREATE TABLE account (
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	currency TEXT NOT NULL,
	state TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	deleted_at BIGINT,
	PRIMARY KEY (id),
	CHECK (state IN ('ACTIVE', 'CLOSED'))
);

CREATE UNIQUE INDEX account_name ON account (name);

CREATE TABLE cloud_event (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	uuid TEXT NOT NULL,
	kind TEXT NOT NULL,
	at BIGINT NOT NULL,
	actor TEXT NOT NULL,
	party TEXT NOT NULL,
	outcome TEXT NOT NULL,
	rule TEXT NOT NULL,
	request_id TEXT NOT NULL,
	address TEXT NOT NULL,
	agent TEXT NOT NULL,
	account_id TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	target TEXT NOT NULL,
	body TEXT NOT NULL
);

CREATE INDEX cloud_event_account ON cloud_event (account_id, at);

CREATE INDEX cloud_event_at ON cloud_event (at);

CREATE INDEX cloud_event_target ON cloud_event (target, at);

CREATE UNIQUE INDEX cloud_event_uuid ON cloud_event (uuid);

CREATE TABLE cloud_outbox (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	uuid TEXT NOT NULL,
	kind TEXT NOT NULL,
	at BIGINT NOT NULL,
	actor TEXT NOT NULL,
	party TEXT NOT NULL,
	outcome TEXT NOT NULL,
	rule TEXT NOT NULL,
	request_id TEXT NOT NULL,
	address TEXT NOT NULL,
	agent TEXT NOT NULL,
	account_id TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	target TEXT NOT NULL,
	body TEXT NOT NULL
);

CREATE UNIQUE INDEX cloud_outbox_uuid ON cloud_outbox (uuid);

CREATE TABLE ledger_counted (
	about TEXT NOT NULL,
	what TEXT NOT NULL,
	upto BIGINT NOT NULL,
	PRIMARY KEY (about, what)
);

CREATE TABLE ledger_entry (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	chain TEXT NOT NULL,
	seq BIGINT NOT NULL,
	at BIGINT NOT NULL,
	event TEXT NOT NULL,
	kind TEXT NOT NULL,
	activities TEXT NOT NULL,
	party TEXT NOT NULL,
	outcome TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	personal TEXT NOT NULL,
	previous TEXT NOT NULL,
	hash TEXT NOT NULL,
	for_customer SMALLINT DEFAULT 0 NOT NULL,
	for_provider SMALLINT DEFAULT 0 NOT NULL
);

CREATE UNIQUE INDEX ledger_entry_chain ON ledger_entry (chain, seq);

CREATE INDEX ledger_entry_customer ON ledger_entry (cloud_project_id, id) WHERE for_customer = 1;

CREATE UNIQUE INDEX ledger_entry_event ON ledger_entry (event);

CREATE INDEX ledger_entry_provider ON ledger_entry (id) WHERE for_provider = 1;

CREATE TABLE ledger_evidence (
	chain TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	activity TEXT NOT NULL,
	seq BIGINT NOT NULL,
	PRIMARY KEY (chain, cloud_project_id, activity)
);

CREATE TABLE ledger_head (
	chain TEXT NOT NULL,
	seq BIGINT NOT NULL,
	hash TEXT NOT NULL,
	at BIGINT NOT NULL,
	key_id TEXT NOT NULL,
	signature BLOB NOT NULL,
	PRIMARY KEY (chain, seq)
);

CREATE TABLE ledger_personal (
	event TEXT NOT NULL,
	chain TEXT NOT NULL,
	salt BLOB NOT NULL,
	actor TEXT NOT NULL,
	address TEXT NOT NULL,
	agent TEXT NOT NULL,
	target TEXT NOT NULL,
	rule TEXT NOT NULL,
	request_id TEXT NOT NULL,
	body TEXT NOT NULL,
	PRIMARY KEY (event)
);

CREATE INDEX ledger_personal_chain ON ledger_personal (chain);

CREATE TABLE mail (
	id TEXT NOT NULL,
	event TEXT NOT NULL,
	address TEXT NOT NULL,
	language TEXT NOT NULL,
	subject TEXT NOT NULL,
	text TEXT NOT NULL,
	html TEXT NOT NULL,
	state TEXT NOT NULL,
	tries BIGINT DEFAULT 0 NOT NULL,
	next_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	sent_at BIGINT,
	error TEXT DEFAULT '' NOT NULL,
	PRIMARY KEY (id),
	CHECK (state IN ('waiting', 'sent', 'dead'))
);

CREATE INDEX mail_created ON mail (created_at);

CREATE INDEX mail_due ON mail (next_at) WHERE state = 'waiting';

CREATE UNIQUE INDEX mail_event ON mail (event, address);

CREATE TABLE operator (
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	password TEXT NOT NULL,
	disabled SMALLINT DEFAULT 0 NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (id)
);

CREATE UNIQUE INDEX operator_name ON operator (name);

CREATE TABLE password_guess (
	hash BLOB NOT NULL,
	count BIGINT NOT NULL,
	at BIGINT NOT NULL,
	next_at BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (hash)
);

CREATE INDEX password_guess_at ON password_guess (at);

CREATE TABLE plan_span (
	cloud_registry_id TEXT NOT NULL,
	since BIGINT NOT NULL,
	until BIGINT,
	"plan" TEXT NOT NULL,
	PRIMARY KEY (cloud_registry_id, since)
);

CREATE INDEX plan_span_until ON plan_span (until);

CREATE TABLE provider_key (
	id TEXT NOT NULL,
	number BIGINT NOT NULL,
	public BLOB NOT NULL,
	secret BLOB NOT NULL,
	master TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (id)
);

CREATE UNIQUE INDEX provider_key_number ON provider_key (number);

CREATE TABLE storage_alert (
	cloud_registry_id TEXT NOT NULL,
	level BIGINT NOT NULL,
	at BIGINT NOT NULL,
	trash BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (cloud_registry_id)
);

CREATE TABLE usage_hour (
	cloud_registry_id TEXT NOT NULL,
	hour BIGINT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	region TEXT NOT NULL,
	"plan" TEXT NOT NULL,
	price TEXT,
	currency TEXT,
	measured_at BIGINT,
	logical_bytes BIGINT,
	unique_bytes BIGINT,
	trash_bytes BIGINT,
	manifest_pulls BIGINT DEFAULT 0 NOT NULL,
	blob_pulls BIGINT DEFAULT 0 NOT NULL,
	pushes BIGINT DEFAULT 0 NOT NULL,
	others BIGINT DEFAULT 0 NOT NULL,
	refusals BIGINT DEFAULT 0 NOT NULL,
	bytes_in BIGINT DEFAULT 0 NOT NULL,
	bytes_out BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (cloud_registry_id, hour)
);

CREATE INDEX usage_hour_hour ON usage_hour (hour);

CREATE INDEX usage_hour_project ON usage_hour (cloud_project_id, hour);

CREATE TABLE usage_sweep (
	hour BIGINT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (hour)
);

CREATE TABLE cloud_project (
	id TEXT NOT NULL,
	account_id TEXT NOT NULL,
	description TEXT NOT NULL,
	state TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	deleted_at BIGINT,
	PRIMARY KEY (id),
	CHECK (state IN ('ok', 'suspended', 'deleted')),
	FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE INDEX cloud_project_account ON cloud_project (account_id, created_at);

CREATE TABLE idempotency (
	account_id TEXT NOT NULL,
	"key" TEXT NOT NULL,
	request_hash BLOB NOT NULL,
	status BIGINT NOT NULL,
	body TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (account_id, "key"),
	FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE login (
	id TEXT NOT NULL,
	account_id TEXT NOT NULL,
	name TEXT NOT NULL,
	email TEXT NOT NULL,
	password TEXT NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	disabled SMALLINT DEFAULT 0 NOT NULL,
	admin SMALLINT DEFAULT 0 NOT NULL,
	valid_from BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	deleted_at BIGINT,
	PRIMARY KEY (id),
	FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE UNIQUE INDEX login_name ON login (account_id, name) WHERE deleted_at IS NULL;

CREATE TABLE oauth2_client (
	id TEXT NOT NULL,
	account_id TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT NOT NULL,
	hash BLOB NOT NULL,
	rules TEXT NOT NULL,
	allowed_ips TEXT,
	created_at BIGINT NOT NULL,
	last_used_at BIGINT,
	revoked_at BIGINT,
	PRIMARY KEY (id),
	FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE INDEX oauth2_client_account ON oauth2_client (account_id, created_at);

CREATE TABLE oidc_invitation (
	id TEXT NOT NULL,
	account_id TEXT NOT NULL,
	hash BLOB NOT NULL,
	name TEXT NOT NULL,
	email TEXT NOT NULL,
	description TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE INDEX oidc_invitation_account ON oidc_invitation (account_id, created_at);

CREATE UNIQUE INDEX oidc_invitation_hash ON oidc_invitation (hash);

CREATE TABLE oidc_provider (
	id TEXT NOT NULL,
	account_id TEXT NOT NULL,
	name TEXT NOT NULL,
	issuer TEXT NOT NULL,
	client_id TEXT NOT NULL,
	secret BLOB NOT NULL,
	master TEXT NOT NULL,
	scopes TEXT NOT NULL,
	groups_claim TEXT NOT NULL,
	allowed_groups TEXT NOT NULL,
	roles TEXT NOT NULL,
	disabled SMALLINT DEFAULT 0 NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE UNIQUE INDEX oidc_provider_account ON oidc_provider (account_id);

CREATE TABLE application (
	id TEXT NOT NULL,
	account_id TEXT NOT NULL,
	login_id TEXT NOT NULL,
	"key" TEXT NOT NULL,
	secret BLOB NOT NULL,
	master TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	revoked_at BIGINT,
	PRIMARY KEY (id),
	FOREIGN KEY(account_id) REFERENCES account (id),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE INDEX application_account ON application (account_id, created_at);

CREATE UNIQUE INDEX application_key ON application ("key");

CREATE TABLE browser_session (
	id TEXT NOT NULL,
	login_id TEXT NOT NULL,
	hash BLOB NOT NULL,
	audience TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	proved_at BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	ended_at BIGINT,
	address TEXT NOT NULL,
	agent TEXT NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE UNIQUE INDEX browser_session_hash ON browser_session (hash);

CREATE INDEX browser_session_login ON browser_session (login_id, created_at);

CREATE TABLE cloud_invitation (
	id TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	account_name TEXT NOT NULL,
	name TEXT NOT NULL,
	role TEXT NOT NULL,
	invited_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (id),
	CHECK (role IN ('owner', 'administrator', 'registries', 'reader', 'billing')),
	FOREIGN KEY(cloud_project_id) REFERENCES cloud_project (id)
);

CREATE INDEX cloud_invitation_name ON cloud_invitation (account_name, name);

CREATE UNIQUE INDEX cloud_invitation_whom ON cloud_invitation (cloud_project_id, account_name, name);

CREATE TABLE cloud_member (
	cloud_project_id TEXT NOT NULL,
	login_id TEXT NOT NULL,
	role TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (cloud_project_id, login_id),
	CHECK (role IN ('owner', 'administrator', 'registries', 'reader', 'billing')),
	FOREIGN KEY(cloud_project_id) REFERENCES cloud_project (id),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE INDEX cloud_member_login ON cloud_member (login_id);

CREATE TABLE cloud_registry (
	id TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	region TEXT NOT NULL,
	"plan" TEXT NOT NULL,
	wanted TEXT NOT NULL,
	status TEXT NOT NULL,
	version TEXT NOT NULL,
	iam_enabled SMALLINT DEFAULT 0 NOT NULL,
	entry_uuid TEXT,
	url TEXT DEFAULT '' NOT NULL,
	size BIGINT DEFAULT 0 NOT NULL,
	created_at BIGINT NOT NULL,
	delivered_at BIGINT,
	updated_at BIGINT NOT NULL,
	delete_after BIGINT,
	deleted_at BIGINT,
	error TEXT DEFAULT '' NOT NULL,
	delete_asked_at BIGINT,
	closed_at BIGINT,
	destroyed_at BIGINT,
	suspension TEXT DEFAULT '' NOT NULL,
	suspended_for TEXT DEFAULT '' NOT NULL,
	called TEXT,
	PRIMARY KEY (id),
	CHECK (wanted IN ('READY', 'SUSPENDED', 'DELETED')),
	CHECK (suspension IN ('', 'pulls', 'pushes')),
	CHECK (status IN ('INSTALLING', 'READY', 'UPDATING', 'SCALING_UP', 'SUSPENDING', 'SUSPENDED', 'RESTORING', 'DELETING', 'DELETED', 'ERROR')),
	FOREIGN KEY(cloud_project_id) REFERENCES cloud_project (id)
);

CREATE UNIQUE INDEX cloud_registry_called ON cloud_registry (called);

CREATE INDEX cloud_registry_due ON cloud_registry (delete_after) WHERE destroyed_at IS NULL AND delete_after IS NOT NULL;

CREATE UNIQUE INDEX cloud_registry_entry ON cloud_registry (entry_uuid);

CREATE INDEX cloud_registry_project ON cloud_registry (cloud_project_id, created_at, id);

CREATE TABLE cloud_webhook (
	id TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	url TEXT NOT NULL,
	secret BLOB NOT NULL,
	master TEXT NOT NULL,
	delivered BIGINT NOT NULL,
	tries BIGINT DEFAULT 0 NOT NULL,
	next_at BIGINT NOT NULL,
	stopped SMALLINT DEFAULT 0 NOT NULL,
	error TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	delivered_at BIGINT,
	PRIMARY KEY (id),
	FOREIGN KEY(cloud_project_id) REFERENCES cloud_project (id)
);

CREATE INDEX cloud_webhook_due ON cloud_webhook (stopped, next_at);

CREATE INDEX cloud_webhook_project ON cloud_webhook (cloud_project_id, created_at);

CREATE TABLE known_device (
	hash BLOB NOT NULL,
	login_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL,
	address TEXT NOT NULL,
	agent TEXT NOT NULL,
	told_at BIGINT,
	PRIMARY KEY (hash),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE INDEX known_device_login ON known_device (login_id, last_used_at);

CREATE INDEX known_device_untold ON known_device (created_at) WHERE told_at IS NULL;

CREATE TABLE login_guess (
	login_id TEXT NOT NULL,
	count BIGINT NOT NULL,
	since BIGINT NOT NULL,
	told_at BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (login_id),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE TABLE notification_mail (
	cloud_project_id TEXT NOT NULL,
	login_id TEXT NOT NULL,
	wanted SMALLINT DEFAULT 0 NOT NULL,
	chosen SMALLINT DEFAULT 0 NOT NULL,
	language TEXT DEFAULT '' NOT NULL,
	told BIGINT NOT NULL,
	next_at BIGINT NOT NULL,
	PRIMARY KEY (cloud_project_id, login_id),
	FOREIGN KEY(cloud_project_id) REFERENCES cloud_project (id),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE INDEX notification_mail_due ON notification_mail (next_at) WHERE wanted = 1;

CREATE INDEX notification_mail_login ON notification_mail (login_id);

CREATE TABLE oauth2_token (
	hash BLOB NOT NULL,
	client_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (hash),
	FOREIGN KEY(client_id) REFERENCES oauth2_client (id)
);

CREATE INDEX oauth2_token_client ON oauth2_token (client_id, created_at);

CREATE TABLE oidc_flow (
	state BLOB NOT NULL,
	provider_id TEXT NOT NULL,
	redirect TEXT NOT NULL,
	next TEXT NOT NULL,
	address TEXT NOT NULL,
	again SMALLINT DEFAULT 0 NOT NULL,
	login_id TEXT,
	session_id TEXT DEFAULT '' NOT NULL,
	invitation_id TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	proved_at BIGINT,
	PRIMARY KEY (state),
	FOREIGN KEY(provider_id) REFERENCES oidc_provider (id),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE INDEX oidc_flow_address ON oidc_flow (address, created_at);

CREATE INDEX oidc_flow_created ON oidc_flow (created_at);

CREATE INDEX oidc_flow_provider ON oidc_flow (provider_id);

CREATE TABLE oidc_identity (
	account_id TEXT NOT NULL,
	issuer TEXT NOT NULL,
	subject TEXT NOT NULL,
	login_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	last_used_at BIGINT,
	PRIMARY KEY (account_id, issuer, subject),
	FOREIGN KEY(account_id) REFERENCES account (id),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE UNIQUE INDEX oidc_identity_login ON oidc_identity (login_id, issuer);

CREATE TABLE oidc_role (
	login_id TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	role TEXT NOT NULL,
	PRIMARY KEY (login_id, cloud_project_id),
	FOREIGN KEY(login_id) REFERENCES login (id),
	FOREIGN KEY(cloud_project_id) REFERENCES cloud_project (id)
);

CREATE INDEX oidc_role_project ON oidc_role (cloud_project_id);

CREATE TABLE policy (
	id TEXT NOT NULL,
	cloud_project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT NOT NULL,
	resources TEXT NOT NULL,
	allow TEXT NOT NULL,
	excepted TEXT NOT NULL,
	denied TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	expires_at BIGINT,
	PRIMARY KEY (id),
	FOREIGN KEY(cloud_project_id) REFERENCES cloud_project (id)
);

CREATE INDEX policy_project ON policy (cloud_project_id, created_at);

CREATE TABLE recovery_code (
	login_id TEXT NOT NULL,
	hash BLOB NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (login_id, hash),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE TABLE second_factor (
	id TEXT NOT NULL,
	login_id TEXT NOT NULL,
	kind TEXT DEFAULT 'totp' NOT NULL,
	name TEXT DEFAULT '' NOT NULL,
	key_id TEXT DEFAULT '' NOT NULL,
	secret BLOB NOT NULL,
	master TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	confirmed_at BIGINT,
	step BIGINT DEFAULT 0 NOT NULL,
	failures BIGINT DEFAULT 0 NOT NULL,
	failed_at BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (id),
	CHECK (kind IN ('totp', 'passkey')),
	CHECK ((kind = 'totp') = (key_id = '')),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE UNIQUE INDEX second_factor_login ON second_factor (login_id, kind, key_id);

CREATE TABLE certificate (
	cloud_registry_id TEXT NOT NULL,
	key_id TEXT NOT NULL,
	body TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (cloud_registry_id),
	FOREIGN KEY(cloud_registry_id) REFERENCES cloud_registry (id),
	FOREIGN KEY(key_id) REFERENCES provider_key (id)
);

CREATE INDEX certificate_key_id ON certificate (key_id);

CREATE TABLE cloud_restrictions (
	cloud_registry_id TEXT NOT NULL,
	registry TEXT NOT NULL,
	management TEXT NOT NULL,
	changed_at BIGINT NOT NULL,
	PRIMARY KEY (cloud_registry_id),
	FOREIGN KEY(cloud_registry_id) REFERENCES cloud_registry (id)
);

CREATE TABLE credential (
	id TEXT NOT NULL,
	application_id TEXT NOT NULL,
	login_id TEXT,
	hash BLOB NOT NULL,
	state TEXT NOT NULL,
	rules TEXT NOT NULL,
	allowed_ips TEXT,
	redirection TEXT,
	created_at BIGINT NOT NULL,
	validated_at BIGINT,
	last_used_at BIGINT,
	expires_at BIGINT,
	revoked_at BIGINT,
	PRIMARY KEY (id),
	CHECK (state IN ('pendingValidation', 'validated', 'refused', 'expired', 'revoked')),
	FOREIGN KEY(application_id) REFERENCES application (id),
	FOREIGN KEY(login_id) REFERENCES login (id)
);

CREATE INDEX credential_application ON credential (application_id, created_at);

CREATE UNIQUE INDEX credential_hash ON credential (hash);

CREATE INDEX credential_login ON credential (login_id, created_at);

CREATE TABLE destruction (
	cloud_registry_id TEXT NOT NULL,
	found TEXT NOT NULL,
	salt TEXT NOT NULL,
	secret BLOB NOT NULL,
	begun_at BIGINT NOT NULL,
	ended_at BIGINT,
	looked_at BIGINT,
	PRIMARY KEY (cloud_registry_id),
	FOREIGN KEY(cloud_registry_id) REFERENCES cloud_registry (id)
);

CREATE INDEX destruction_look ON destruction (ended_at) WHERE looked_at IS NULL;

CREATE TABLE operator_grant (
	id TEXT NOT NULL,
	operator_id TEXT NOT NULL,
	cloud_registry_id TEXT NOT NULL,
	reason TEXT NOT NULL,
	scope TEXT NOT NULL,
	approver TEXT NOT NULL,
	state TEXT NOT NULL,
	asked_at BIGINT NOT NULL,
	until BIGINT NOT NULL,
	decided_at BIGINT,
	decided_by TEXT DEFAULT '' NOT NULL,
	ended_at BIGINT,
	ended_by TEXT DEFAULT '' NOT NULL,
	robot BIGINT,
	PRIMARY KEY (id),
	CHECK (approver IN ('customer', 'operator')),
	CHECK (state IN ('ASKED', 'APPROVED', 'REFUSED', 'ENDED')),
	FOREIGN KEY(operator_id) REFERENCES operator (id),
	FOREIGN KEY(cloud_registry_id) REFERENCES cloud_registry (id)
);

CREATE INDEX operator_grant_operator ON operator_grant (operator_id);

CREATE INDEX operator_grant_registry ON operator_grant (cloud_registry_id, asked_at);

CREATE INDEX operator_grant_until ON operator_grant (state, until);

CREATE TABLE policy_identity (
	policy_id TEXT NOT NULL,
	identity TEXT NOT NULL,
	PRIMARY KEY (policy_id, identity),
	FOREIGN KEY(policy_id) REFERENCES policy (id)
);

CREATE INDEX policy_identity_of ON policy_identity (identity, policy_id);

CREATE TABLE signature_seen (
	credential_id TEXT NOT NULL,
	hash BLOB NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (credential_id, hash),
	FOREIGN KEY(credential_id) REFERENCES credential (id)
);

CREATE INDEX signature_seen_at ON signature_seen (at);
