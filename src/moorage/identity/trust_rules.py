"""What a robot may trust: tokens of one issuer, for one audience, that say certain things of who they were made for.

Names change hands: an account that is renamed or deleted leaves its name to whoever comes first, and with it every trust in
that name. So a trust holds to at least one id that is never given to another. Names, branches and the like may be asked for
besides, and never by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from moorage.errors import Problem
from moorage.outbound.key_sets import KeySet

Value = str | int | bool
Claims = Mapping[str, tuple[Value, ...]]
"""What a token has to say, by the claim's name: one of some values. A name that begins with a slash leads into objects."""

LONGEST_ISSUER: Final = 255
LONGEST_AUDIENCE: Final = 255
LONGEST_NAME: Final = 128
LONGEST_VALUE: Final = 512
LONGEST_DESCRIPTION: Final = 1024
MOST_CLAIMS: Final = 12
MOST_VALUES: Final = 20
DEEPEST: Final = 5
MOST_KEYS: Final = 10
LONGEST_KEY: Final = 8 * 1024

LASTING: Final[Mapping[str, frozenset[str]]] = {
    "GitHub": frozenset({"repository_id", "repository_owner_id"}),
    "GitLab": frozenset({"project_id", "namespace_id"}),
    "Kubernetes": frozenset({"/kubernetes.io/serviceaccount/uid"}),
}
"""The ids that a repository, a project or an account for machines keeps, whatever becomes of its name."""

_OWN: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
# What says neither whose a token is, nor says it for ever: names, places within a repository, and what one run is.
# fmt: off
_PASSING: Final = frozenset({
    "repository", "repository_owner", "repository_visibility", "actor", "actor_id", "workflow", "workflow_ref",
    "workflow_sha", "job_workflow_ref", "job_workflow_sha", "ref", "ref_type", "ref_path", "ref_protected", "base_ref",
    "head_ref", "sha", "environment", "environment_node_id", "event_name", "enterprise", "enterprise_id", "run_id",
    "run_number", "run_attempt", "runner_environment", "runner_id", "check_run_id", "project_path", "namespace_path",
    "project_visibility", "user_login", "user_email", "user_id", "user_access_level", "user_identities",
    "groups_direct", "pipeline_source", "job_id", "job_source", "job_project_path", "ci_config_ref_uri",
    "ci_config_sha", "environment_protected", "environment_action", "deployment_tier", "email", "email_verified",
    "name", "given_name", "family_name", "nickname", "preferred_username", "upn", "unique_name", "groups", "roles",
    "scope", "scp", "azp", "typ", "hd", "locale", "picture", "profile", "zoneinfo", "updated_at", "auth_time", "acr",
    "amr", "nonce", "at_hash",
})
# fmt: on
_PUBLIC: Final = ("kty", "n", "e", "crv", "x", "y", "kid", "alg", "use")
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_SUB_OF_NAMES: Final = ("repo:", "project_path:", "system:serviceaccount:", "organization:", "spiffe:")
_VISIBLE = re.compile(r"[!-~]+")
_GITHUB = re.compile(
    r"https://(?:token\.actions\.githubusercontent\.com(?:/.*)?|[a-z0-9.-]+\.ghe\.com(?:/.*)?|[^/]+/_services/token)"
)
# GitHub's newer subjects have the ids of owner and repository beside their names, which have no @ in them.
_GITHUB_SUBJECT = re.compile(r"repo:[^/@:]+@[0-9]+/[^/@:]+@[0-9]+(?::.*)?")
_GITLAB: Final = "https://gitlab.com"
_KUBERNETES: Final = "/kubernetes.io/"


class TrustInvalid(Problem):
    """The trust breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a trust that a robot can have"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose tokens sign a robot in; *keys* are the issuer's where it cannot be asked for them, else none."""

    issuer: str
    audience: str
    claims: Claims
    keys: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    description: str = ""

    def fits(self, said: Mapping[str, Any]) -> bool:
        """Say whether a token that says so is one that is trusted, if it is its issuer's at all."""
        audience = said.get("aud")
        # One that is for several is known to all of them, and each could show it here.
        alone = audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
        return (
            said.get("iss") == self.issuer
            and isinstance(alone, str)
            and alone == self.audience
            and all(_is_among(_found(said, name), wanted) for name, wanted in self.claims.items())
        )


def check(trust: Trust) -> None:
    """Raise TrustInvalid, with the rule, for a trust that is not to be had."""
    if not _VISIBLE.fullmatch(trust.issuer) or len(trust.issuer) > LONGEST_ISSUER:
        raise TrustInvalid(f"issuer has 1 to {LONGEST_ISSUER} visible ASCII characters")
    if not _VISIBLE.fullmatch(trust.audience) or len(trust.audience) > LONGEST_AUDIENCE:
        raise TrustInvalid(f"audience has 1 to {LONGEST_AUDIENCE} visible ASCII characters")
    if len(trust.description) > LONGEST_DESCRIPTION or "\0" in trust.description:
        raise TrustInvalid(f"description has at most {LONGEST_DESCRIPTION} characters, and no NUL")
    if not 1 <= len(trust.claims) <= MOST_CLAIMS:
        raise TrustInvalid(
            f"claims are 1 to {MOST_CLAIMS}, beside the issuer and the audience: anybody has tokens of an issuer"
        )
    for name, values in trust.claims.items():
        _check_claim(name, values)
    _check_lasting(trust)


def public_keys(given: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Read a JSON Web Key Set that somebody gives, or raise TrustInvalid unless all of it is public keys to verify by."""
    listed = given.get("keys")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_KEYS:
        raise TrustInvalid(f"jwks is a JSON Web Key Set of 1 to {MOST_KEYS} keys")
    found: list[Mapping[str, Any]] = []
    for one in listed:
        if not isinstance(one, dict) or _PRIVATE & one.keys():
            raise TrustInvalid(
                "jwks holds what is no public key: never send a private key, or one that is shared"
            )
        key = {name: one[name] for name in _PUBLIC if name in one}
        if sum(len(str(value)) for value in key.values()) > LONGEST_KEY or not KeySet.of([key]).keys:
            raise TrustInvalid(
                "jwks holds a key that cannot be read, or is too weak: an RSA key has 2048 bits or more"
            )
        found.append(key)
    names = [key.get("kid") for key in found]
    if len(names) > 1 and (None in names or len(set(map(str, names))) < len(names)):
        raise TrustInvalid(
            "each key of jwks has a kid of its own: tokens name the key that they are signed by"
        )
    return tuple(found)


def _check_claim(name: str, values: tuple[Value, ...]) -> None:
    shown = name[:LONGEST_NAME]
    if not _VISIBLE.fullmatch(name) or len(name) > LONGEST_NAME or name.count("/") > DEEPEST:
        raise TrustInvalid(f"a claim's name has 1 to {LONGEST_NAME} visible ASCII characters", claim=shown)
    if name in _OWN:
        raise TrustInvalid(
            f"{name} is looked at by itself: it stands in issuer or audience, or is a time", claim=shown
        )
    if not 1 <= len(values) <= MOST_VALUES:
        raise TrustInvalid(f"{shown} is one of 1 to {MOST_VALUES} values", claim=shown)
    for value in values:
        if isinstance(value, str) and not 0 < len(value) <= LONGEST_VALUE:
            raise TrustInvalid(f"a value of {shown} has 1 to {LONGEST_VALUE} characters", claim=shown)


def _check_lasting(trust: Trust) -> None:
    """Raise TrustInvalid where all that is asked for may be another's one day."""
    kind = _kind(trust)
    if kind is not None:
        enough = trust.claims.keys() & LASTING[kind]
        if kind == "GitHub" and all(map(_has_ids, trust.claims.get("sub", ("",)))):
            enough |= {"sub"}
    else:
        known = frozenset().union(*LASTING.values())
        enough = {
            name
            for name, values in trust.claims.items()
            if name in known or (name not in _PASSING and (name != "sub" or all(map(_is_lasting, values))))
        }
    if enough:
        return
    ids = "; ".join(
        f"{of}: {' or '.join(sorted(names))}" for of, names in LASTING.items() if kind in {None, of}
    )
    raise TrustInvalid(
        f"{', '.join(sorted(trust.claims))}: what only tells names, or places in what bears them, may be somebody else's one"
        f" day, who would sign in as this robot. Ask for an id that lasts as well ({ids})",
        claims=sorted(trust.claims),
    )


def _kind(trust: Trust) -> str | None:
    """Tell whose tokens these are, where that is known: then it is known as well which of their claims last."""
    if _GITHUB.fullmatch(trust.issuer):
        return "GitHub"
    if trust.issuer == _GITLAB:
        return "GitLab"
    if any(name.startswith(_KUBERNETES) for name in trust.claims):
        return "Kubernetes"
    return None


def _is_lasting(subject: Value) -> bool:
    """Say whether a subject is an id, as far as can be told: these are made of names, and a mail address is one."""
    return isinstance(subject, str) and not subject.startswith(_SUB_OF_NAMES) and "@" not in subject


def _has_ids(subject: Value) -> bool:
    """Say whether a subject of GitHub's holds to ids."""
    return isinstance(subject, str) and _GITHUB_SUBJECT.fullmatch(subject) is not None


def _found(said: Mapping[str, Any], name: str) -> object:
    """Find a claim: by its name, or by the way to it."""
    if not name.startswith("/"):
        return said.get(name)
    at: object = said
    for step in name[1:].split("/"):
        if not isinstance(at, dict):
            return None
        at = at.get(step.replace("~1", "/").replace("~0", "~"))
    return at


def _is_among(given: object, wanted: tuple[Value, ...]) -> bool:
    """Say whether a claim is one of some values, and of its very type: neither "1" nor true is 1."""
    return any(type(given) is type(one) and given == one for one in wanted)
