"""The platform's tables: who pays, who signs in, what was ordered, and all that was decided about it.

They are the control plane's alone. Pulls and pushes need nothing of them: a registry's place stands in its cell's
directory (`db.cell`), its users and rows in its own tables (`db.tables`). On SQLite they have a file of their own; on
PostgreSQL they stand beside the cell's, or in another database. What sign-in keeps is in `db.platform_sign_in`.

Ids are UUIDs, but a cloud project's, which is 32 hexadecimal digits. Times are microseconds since 1970 UTC.
"""

from sqlalchemy import Column, Identity, Index, Table, text

from moorage.db.cell import TRAFFIC
from moorage.db.declaring import big, flag, id_, metadata, octets, one_of, string, table, to
from moorage.db.tables import ASCII, BIG, BYTES, NUMBER

# --- who: accounts, users who sign in, and where an account keeps its services ---------------------------------

account = table(
    "account", "access",
    id_(), string("name"), string("currency"), string("state"),
    big("created_at"), big("deleted_at", null=True),
    one_of("state", "ACTIVE", "CLOSED"),
)
Index("account_name", account.c.name, unique=True)

# ``password`` is an argon2id hash that names its scheme. Sessions and credentials from before ``valid_from`` open nothing.
# Who is ``admin`` administers the account: its users, and its clients of OAuth2. Who is deleted is disabled for good, and
# leaves the name to others.
login = table(
    "login", "access",
    id_(), to("account_id", account.c.id), string("name"), string("email"), string("password"),
    string("description", default=""), flag("disabled"), flag("admin"), big("valid_from"), big("created_at"),
    big("deleted_at", null=True),
)
Index(
    "login_name", login.c.account_id, login.c.name, unique=True,
    sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL"),
)

cloud_project = table(
    "cloud_project", "access",
    id_(), to("account_id", account.c.id), string("description"), string("state"),
    big("created_at"), big("deleted_at", null=True),
    one_of("state", "ok", "suspended", "deleted"),
)
Index("cloud_project_account", cloud_project.c.account_id, cloud_project.c.created_at)

cloud_member = table(
    "cloud_member", "access",
    to("cloud_project_id", cloud_project.c.id, key=True), to("login_id", login.c.id, key=True),
    string("role"), big("created_at"),
    one_of("role", "owner", "administrator", "registries", "reader", "billing"),
)
Index("cloud_member_login", cloud_member.c.login_id)

# Whoever is asked to become a member, by account and name: it stands here whether or not there is such a user, so that
# asking tells nobody who there is.
cloud_invitation = table(
    "cloud_invitation", "access",
    id_(), to("cloud_project_id", cloud_project.c.id), string("account_name"), string("name"), string("role"),
    string("invited_by"), big("created_at"), big("expires_at"),
    one_of("role", "owner", "administrator", "registries", "reader", "billing"),
)
Index(
    "cloud_invitation_whom", cloud_invitation.c.cloud_project_id, cloud_invitation.c.account_name,
    cloud_invitation.c.name, unique=True,
)
Index("cloud_invitation_name", cloud_invitation.c.account_name, cloud_invitation.c.name)

# --- access: applications, their credentials, and the signatures that were seen --------------------------------

# A request's signature is computed with the secret, so it is kept wrapped, by the master key that ``master`` names.
application = table(
    "application", "access",
    id_(), to("account_id", account.c.id), to("login_id", login.c.id),
    string("key"), octets("secret"), string("master"), string("name"), string("description"),
    big("created_at"), big("revoked_at", null=True),
)
Index("application_key", application.c.key, unique=True)
Index("application_account", application.c.account_id, application.c.created_at)

# ``hash`` is the consumer key's SHA-256: the key is random, so nothing slower is needed. ``rules`` is JSON,
# [{"method", "path"}]; ``allowed_ips`` is JSON, [CIDR], or null for any. No ``login_id``: nobody has validated it yet.
credential = table(
    "credential", "access",
    id_(), to("application_id", application.c.id), to("login_id", login.c.id, null=True),
    octets("hash"), string("state"), string("rules"), string("allowed_ips", null=True), string("redirection", null=True),
    big("created_at"), big("validated_at", null=True), big("last_used_at", null=True),
    big("expires_at", null=True), big("revoked_at", null=True),
    one_of("state", "pendingValidation", "validated", "refused", "expired", "revoked"),
)
Index("credential_hash", credential.c.hash, unique=True)
Index("credential_application", credential.c.application_id, credential.c.created_at)
Index("credential_login", credential.c.login_id, credential.c.created_at)

# A signature is good once; older ones than the allowed difference of clocks are refused anyway, and dropped here.
signature_seen = table(
    "signature_seen", "access",
    to("credential_id", credential.c.id, key=True), Column("hash", BYTES, primary_key=True), big("at"),
)
Index("signature_seen_at", signature_seen.c.at)

# --- access: clients of OAuth2, and policies that say which identity may do what on which resource ---------------

# ``id`` is the client's id on the wire, ``hash`` its secret's SHA-256: it is random, so nothing slower is needed.
# A client is an identity of the account, and stays when the user who made it goes.
oauth2_client = table(
    "oauth2_client", "access",
    id_(), to("account_id", account.c.id), string("name"), string("description"), octets("hash"),
    string("rules"), string("allowed_ips", null=True),
    big("created_at"), big("last_used_at", null=True), big("revoked_at", null=True),
)
Index("oauth2_client_account", oauth2_client.c.account_id, oauth2_client.c.created_at)

oauth2_token = table(
    "oauth2_token", "access",
    Column("hash", BYTES, primary_key=True), to("client_id", oauth2_client.c.id), big("created_at"), big("expires_at"),
)
Index("oauth2_token_client", oauth2_token.c.client_id, oauth2_token.c.created_at)

# ``allow``, ``excepted`` and ``denied`` are JSON lists of actions, in which ``*`` is any text; ``resources`` is one of URNs.
policy = table(
    "policy", "access",
    id_(), to("cloud_project_id", cloud_project.c.id), string("name"), string("description"),
    string("resources"), string("allow"), string("excepted"), string("denied"),
    big("created_at"), big("updated_at"), big("expires_at", null=True),
)
Index("policy_project", policy.c.cloud_project_id, policy.c.created_at)

policy_identity = table(
    "policy_identity", "access",
    to("policy_id", policy.c.id, key=True), Column("identity", ASCII, primary_key=True),
)
Index("policy_identity_of", policy_identity.c.identity, policy_identity.c.policy_id)

# --- what was ordered ------------------------------------------------------------------------------------------

# ``wanted`` is what should be and ``status`` what is: reconciling leads the one to the other. ``plan`` is a plan of the
# catalogue, ``version`` that of the registry's software. ``entry_uuid`` names its place in the cell's directory, null until it has
# one; ``called`` is its name there if whoever runs the house gave one. Deleted, it serves nobody since ``closed_at`` and can be
# taken back until ``delete_after``; ``deleted_at`` says that it no longer can, and ``destroyed_at`` that nothing of it is left.
# ``suspension`` is what the provider has stopped and ``suspended_for`` why; it outlasts a deletion that is taken back.
cloud_registry = table(
    "cloud_registry", "access",
    id_(), to("cloud_project_id", cloud_project.c.id), string("name"), string("region"), string("plan"),
    string("wanted"), string("status"), string("version"), flag("iam_enabled"),
    string("entry_uuid", null=True), string("url", default=""), big("size", default=0),
    big("created_at"), big("delivered_at", null=True), big("updated_at"),
    big("delete_after", null=True), big("deleted_at", null=True), string("error", default=""),
    big("delete_asked_at", null=True), big("closed_at", null=True), big("destroyed_at", null=True),
    string("suspension", default=""), string("suspended_for", default=""), string("called", null=True),
    one_of("wanted", "READY", "SUSPENDED", "DELETED"), one_of("suspension", "", "pulls", "pushes"),
    one_of(
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
cloud_restrictions = table(
    "cloud_restrictions", "access",
    to("cloud_registry_id", cloud_registry.c.id, key=True),
    string("registry"), string("management"), big("changed_at"),
)

# What an order with this key was answered, so that the same order is not made twice.
idempotency = table(
    "idempotency", "record",
    to("account_id", account.c.id, key=True), Column("key", ASCII, primary_key=True),
    octets("request_hash"), big("status"), string("body"), big("created_at"),
)
Index("idempotency_created", idempotency.c.created_at)

# --- who works for the provider --------------------------------------------------------------------------------

# Operators are no logins: nothing of an account or of a registry is opened by one. ``password`` is an argon2id hash.
operator = table(
    "operator", "access",
    id_(), string("name"), string("password"), flag("disabled"), big("created_at"),
)
Index("operator_name", operator.c.name, unique=True)

# ``approver`` is the party that decides, as the plan said when it was asked for. ``robot`` is the number, in the registry, of the
# robot that it has opened, null once that is gone. ``scope`` is a project of the registry, or * for all.
operator_grant = table(
    "operator_grant", "record",
    id_(), to("operator_id", operator.c.id), to("cloud_registry_id", cloud_registry.c.id),
    string("reason"), string("scope"), string("approver"), string("state"), big("asked_at"), big("until"),
    big("decided_at", null=True), string("decided_by", default=""),
    big("ended_at", null=True), string("ended_by", default=""), big("robot", null=True),
    one_of("approver", "customer", "operator"), one_of("state", "ASKED", "APPROVED", "REFUSED", "ENDED"),
)
Index("operator_grant_registry", operator_grant.c.cloud_registry_id, operator_grant.c.asked_at)
Index("operator_grant_operator", operator_grant.c.operator_id)
Index("operator_grant_until", operator_grant.c.state, operator_grant.c.until)

# --- what the provider signs with --------------------------------------------------------------------------------

# ``public`` is an Ed25519 key's public half and ``id`` its SHA-256's first half; the private half is wrapped by the master
# key that ``master`` names. The highest number signs; none is ever dropped, so that whatever was signed can be checked.
provider_key = table(
    "provider_key", "access",
    id_(), big("number"), octets("public"), octets("secret"), string("master"), big("created_at"),
)
Index("provider_key_number", provider_key.c.number, unique=True)

# --- what was destroyed ----------------------------------------------------------------------------------------

# ``found`` is JSON: what there was when it began, which nobody can count any more. ``secret`` makes pseudonyms while it
# goes on, and is empty when it has ended; ``looked_at`` says that nothing came after.
destruction = table(
    "destruction", "record",
    to("cloud_registry_id", cloud_registry.c.id, key=True), string("found"), string("salt"), octets("secret"),
    big("begun_at"), big("ended_at", null=True), big("looked_at", null=True),
)
Index(
    "destruction_look", destruction.c.ended_at,
    sqlite_where=text("looked_at IS NULL"), postgresql_where=text("looked_at IS NULL"),
)

certificate = table(
    "certificate", "record",
    to("cloud_registry_id", cloud_registry.c.id, key=True), to("key_id", provider_key.c.id), string("body"), big("created_at"),
)
Index("certificate_key_id", certificate.c.key_id)

# --- what happened ---------------------------------------------------------------------------------------------

def _happened(name: str) -> Table:
    """Declare a table of events. What they are about may be gone by now, so they name it and refer to no row."""
    made: Table = Table(
        name, metadata,
        Column("id", NUMBER, Identity(always=False), primary_key=True),
        string("uuid"), string("kind"), big("at"), string("actor"), string("party"), string("outcome"), string("rule"),
        string("request_id"), string("address"), string("agent"), string("account_id"), string("cloud_project_id"),
        string("target"), string("body"),
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
plan_span = table(
    "plan_span", "record",
    Column("cloud_registry_id", ASCII, primary_key=True), Column("since", BIG, primary_key=True, autoincrement=False),
    big("until", null=True), string("plan"),
)
Index("plan_span_until", plan_span.c.until)

# An hour of a registry: the plan that it is billed by, what that cost then, and what was used. Bytes are null where
# nobody measured them (``measured_at``). It outlives the registry's row, and names it without referring to it.
usage_hour = table(
    "usage_hour", "record",
    Column("cloud_registry_id", ASCII, primary_key=True), Column("hour", BIG, primary_key=True, autoincrement=False),
    string("cloud_project_id"), string("region"), string("plan"), string("price", null=True), string("currency", null=True),
    big("measured_at", null=True), big("logical_bytes", null=True), big("unique_bytes", null=True),
    big("trash_bytes", null=True),
    *(big(name, default=0) for name in TRAFFIC),
)
Index("usage_hour_project", usage_hour.c.cloud_project_id, usage_hour.c.hour)
Index("usage_hour_hour", usage_hour.c.hour)

# The hours of which every registry's usage is written.
usage_sweep = table(
    "usage_sweep", "record",
    Column("hour", BIG, primary_key=True, autoincrement=False), big("at"),
)

# --- the responsibility ledger ---------------------------------------------------------------------------------

# One chain per registry, by its id, and one of the provider's. What is hashed is `cloud.chains.Entry`; ``activities`` are ids,
# apart by spaces. ``for_customer`` and ``for_provider`` say who is told of it. Rows are added, and never changed or dropped.
ledger_entry = Table(
    "ledger_entry", metadata,
    Column("id", NUMBER, Identity(always=False), primary_key=True),
    string("chain"), big("seq"), big("at"), string("event"), string("kind"), string("activities"), string("party"),
    string("outcome"), string("cloud_project_id"), string("personal"), string("previous"), string("hash"),
    flag("for_customer"), flag("for_provider"),
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
ledger_evidence = table(
    "ledger_evidence", "record",
    Column("chain", ASCII, primary_key=True), Column("cloud_project_id", ASCII, primary_key=True),
    Column("activity", ASCII, primary_key=True), big("seq"),
)

# What an entry's ``personal`` commits to. Rows are erased: the chain stays whole, and says no more who it was.
ledger_personal = table(
    "ledger_personal", "record",
    Column("event", ASCII, primary_key=True), string("chain"), octets("salt"), string("actor"), string("address"), string("agent"),
    string("target"), string("rule"), string("request_id"), string("body"),
)
Index("ledger_personal_chain", ledger_personal.c.chain)

# What a chain's last entry was on a day, signed; sent to whom the chain is about.
ledger_head = table(
    "ledger_head", "record",
    Column("chain", ASCII, primary_key=True), Column("seq", BIG, primary_key=True, autoincrement=False),
    string("hash"), big("at"), string("key_id"), octets("signature"),
)

# How far something was counted for the ledger: a registry's own record to an event's number or a time; a release once.
ledger_counted = table(
    "ledger_counted", "record",
    Column("about", ASCII, primary_key=True), Column("what", ASCII, primary_key=True), big("upto"),
)

# --- whom is told ----------------------------------------------------------------------------------------------

# A mail to one address, until it is taken: an event is told to an address once.
mail = table(
    "mail", "record",
    id_(), string("event"), string("address"), string("language"), string("subject"), string("text"), string("html"),
    string("state"), big("tries", default=0), big("next_at"), big("created_at"), big("sent_at", null=True),
    string("error", default=""),
    one_of("state", "waiting", "sent", "dead"),
)
Index("mail_event", mail.c.event, mail.c.address, unique=True)
Index("mail_created", mail.c.created_at)
Index(
    "mail_due", mail.c.next_at,
    sqlite_where=text("state = 'waiting'"), postgresql_where=text("state = 'waiting'"),
)

# The level of its storage that was told of a registry last, and not fallen well below since; ``trash`` is that of its trash.
storage_alert = table(
    "storage_alert", "record",
    Column("cloud_registry_id", ASCII, primary_key=True), big("level"), big("at"), big("trash", default=0),
)

# Where a cloud project's notifications are sent: ``delivered`` is the number of the last that arrived. The secret that signs
# them is kept wrapped, by the master key that ``master`` names.
cloud_webhook = table(
    "cloud_webhook", "access",
    id_(), to("cloud_project_id", cloud_project.c.id), string("url"), octets("secret"), string("master"),
    big("delivered"), big("tries", default=0), big("next_at"), flag("stopped"), string("error", default=""),
    big("created_at"), big("delivered_at", null=True),
)
Index("cloud_webhook_project", cloud_webhook.c.cloud_project_id, cloud_webhook.c.created_at)
Index("cloud_webhook_due", cloud_webhook.c.stopped, cloud_webhook.c.next_at)

# How far a member of a cloud project was told its notifications by mail, by their number: ``wanted`` says that they are, and
# ``chosen`` that the member said so, and not the role. No ``language`` is that of the house.
notification_mail = table(
    "notification_mail", "access",
    to("cloud_project_id", cloud_project.c.id, key=True), to("login_id", login.c.id, key=True),
    flag("wanted"), flag("chosen"), string("language", default=""), big("told"), big("next_at"),
)
Index("notification_mail_login", notification_mail.c.login_id)
Index(
    "notification_mail_due", notification_mail.c.next_at,
    sqlite_where=text("wanted = 1"), postgresql_where=text("wanted = 1"),
)
