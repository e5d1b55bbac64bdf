"""The permission tables, held against Harbor's, cell by cell."""

from itertools import pairwise

import pytest

from moorage.identity import roles
from moorage.identity.roles import OF_ROLE, PUBLIC, ROBOT_PROJECT, ROBOT_SYSTEM, Permission, Role

A, M, D, G, L = (
    Role.PROJECT_ADMIN,
    Role.MAINTAINER,
    Role.DEVELOPER,
    Role.GUEST,
    Role.LIMITED_GUEST,
)

# Harbor's table the other way round from the product's: what each role has that the one below it has not.
ADDED = {
    L: """accessory:list artifact:list,read artifact-addition:read configuration:read project:read quota:read
        repository:list,pull,read sbom:read scan:read scanner:read tag:list""",
    G: "label:list,read member:list,read robot:list,read",
    D: """artifact:create artifact-label:create,delete export-cve:create,list,read repository:create,push,update
        tag:create tag-retention:create,delete,list,operate,read,update""",
    M: """artifact:delete immutable-tag:create,delete,list,update label:create,delete,update metadata:read
        notification-policy:list,read repository:delete sbom:create,stop scan:create,stop tag:delete""",
    A: """configuration:update log:list member:create,delete,update metadata:create,delete,update
        notification-policy:create,delete,update preheat-policy:create,delete,list,read,update project:delete,update
        robot:create,delete,update scanner:create""",
}


@pytest.mark.parametrize(
    ("permission", "who"),
    [
        (("repository", "pull"), {A, M, D, G, L}),
        (("repository", "push"), {A, M, D}),
        (("repository", "delete"), {A, M}),
        (("repository", "list"), {A, M, D, G, L}),
        (("artifact", "delete"), {A, M}),
        (("artifact", "create"), {A, M, D}),
        (("tag", "create"), {A, M, D}),
        (("tag", "delete"), {A, M}),
        (("tag", "list"), {A, M, D, G, L}),
        (("project", "delete"), {A}),
        (("project", "read"), {A, M, D, G, L}),
        (("member", "create"), {A}),
        (("member", "list"), {A, M, D, G}),
        (("robot", "create"), {A}),
        (("robot", "read"), {A, M, D, G}),
        (("log", "list"), {A}),
        (("metadata", "read"), {A, M}),
        (("label", "delete"), {A, M}),
        (("tag-retention", "operate"), {A, M, D}),
        (("immutable-tag", "update"), {A, M}),
        (("notification-policy", "list"), {A, M}),
        (("scan", "create"), {A, M}),
        (("sbom", "read"), {A, M, D, G, L}),
        (("scanner", "create"), {A}),
        (("artifact-label", "create"), {A, M, D}),
        (("preheat-policy", "read"), {A}),
        (("export-cve", "create"), {A, M, D}),
        (("configuration", "update"), {A}),
        (("quota", "read"), {A, M, D, G, L}),
        (("quota", "update"), set()),
    ],
)
def test_a_permission_is_held_by_exactly_these_roles(permission: tuple[str, str], who: set[Role]) -> None:
    held = {role for role in Role if Permission(*permission) in OF_ROLE[role]}

    assert held == who


def test_each_role_adds_exactly_these_to_the_one_below_it() -> None:
    below: roles.Permissions = roles.NOTHING

    for role in (L, G, D, M, A):
        lines = (line.split(":") for line in ADDED[role].split())
        added = {Permission(resource, action) for resource, actions in lines for action in actions.split(",")}
        assert OF_ROLE[role] - below == added, role
        below = OF_ROLE[role]


def test_roles_bear_the_numbers_that_harbor_gave_them() -> None:
    assert [(role.value, role.name) for role in Role] == [
        (1, "PROJECT_ADMIN"),
        (2, "DEVELOPER"),
        (3, "GUEST"),
        (4, "MAINTAINER"),
        (5, "LIMITED_GUEST"),
    ]


def test_the_tables_have_harbors_sizes() -> None:
    sizes = {role.name: len(held) for role, held in OF_ROLE.items()}

    assert sizes == {"PROJECT_ADMIN": 75, "MAINTAINER": 53, "DEVELOPER": 36, "GUEST": 20, "LIMITED_GUEST": 14}
    assert (len(ROBOT_SYSTEM), len(ROBOT_PROJECT), len(PUBLIC)) == (70, 70, 12)


def test_a_higher_role_may_all_that_a_lower_one_may() -> None:
    ladder = [OF_ROLE[role] for role in (L, G, D, M, A)]

    assert all(lower <= higher for lower, higher in pairwise(ladder))


def test_a_public_project_lets_anybody_read_and_nobody_write() -> None:
    assert roles.oci_actions(PUBLIC) == {"pull"}
    assert {permission.action for permission in PUBLIC} == {"read", "list", "pull"}


@pytest.mark.parametrize(
    ("role", "actions"),
    [
        (A, {"pull", "push", "delete"}),
        (M, {"pull", "push", "delete"}),
        (D, {"pull", "push"}),
        (G, {"pull"}),
        (L, {"pull"}),
    ],
)
def test_a_role_may_this_on_the_wire(role: Role, actions: set[str]) -> None:
    assert roles.oci_actions(OF_ROLE[role]) == actions


@pytest.mark.parametrize(
    ("permission", "actions"),
    [
        ("repository:pull", {"pull"}),
        ("repository:push", {"push"}),
        ("repository:delete", {"delete"}),
        ("artifact:delete", {"delete"}),
        ("tag:delete", set()),
        ("artifact:create", set()),
        ("repository:read", set()),
        ("artifact:read", set()),
    ],
)
def test_a_single_permission_means_no_more_than_this_on_the_wire(permission: str, actions: set[str]) -> None:
    resource, _, action = permission.partition(":")

    assert roles.oci_actions(frozenset({Permission(resource, action)})) == actions


def test_roles_add_up_and_unknown_numbers_add_nothing() -> None:
    assert roles.together([3, 2, 99]) == OF_ROLE[G] | OF_ROLE[D]
    assert roles.together([]) == frozenset()
