"""The platform's tables of sign-in: browsers' sessions, second factors, guesses, and an account's own OpenID provider.

They stand in one database with the rest of the platform's (`db.platform`).
"""

from sqlalchemy import CheckConstraint, Column, Index, text

from moorage.db.declaring import big, flag, id_, octets, one_of, string, table, to
from moorage.db.platform import account, cloud_project, login
from moorage.db.tables import ASCII, BYTES

# --- access: browsers' sessions, and what a user shows beside the password ---------------------------------------

# ``hash`` is the cookie's SHA-256, ``audience`` the part of Moorage and the address that the session was begun at: it is
# good nowhere else. ``proved_at`` is when all factors were shown last; what is dangerous wants that lately.
browser_session = table(
    "browser_session", "access",
    id_(), to("login_id", login.c.id), octets("hash"), string("audience"),
    big("created_at"), big("proved_at"), big("last_used_at"), big("expires_at"), big("ended_at", null=True),
    string("address"), string("agent"),
)
Index("browser_session_hash", browser_session.c.hash, unique=True)
Index("browser_session_login", browser_session.c.login_id, browser_session.c.created_at)

# Of ``totp`` a user has one: a key of RFC 6238, wrapped by the key that ``master`` names; ``step`` is the last interval whose code
# was taken. It is asked for from ``confirmed_at`` on. A ``passkey`` has a name, the id that the browser gave, a public key as
# its secret, and counts its uses in ``step``: nothing makes one yet.
second_factor = table(
    "second_factor", "access",
    id_(), to("login_id", login.c.id), string("kind", default="totp"), string("name", default=""),
    string("key_id", default=""), octets("secret"), string("master"),
    big("created_at"), big("confirmed_at", null=True), big("step", default=0),
    big("failures", default=0), big("failed_at", default=0),
    one_of("kind", "totp", "passkey"), CheckConstraint("(kind = 'totp') = (key_id = '')"),
)
Index("second_factor_login", *(second_factor.c[one] for one in ("login_id", "kind", "key_id")), unique=True)

recovery_code = table(
    "recovery_code", "access",
    to("login_id", login.c.id, key=True), Column("hash", BYTES, primary_key=True), big("created_at"),
)

# Browsers that a user has signed in at, by the SHA-256 of a cookie of their own: a right password from one waits for nobody.
# ``told_at`` is null until the user is told of a new one.
known_device = table(
    "known_device", "access",
    Column("hash", BYTES, primary_key=True), to("login_id", login.c.id), big("created_at"), big("last_used_at"),
    string("address"), string("agent"), big("told_at", null=True),
)
Index("known_device_login", known_device.c.login_id, known_device.c.last_used_at)
Index(
    "known_device_untold", known_device.c.created_at,
    sqlite_where=text("told_at IS NULL"), postgresql_where=text("told_at IS NULL"),
)

# How many wrong passwords came for a user since a moment, and when the user was told of it last.
login_guess = table(
    "login_guess", "access",
    to("login_id", login.c.id, key=True), big("count"), big("since"), big("told_at", default=0),
)

# Wrong passwords of late by what they came from, and by whom they were for, whether there is such a user or not: ``hash`` names
# that. ``next_at`` is when the next password of a user who is guessed at is checked.
password_guess = table(
    "password_guess", "record",
    Column("hash", BYTES, primary_key=True), big("count"), big("at"), big("next_at", default=0),
)
Index("password_guess_at", password_guess.c.at)

# --- access: an account's own OpenID provider, and whom it has vouched for -------------------------------------

# ``id`` stands in the redirect address, and is another one when ``issuer`` changes. ``secret`` is kept wrapped, by the master
# key that ``master`` names. ``scopes`` and ``allowed_groups``, whose people become users, are JSON lists; ``roles`` is JSON,
# [{"group", "cloud_project", "role"}].
oidc_provider = table(
    "oidc_provider", "access",
    id_(), to("account_id", account.c.id), string("name"), string("issuer"), string("client_id"), octets("secret"),
    string("master"),
    string("scopes"), string("groups_claim"), string("allowed_groups"), string("roles"), flag("disabled"),
    big("created_at"), big("updated_at"),
)
Index("oidc_provider_account", oidc_provider.c.account_id, unique=True)

# Who it is elsewhere: the issuer's name and what it calls the person, for one account. No mail address and no name counts.
oidc_identity = table(
    "oidc_identity", "access",
    to("account_id", account.c.id, key=True), Column("issuer", ASCII, primary_key=True),
    Column("subject", ASCII, primary_key=True),
    to("login_id", login.c.id), big("created_at"), big("last_used_at", null=True),
)
Index("oidc_identity_login", oidc_identity.c.login_id, oidc_identity.c.issuer, unique=True)

# A sign-in under way, by the hash of what comes back with the answer and of what the browser alone knows. Nonce and verifier
# are made of these too, and stand nowhere. ``session_id`` says that its user links, ``invitation_id`` who was invited, ``again``
# that the provider has to ask anew; ``proved_at`` is set where a code is still to come of ``login_id``.
oidc_flow = table(
    "oidc_flow", "access",
    Column("state", BYTES, primary_key=True), to("provider_id", oidc_provider.c.id), string("redirect"),
    string("next"), string("address"), flag("again"), to("login_id", login.c.id, null=True), string("session_id", default=""),
    string("invitation_id", default=""), big("created_at"), big("proved_at", null=True),
)
Index("oidc_flow_created", oidc_flow.c.created_at)
Index("oidc_flow_address", oidc_flow.c.address, oidc_flow.c.created_at)
Index("oidc_flow_provider", oidc_flow.c.provider_id)

# Whom an account's administrator has invited to become a user by the provider's word; the token is kept as its hash.
oidc_invitation = table(
    "oidc_invitation", "access",
    id_(), to("account_id", account.c.id), octets("hash"), string("name"), string("email"), string("description"),
    big("created_at"), big("expires_at"),
)
Index("oidc_invitation_hash", oidc_invitation.c.hash, unique=True)
Index("oidc_invitation_account", oidc_invitation.c.account_id, oidc_invitation.c.created_at)

# Roles that follow from groups: taken away when the group is gone, unless somebody has given another meanwhile.
oidc_role = table(
    "oidc_role", "access",
    to("login_id", login.c.id, key=True), to("cloud_project_id", cloud_project.c.id, key=True), string("role"),
)
Index("oidc_role_project", oidc_role.c.cloud_project_id)

