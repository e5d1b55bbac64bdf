"""What each role may do, and what a robot can be given: Harbor's tables, in one place.

A permission is a resource and an action. A project's members hold one role each (or several, through
groups: they add up), one of these or one of the registry's own (``custom_roles``); a system administrator may
everything; anybody may in a public project what PUBLIC lists; and what is granted for single repositories is added
(``repository_grants``). Nothing else in the program decides what somebody may do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final, Literal, NamedTuple

OciAction = Literal["pull", "push", "delete"]


class Role(IntEnum):
    """The roles of a project's members, under Harbor's numbers."""

    PROJECT_ADMIN = 1
    DEVELOPER = 2
    GUEST = 3
    MAINTAINER = 4
    LIMITED_GUEST = 5

    @property
    def shown(self) -> str:
        """Give Harbor's name for the role: ``projectAdmin``."""
        first, *rest = self.name.lower().split("_")
        return first + "".join(part.title() for part in rest)


class Permission(NamedTuple):
    """Leave to do one thing to one kind of resource."""

    resource: str
    action: str

    def __str__(self) -> str:
        """Write the permission as ``repository:pull``."""
        return f"{self.resource}:{self.action}"


Permissions = frozenset[Permission]
NOTHING: Final[Permissions] = frozenset()

_LETTERS = {
    "A": Role.PROJECT_ADMIN,
    "M": Role.MAINTAINER,
    "D": Role.DEVELOPER,
    "G": Role.GUEST,
    "L": Role.LIMITED_GUEST,
}

# Letters: project Admin, Maintainer, Developer, Guest, Limited guest.
_ROLES = """
project             read:AMDGL update:A delete:A
member              create:A read:AMDG update:A delete:A list:AMDG
metadata            create:A read:AM update:A delete:A
log                 list:A
label               create:AM read:AMDG update:AM delete:AM list:AMDG
quota               read:AMDGL
repository          create:AMD read:AMDGL update:AMD delete:AM list:AMDGL pull:AMDGL push:AMD
tag-retention       create:AMD read:AMD update:AMD delete:AMD list:AMD operate:AMD
immutable-tag       create:AM update:AM delete:AM list:AM
configuration       read:AMDGL update:A
robot               create:A read:AMDG update:A delete:A list:AMDG
notification-policy create:A update:A delete:A list:AM read:AM
scan                create:AM read:AMDGL stop:AM
sbom                create:AM stop:AM read:AMDGL
scanner             read:AMDGL create:A
artifact            create:AMD read:AMDGL delete:AM list:AMDGL
artifact-addition   read:AMDGL
tag                 list:AMDGL create:AMD delete:AM
accessory           list:AMDGL
artifact-label      create:AMD delete:AMD
preheat-policy      create:A read:A update:A delete:A list:A
export-cve          create:AMD read:AMD list:AMD
"""

_PUBLIC = """
project           read
label             read list
repository        list pull
scan              read
scanner           read
tag               list
artifact          read list
artifact-addition read
accessory         list
"""

_ROBOT_SYSTEM = """
audit-log          list
preheat-instance   read create delete list update
project            list create
replication-policy read create delete list update
replication        read create list
replication-adapter list
registry           read create delete list update
scan-all           read update stop create
system-volumes     read
garbage-collection read create list update stop
purge-audit        read create list update stop
jobservice-monitor list stop
scanner            read create delete list update
label              read create delete update
security-hub       read list
catalog            read
quota              read list
"""

_ROBOT_PROJECT = """
log                 list
project             read delete update
metadata            read create delete list update
repository          read update delete list pull push
artifact            read create list delete
scan                create read stop
sbom                create stop read
tag                 create list delete
accessory           list
artifact-addition   read
artifact-label      create delete
scanner             create read
preheat-policy      read create delete list update
immutable-tag       create delete list update
notification-policy read create delete list update
tag-retention       read create delete list update
label               read create delete list update
quota               read
"""

# What Harbor lets a robot have, and does not offer for a limited one: power over accounts.
_ROBOT_SYSTEM_ACCOUNTS = """
robot      create read list delete
user       create read update list delete
ldap-user  create list
quota      update
user-group create read update list delete
"""

_ROBOT_PROJECT_ACCOUNTS = """
robot      create read list delete
export-cve create read
member     create read update list delete
"""

# What has a meaning for a single repository: it can be granted for those that match a pattern.
_IN_REPOSITORIES = """
repository        read update delete list pull push
artifact          create read delete list
artifact-addition read
artifact-label    create delete
tag               list create delete
accessory         list
scan              create read stop
sbom              create stop read
"""


def _read(table: str) -> Permissions:
    lines = (line.split() for line in table.strip().splitlines())
    return frozenset(Permission(resource, action) for resource, *actions in lines for action in actions)


def _read_roles(table: str) -> Mapping[Role, Permissions]:
    held = [(permission.resource, *permission.action.split(":")) for permission in sorted(_read(table))]
    return {
        role: frozenset(Permission(resource, action) for resource, action, who in held if letter in who)
        for letter, role in _LETTERS.items()
    }


OF_ROLE: Final[Mapping[Role, Permissions]] = _read_roles(_ROLES)
PUBLIC: Final[Permissions] = _read(_PUBLIC)
ROBOT_SYSTEM: Final[Permissions] = _read(_ROBOT_SYSTEM) | _read(_ROBOT_SYSTEM_ACCOUNTS)
ROBOT_PROJECT: Final[Permissions] = _read(_ROBOT_PROJECT) | _read(_ROBOT_PROJECT_ACCOUNTS)

IN_REPOSITORIES: Final[Permissions] = _read(_IN_REPOSITORIES)

CUSTOM: Final = 100
"""Roles of a registry's own are numbered from here on; Harbor's five stand below, and stay as they are."""

# Everything that can be asked for inside a project: what an administrator has in each.
EVERYTHING: Final[Permissions] = frozenset().union(*OF_ROLE.values(), PUBLIC, ROBOT_PROJECT)

# Whoever may delete a repository whole may delete what is in it: robots that were made for Harbor have
# `repository:delete` and expect `skopeo delete` to work, those made for one job have `artifact:delete`.
# `tag:delete` alone moves tags through Harbor's API, and never reaches a manifest.
OCI: Final[Mapping[OciAction, Permissions]] = {
    "pull": frozenset({Permission("repository", "pull")}),
    "push": frozenset({Permission("repository", "push")}),
    "delete": frozenset({Permission("artifact", "delete"), Permission("repository", "delete")}),
}

SEE_PROJECT: Final = Permission("project", "read")
CATALOG: Final = Permission("catalog", "read")


def together(roles: Iterable[int]) -> Permissions:
    """Add up what *roles* may; a number that names no role adds nothing."""
    return frozenset().union(*(OF_ROLE[Role(role)] for role in roles if role in OF_ROLE))


def missing(wanted: Permissions, held: Permissions, *, by_robot: bool = False) -> list[Permission]:
    """List what of *wanted* somebody does not hold who would give it; what no robot can hold is not asked of one."""
    return sorted((wanted & ROBOT_PROJECT if by_robot else wanted) - held)


def oci_actions(permissions: Permissions) -> frozenset[OciAction]:
    """Say what *permissions* allow on the wire: ``pull``, ``push`` and ``delete``."""
    return frozenset(action for action, any_of in OCI.items() if not any_of.isdisjoint(permissions))
