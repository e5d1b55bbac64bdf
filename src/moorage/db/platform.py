"""The platform's tables: who pays, who signs in, what was ordered, and all that was decided about it.

They are the control plane's alone. Pulls and pushes need nothing of them: a registry's place stands in its cell's
directory (`db.cell`), its users and rows in its own tables (`db.tables`). On SQLite they have a file of their own; on
PostgreSQL they stand beside the cell's, or in another database.

Ids are UUIDs, but a cloud project's, which is 32 hexadecimal digits. Times are microseconds since 1970 UTC.
"""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Identity, Index, MetaData, Table, text
from sqlalchemy.schema import SchemaItem

from moorage.db.cell import TRAFFIC
from moorage.db.tables import ASCII, BIG, BYTES, NUMBER, SMALL

metadata = MetaData()


def _text(name: str, *, null: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, ASCII, nullable=null, server_default=default)


def _big(name: str, *, null: bool = False, default: int | None = None) -> Column[int]:
    return Column(name, BIG, nullable=null, server_default=None if default is None else text(str(default)))


def _flag(name: str) -> Column[int]:
    return Column(name, SMALL, nullable=False, server_default=text("0"))


def _bytes(name: str) -> Column[bytes]:
    return Column(name, BYTES, nullable=False)


def _id() -> Column[str]:
    return Column("id", ASCII, primary_key=True)


def _to(name: str, target: Column[str], *, null: bool = False, key: bool = False) -> Column[str]:
    """Declare a column that names a row of *target*'s table."""
    return Column(name, ASCII, ForeignKey(target), nullable=null, primary_key=key)


def _one_of(column: str, *words: str) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})")


def _table(name: str, kind: str, *parts: SchemaItem) -> Table:
    made: Table = Table(name, metadata, *parts, info={"kind": kind})
    return made


# --- who: accounts, users who sign in, and where an account keeps its services ---------------------------------

account = _table(
    "account", "access",
    _id(), _text("name"), _text("currency"), _text("state"),
    _big("created_at"), _big("deleted_at", null=True),
    _one_of("state", "ACTIVE", "CLOSED"),
)
Index("account_name", account.c.name, unique=True)

# ``password`` is an argon2id hash that names its scheme. Sessions and credentials from before ``valid_from`` open nothing.
# Who is ``admin`` administers the account: its users, and its clients of OAuth2. Who is deleted is disabled for good, and
# leaves the name to others.
login = _table(
    "login", "access",
    _id(), _to("account_id", account.c.id), _text("name"), _text("email"), _text("password"),
    _text("description", default=""), _flag("disabled"), _flag("admin"), _big("valid_from"), _big("created_at"),
    _big("deleted_at", null=True),
)
Index(
    "login_name", login.c.account_id, login.c.name, unique=True,
    sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL"),
)

cloud_project = _table(
    "cloud_project", "access",
    _id(), _to("account_id", account.c.id), _text("description"), _text("state"),
    _big("created_at"), _big("deleted_at", null=True),
    _one_of("state", "ok", "suspended", "deleted"),
)
Index("cloud_project_account", cloud_project.c.account_id, cloud_project.c.created_at)

cloud_member = _table(
    "cloud_member", "access",
    _to("cloud_project_id", cloud_project.c.id, key=True), _to("login_id", login.c.id, key=True),
    _text("role"), _big("created_at"),
    _one_of("role", "owner", "administrator", "registries", "reader", "billing"),
)
Index("cloud_member_login", cloud_member.c.login_id)

# Whoever is asked to become a member, by account and name: it stands here whether or not there is such a user, so that
# asking tells nobody who there is.
cloud_invitation = _table(
    "cloud_invitation", "access",
    _id(), _to("cloud_project_id", cloud_project.c.id), _text("account_name"), _text("name"), _text("role"),
    _text("invited_by"), _big("created_at"), _big("expires_at"),
    _one_of("role", "owner", "administrator", "registries", "reader", "billing"),
)
Index(
    "cloud_invitation_whom", cloud_invitation.c.cloud_project_id, cloud_invitation.c.account_name,
    cloud_invitation.c.name, unique=True,
)
Index("cloud_invitation_name", cloud_invitation.c.account_name, cloud_invitation.c.name)

# --- access: applications, their credentials, and the signatures that were seen --------------------------------

# A request's signature is computed with the secret, so it is kept wrapped, by the master key that ``master`` names.
application = _table(
    "application", "access",
    _id(), _to("account_id", account.c.id), _to("login_id", login.c.id),
    _text("key"), _bytes("secret"), _text("master"), _text("name"), _text("description"),
    _big("created_at"), _big("revoked_at", null=True),
)
Index("application_key", application.c.key, unique=True)
Index("application_account", application.c.account_id, application.c.created_at)

# ``hash`` is the consumer key's SHA-256: the key is random, so nothing slower is needed. ``rules`` is JSON,
# [{"method", "path"}]; ``allowed_ips`` is JSON, [CIDR], or null for any. No ``login_id``: nobody has validated it yet.
credential = _table(
    "credential", "access",
    _id(), _to("application_id", application.c.id), _to("login_id", login.c.id, null=True),
    _bytes("hash"), _text("state"), _text("rules"), _text("allowed_ips", null=True), _text("redirection", null=True),
    _big("created_at"), _big("validated_at", null=True), _big("last_used_at", null=True),
    _big("expires_at", null=True), _big("revoked_at", null=True),
    _one_of("state", "pendingValidation", "validated", "refused", "expired", "revoked"),
)
Index("credential_hash", credential.c.hash, unique=True)
Index("credential_application", credential.c.application_id, credential.c.created_at)
Index("credential_login", credential.c.login_id, credential.c.created_at)

# A signature is good once; older ones than the allowed difference of clocks are refused anyway, and dropped here.
signature_seen = _table(
    "signature_seen", "access",
    _to("credential_id", credential.c.id, key=True), Column("hash", BYTES, primary_key=True), _big("at"),
)
Index("signature_seen_at", signature_seen.c.at)

# --- access: clients of OAuth2, and policies that say which identity may do what on which resource ---------------

# ``id`` is the client's id on the wire, ``hash`` its secret's SHA-256: it is random, so nothing slower is needed.
# A client is an identity of the account, and stays when the user who made it goes.
oauth2_client = _table(
    "oauth2_client", "access",
    _id(), _to("account_id", account.c.id), _text("name"), _text("description"), _bytes("hash"),
    _text("rules"), _text("allowed_ips", null=True),
    _big("created_at"), _big("last_used_at", null=True), _big("revoked_at", null=True),
)
Index("oauth2_client_account", oauth2_client.c.account_id, oauth2_client.c.created_at)

oauth2_token = _table(
    "oauth2_token", "access",
    Column("hash", BYTES, primary_key=True), _to("client_id", oauth2_client.c.id), _big("created_at"), _big("expires_at"),
)
Index("oauth2_token_client", oauth2_token.c.client_id, oauth2_token.c.created_at)

# ``allow``, ``excepted`` and ``denied`` are JSON lists of actions, in which ``*`` is any text; ``resources`` is one of URNs.
policy = _table(
    "policy", "access",
    _id(), _to("cloud_project_id", cloud_project.c.id), _text("name"), _text("description"),
    _text("resources"), _text("allow"), _text("excepted"), _text("denied"),
    _big("created_at"), _big("updated_at"), _big("expires_at", null=True),
)
Index("policy_project", policy.c.cloud_project_id, policy.c.created_at)

policy_identity = _table(
    "policy_identity", "access",
    _to("policy_id", policy.c.id, key=True), Column("identity", ASCII, primary_key=True),
)
Index("policy_identity_of", policy_identity.c.identity, policy_identity.c.policy_id)

# --- access: browsers' sessions, and what a user shows beside the password ---------------------------------------

# ``hash`` is the cookie's SHA-256, ``audience`` the part of Moorage and the address that the session was begun at: it is
# good nowhere else. ``proved_at`` is when all factors were shown last; what is dangerous wants that lately.
browser_session = _table(
    "browser_session", "access",
    _id(), _to("login_id", login.c.id), _bytes("hash"), _text("audience"),
    _big("created_at"), _big("proved_at"), _big("last_used_at"), _big("expires_at"), _big("ended_at", null=True),
    _text("address"), _text("agent"),
)
Index("browser_session_hash", browser_session.c.hash, unique=True)
Index("browser_session_login", browser_session.c.login_id, browser_session.c.created_at)

# Of ``totp`` a user has one: a key of RFC 6238, wrapped by the key that ``master`` names; ``step`` is the last interval whose code
# was taken. It is asked for from ``confirmed_at`` on. A ``passkey`` has a name, the id that the browser gave, a public key as
# its secret, and counts its uses in ``step``: nothing makes one yet.
second_factor = _table(
    "second_factor", "access",
    _id(), _to("login_id", login.c.id), _text("kind", default="totp"), _text("name", default=""),
    _text("key_id", default=""), _bytes("secret"), _text("master"),
    _big("created_at"), _big("confirmed_at", null=True), _big("step", default=0),
    _big("failures", default=0), _big("failed_at", default=0),
    _one_of("kind", "totp", "passkey"), CheckConstraint("(kind = 'totp') = (key_id = '')"),
)
Index("second_factor_login", *(second_factor.c[one] for one in ("login_id", "kind", "key_id")), unique=True)

recovery_code = _table(
    "recovery_code", "access",
    _to("login_id", login.c.id, key=True), Column("hash", BYTES, primary_key=True), _big("created_at"),
)

# Browsers that a user has signed in at, by the SHA-256 of a cookie of their own: a right password from one waits for nobody.
# ``told_at`` is null until the user is told of a new one.
known_device = _table(
    "known_device", "access",
    Column("hash", BYTES, primary_key=True), _to("login_id", login.c.id), _big("created_at"), _big("last_used_at"),
    _text("address"), _text("agent"), _big("told_at", null=True),
)
Index("known_device_login", known_device.c.login_id, known_device.c.last_used_at)
Index(
    "known_device_untold", known_device.c.created_at,
    sqlite_where=text("told_at IS NULL"), postgresql_where=text("told_at IS NULL"),
)

# How many wrong passwords came for a user since a moment, and when the user was told of it last.
login_guess = _table(
    "login_guess", "access",
    _to("login_id", login.c.id, key=True), _big("count"), _big("since"), _big("told_at", default=0),
)

# Wrong passwords of late by what they came from, and by whom they were for, whether there is such a user or not: ``hash`` names
# that. ``next_at`` is when the next password of a user who is guessed at is checked.
password_guess = _table(
    "password_guess", "record",
    Column("hash", BYTES, primary_key=True), _big("count"), _big("at"), _big("next_at", default=0),
)
Index("password_guess_at", password_guess.c.at)

# --- access: an account's own OpenID provider, and whom it has vouched for -------------------------------------

# ``id`` stands in the redirect address, and is another one when ``issuer`` changes. ``secret`` is kept wrapped, by the master
# key that ``master`` names. ``scopes`` and ``allowed_groups``, whose people become users, are JSON lists; ``roles`` is JSON,
# [{"group", "cloud_project", "role"}].
oidc_provider = _table(
    "oidc_provider", "access",
    _id(), _to("account_id", account.c.id), _text("name"), _text("issuer"), _text("client_id"), _bytes("secret"), _text("master"),
    _text("scopes"), _text("groups_claim"), _text("allowed_groups"), _text("roles"), _flag("disabled"),
    _big("created_at"), _big("updated_at"),
)
Index("oidc_provider_account", oidc_provider.c.account_id, unique=True)

# Who it is elsewhere: the issuer's name and what it calls the person, for one account. No mail address and no name counts.
oidc_identity = _table(
    "oidc_identity", "access",
    _to("account_id", account.c.id, key=True), Column("issuer", ASCII, primary_key=True),
    Column("subject", ASCII, primary_key=True),
    _to("login_id", login.c.id), _big("created_at"), _big("last_used_at", null=True),
)
Index("oidc_identity_login", oidc_identity.c.login_id, oidc_identity.c.issuer, unique=True)

# A sign-in under way, by the hash of what comes back with the answer and of what the browser alone knows. Nonce and verifier
# are made of these too, and stand nowhere. ``session_id`` says that its user links, ``invitation_id`` who was invited, ``again``
# that the provider has to ask anew; ``proved_at`` is set where a code is still to come of ``login_id``.
oidc_flow = _table(
    "oidc_flow", "access",
    Column("state", BYTES, primary_key=True), _to("provider_id", oidc_provider.c.id), _text("redirect"),
    _text("next"), _text("address"), _flag("again"), _to("login_id", login.c.id, null=True), _text("session_id", default=""),
    _text("invitation_id", default=""), _big("created_at"), _big("proved_at", null=True),
)
Index("oidc_flow_created", oidc_flow.c.created_at)
Index("oidc_flow_address", oidc_flow.c.address, oidc_flow.c.created_at)
Index("oidc_flow_provider", oidc_flow.c.provider_id)

# Whom an account's administrator has invited to become a user by the provider's word; the token is kept as its hash.
oidc_invitation = _table(
    "oidc_invitation", "access",
    _id(), _to("account_id", account.c.id), _bytes("hash"), _text("name"), _text("email"), _text("description"),
    _big("created_at"), _big("expires_at"),
)
Index("oidc_invitation_hash", oidc_invitation.c.hash, unique=True)
Index("oidc_invitation_account", oidc_invitation.c.account_id, oidc_invitation.c.created_at)

# Roles that follow from groups: taken away when the group is gone, unless somebody has given another meanwhile.
oidc_role = _table(
    "oidc_role", "access",
    _to("login_id", login.c.id, key=True), _to("cloud_project_id", cloud_project.c.id, key=True), _text("role"),
)
Index("oidc_role_project", oidc_role.c.cloud_project_id)

# --- what was ordered ------------------------------------------------------------------------------------------

# ``wanted`` is what should be and ``status`` what is: reconciling leads the one to the other. ``plan`` is a plan of the
# catalogue, ``version`` that of the registry's software. ``entry_uuid`` names its place in the cell's directory, null until it has
# one; ``called`` is its name there if whoever runs the house gave one. Deleted, it serves nobody since ``closed_at`` and can be
# taken back until ``delete_after``; ``deleted_at`` says that it no longer can, and ``destroyed_at`` that nothing of it is left.
# ``suspension`` is what the provider has stopped and ``suspended_for`` why; it outlasts a deletion that is taken back.
cloud_registry = _table(
    "cloud_registry", "access",
    _id(), _to("cloud_project_id", cloud_project.c.id), _text("name"), _text("region"), _text("plan"),
    _text("wanted"), _text("status"), _text("version"), _flag("iam_enabled"),
    _text("entry_uuid", null=True), _text("url", default=""), _big("size", default=0),
    _big("created_at"), _big("delivered_at", null=True), _big("updated_at"),
    _big("delete_after", null=True), _big("deleted_at", null=True), _text("error", default=""),
    _big("delete_asked_at", null=True), _big("closed_at", null=True), _big("destroyed_at", null=True),
    _text("suspension", default=""), _text("suspended_for", default=""), _text("called", null=True),
    _one_of("wanted", "READY", "SUSPENDED", "DELETED"), _one_of("suspension", "", "pulls", "pushes"),
    _one_of(
        "status", "INSTALLING", "READY", "UPDATING", "SCALING_UP", "SUSPENDING", "SUSPENDED", "RESTORING", "DELETING",
        "DELETED", "ERROR",
    ),
)
Index("cloud_registry_project", cloud_registry.c.cloud_project_id, cloud_registry.c.created_at, cloud_registry.c.id)
Index("cloud_registry_entry", cloud_registry.c.entry_uuid, unique=True)
Index("cloud_registry_called", cloud_registry.c.called, unique=True)
Index(
    "cloud_registry_due", cloud_registry.c.delete_after,
    sqlite_where=text("destroyed_at IS NULL AND delete_after IS NOT NULL"),
    postgresql_where=text("destroyed_at IS NULL AND delete_after IS NOT NULL"),
)

# From which addresses a registry may be used, as its owner has it: each list is JSON, [{"block", "description",
# "created_at", "updated_at"}]. The cell's directory has what is in force, which follows; ``changed_at`` rises with each change.
cloud_restrictions = _table(
    "cloud_restrictions", "access",
    _to("cloud_registry_id", cloud_registry.c.id, key=True),
    _text("registry"), _text("management"), _big("changed_at"),
)

# What an order with this key was answered, so that the same order is not made twice.
idempotency = _table(
    "idempotency", "record",
    _to("account_id", account.c.id, key=True), Column("key", ASCII, primary_key=True),
    _bytes("request_hash"), _big("status"), _text("body"), _big("created_at"),
)
Index("idempotency_created", idempotency.c.created_at)

# --- who works for the provider --------------------------------------------------------------------------------

# Operators are no logins: nothing of an account or of a registry is opened by one. ``password`` is an argon2id hash.
operator = _table(
    "operator", "access",
    _id(), _text("name"), _text("password"), _flag("disabled"), _big("created_at"),
)
Index("operator_name", operator.c.name, unique=True)

# ``approver`` is the party that decides, as the plan said when it was asked for. ``robot`` is the number, in the registry, of the
# robot that it has opened, null once that is gone. ``scope`` is a project of the registry, or * for all.
operator_grant = _table(
    "operator_grant", "record",
    _id(), _to("operator_id", operator.c.id), _to("cloud_registry_id", cloud_registry.c.id),
    _text("reason"), _text("scope"), _text("approver"), _text("state"), _big("asked_at"), _big("until"),
    _big("decided_at", null=True), _text("decided_by", default=""),
    _big("ended_at", null=True), _text("ended_by", default=""), _big("robot", null=True),
    _one_of("approver", "customer", "operator"), _one_of("state", "ASKED", "APPROVED", "REFUSED", "ENDED"),
)
Index("operator_grant_registry", operator_grant.c.cloud_registry_id, operator_grant.c.asked_at)
Index("operator_grant_operator", operator_grant.c.operator_id)
Index("operator_grant_until", operator_grant.c.state, operator_grant.c.until)

# --- what the provider signs with --------------------------------------------------------------------------------

# ``public`` is an Ed25519 key's public half and ``id`` its SHA-256's first half; the private half is wrapped by the master
# key that ``master`` names. The highest number signs; none is ever dropped, so that whatever was signed can be checked.
provider_key = _table(
    "provider_key", "access",
    _id(), _big("number"), _bytes("public"), _bytes("secret"), _text("master"), _big("created_at"),
)
Index("provider_key_number", provider_key.c.number, unique=True)

# --- what was destroyed ----------------------------------------------------------------------------------------

# ``found`` is JSON: what there was when it began, which nobody can count any more. ``secret`` makes pseudonyms while it
# goes on, and is empty when it has ended; ``looked_at`` says that nothing came after.
destruction = _table(
    "destruction", "record",
    _to("cloud_registry_id", cloud_registry.c.id, key=True), _text("found"), _text("salt"), _bytes("secret"),
    _big("begun_at"), _big("ended_at", null=True), _big("looked_at", null=True),
)
Index(
    "destruction_look", destruction.c.ended_at,
    sqlite_where=text("looked_at IS NULL"), postgresql_where=text("looked_at IS NULL"),
)

certificate = _table(
    "certificate", "record",
    _to("cloud_registry_id", cloud_registry.c.id, key=True), _to("key_id", provider_key.c.id), _text("body"), _big("created_at"),
)
Index("certificate_key_id", certificate.c.key_id)

# --- what happened ---------------------------------------------------------------------------------------------

def _happened(name: str) -> Table:
    """Declare a table of events. What they are about may be gone by now, so they name it and refer to no row."""
    made: Table = Table(
        name, metadata,
        Column("id", NUMBER, Identity(always=False), primary_key=True),
        _text("uuid"), _text("kind"), _big("at"), _text("actor"), _text("party"), _text("outcome"), _text("rule"),
        _text("request_id"), _text("address"), _text("agent"), _text("account_id"), _text("cloud_project_id"),
        _text("target"), _text("body"),
        sqlite_autoincrement=True,
        info={"kind": "record"},
    )
    Index(f"{name}_uuid", made.c.uuid, unique=True)
    return made


cloud_outbox = _happened("cloud_outbox")
cloud_event = _happened("cloud_event")
Index("cloud_event_at", cloud_event.c.at)
Index("cloud_event_account", cloud_event.c.account_id, cloud_event.c.at)
Index("cloud_event_target", cloud_event.c.target, cloud_event.c.at)

# --- what was used ---------------------------------------------------------------------------------------------

# Since when, and until when, a registry has had a plan. What is billed follows from it, and so does which hours are.
plan_span = _table(
    "plan_span", "record",
    Column("cloud_registry_id", ASCII, primary_key=True), Column("since", BIG, primary_key=True, autoincrement=False),
    _big("until", null=True), _text("plan"),
)
Index("plan_span_until", plan_span.c.until)

# An hour of a registry: the plan that it is billed by, what that cost then, and what was used. Bytes are null where
# nobody measured them (``measured_at``). It outlives the registry's row, and names it without referring to it.
usage_hour = _table(
    "usage_hour", "record",
    Column("cloud_registry_id", ASCII, primary_key=True), Column("hour", BIG, primary_key=True, autoincrement=False),
    _text("cloud_project_id"), _text("region"), _text("plan"), _text("price", null=True), _text("currency", null=True),
    _big("measured_at", null=True), _big("logical_bytes", null=True), _big("unique_bytes", null=True),
    _big("trash_bytes", null=True),
    *(_big(name, default=0) for name in TRAFFIC),
)
Index("usage_hour_project", usage_hour.c.cloud_project_id, usage_hour.c.hour)
Index("usage_hour_hour", usage_hour.c.hour)

# The hours of which every registry's usage is written.
usage_sweep = _table(
    "usage_sweep", "record",
    Column("hour", BIG, primary_key=True, autoincrement=False), _big("at"),
)

# --- the responsibility ledger ---------------------------------------------------------------------------------

# One chain per registry, by its id, and one of the provider's. What is hashed is `cloud.chains.Entry`; ``activities`` are ids,
# apart by spaces. ``for_customer`` and ``for_provider`` say who is told of it. Rows are added, and never changed or dropped.
ledger_entry = Table(
    "ledger_entry", metadata,
    Column("id", NUMBER, Identity(always=False), primary_key=True),
    _text("chain"), _big("seq"), _big("at"), _text("event"), _text("kind"), _text("activities"), _text("party"),
    _text("outcome"), _text("cloud_project_id"), _text("personal"), _text("previous"), _text("hash"),
    _flag("for_customer"), _flag("for_provider"),
    sqlite_autoincrement=True,
    info={"kind": "record"},
)
# Two who append to one chain at once cannot fork it, and an event that comes twice is there once.
Index("ledger_entry_chain", ledger_entry.c.chain, ledger_entry.c.seq, unique=True)
Index("ledger_entry_event", ledger_entry.c.event, unique=True)
Index(
    "ledger_entry_customer", ledger_entry.c.cloud_project_id, ledger_entry.c.id,
    sqlite_where=text("for_customer = 1"), postgresql_where=text("for_customer = 1"),
)
Index(
    "ledger_entry_provider", ledger_entry.c.id,
    sqlite_where=text("for_provider = 1"), postgresql_where=text("for_provider = 1"),
)

# Which entry is an activity's last evidence, in a chain.
ledger_evidence = _table(
    "ledger_evidence", "record",
    Column("chain", ASCII, primary_key=True), Column("cloud_project_id", ASCII, primary_key=True),
    Column("activity", ASCII, primary_key=True), _big("seq"),
)

# What an entry's ``personal`` commits to. Rows are erased: the chain stays whole, and says no more who it was.
ledger_personal = _table(
    "ledger_personal", "record",
    Column("event", ASCII, primary_key=True), _text("chain"), _bytes("salt"), _text("actor"), _text("address"), _text("agent"),
    _text("target"), _text("rule"), _text("request_id"), _text("body"),
)
Index("ledger_personal_chain", ledger_personal.c.chain)

# What a chain's last entry was on a day, signed; sent to whom the chain is about.
ledger_head = _table(
    "ledger_head", "record",
    Column("chain", ASCII, primary_key=True), Column("seq", BIG, primary_key=True, autoincrement=False),
    _text("hash"), _big("at"), _text("key_id"), _bytes("signature"),
)

# How far something was counted for the ledger: a registry's own record to an event's number or a time; a release once.
ledger_counted = _table(
    "ledger_counted", "record",
    Column("about", ASCII, primary_key=True), Column("what", ASCII, primary_key=True), _big("upto"),
)

# --- whom is told ----------------------------------------------------------------------------------------------

# A mail to one address, until it is taken: an event is told to an address once.
mail = _table(
    "mail", "record",
    _id(), _text("event"), _text("address"), _text("language"), _text("subject"), _text("text"), _text("html"),
    _text("state"), _big("tries", default=0), _big("next_at"), _big("created_at"), _big("sent_at", null=True),
    _text("error", default=""),
    _one_of("state", "waiting", "sent", "dead"),
)
Index("mail_event", mail.c.event, mail.c.address, unique=True)
Index("mail_created", mail.c.created_at)
Index(
    "mail_due", mail.c.next_at,
    sqlite_where=text("state = 'waiting'"), postgresql_where=text("state = 'waiting'"),
)

# The level of its storage that was told of a registry last, and not fallen well below since; ``trash`` is that of its trash.
storage_alert = _table(
    "storage_alert", "record",
    Column("cloud_registry_id", ASCII, primary_key=True), _big("level"), _big("at"), _big("trash", default=0),
)

# Where a cloud project's notifications are sent: ``delivered`` is the number of the last that arrived. The secret that signs
# them is kept wrapped, by the master key that ``master`` names.
cloud_webhook = _table(
    "cloud_webhook", "access",
    _id(), _to("cloud_project_id", cloud_project.c.id), _text("url"), _bytes("secret"), _text("master"),
    _big("delivered"), _big("tries", default=0), _big("next_at"), _flag("stopped"), _text("error", default=""),
    _big("created_at"), _big("delivered_at", null=True),
)
Index("cloud_webhook_project", cloud_webhook.c.cloud_project_id, cloud_webhook.c.created_at)
Index("cloud_webhook_due", cloud_webhook.c.stopped, cloud_webhook.c.next_at)
