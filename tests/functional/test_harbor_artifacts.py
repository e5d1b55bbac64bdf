"""Artifacts, their tags, labels and accessories through Harbor's API."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, update

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement, insert
from moorage.db.tables import immutable_rule, label, manifest
from moorage.identity.roles import Role
from moorage.registry import blobs, projects
from tests.functional.harbor_artifacts import CONFIG, INDEX, path_of, push, put
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

APP = "library/web/app"
AT = f"{path_of(APP)}/artifacts"
LINUX = {"architecture": "arm64", "os": "linux", "created": "2026-01-02T03:04:05Z", "author": "ann",
         "config": {"Cmd": ["run"]}, "history": [{"created_by": "RUN it", "created": "2026-01-02T03:04:05Z"}],
         "rootfs": {"type": "layers", "diff_ids": []}}  # fmt: skip
NOTATION = "application/vnd.cncf.notary.signature"
_RULE = Statement(insert(immutable_rule).values(project_id=bindparam("project"), tags="v*", created_at=0))
_LABEL = Statement(
    insert(label)
    .values(name=bindparam("name"), project_id=bindparam("project"), created_at=0)
    .returning(label.c.id)
)
_FORGET = Statement(update(manifest).values(kind=None, config_type=None, facts=None))


async def asked(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    if isinstance(answer.json(), list):
        assert int(answer.headers["x-total-count"]) >= len(answer.json())
    return answer.json()


async def project_id(world: World, name: str = "library") -> int:
    found = await projects.find((await world.registry()).db, name)
    assert found is not None
    return found.id


async def filled(world: World) -> dict[str, str]:
    """Push an index of two images, a signature of each scheme, an image without a tag, and a chart; give their digests."""
    client, made = world.client, dict[str, str]()
    for name in ("arm64", "amd64"):
        made[name] = await push(client, APP, None, {**LINUX, "architecture": name}, name.encode())
    made["index"] = await put(client, APP, "v1", {
        "mediaType": INDEX, "annotations": {"about": "both"},
        "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": made[name], "size": size,
             "platform": {"os": "linux", "architecture": name}}
            for name in ("arm64", "amd64")
            for size in [len((await client.get(f"/v2/{APP}/manifests/{made[name]}")).content)]
        ],
    })  # fmt: skip
    size = len((await client.get(f"/v2/{APP}/manifests/{made['index']}")).content)
    subject = {"mediaType": INDEX, "digest": made["index"], "size": size}
    made["notation"] = await push(client, APP, None, {}, b"n", config_type=NOTATION, subject=subject)
    made["cosign"] = await push(client, APP, f"{made['index'].replace(':', '-')}.sig", {}, b"c")
    made["loose"] = await push(client, APP, None, {**LINUX, "os": "plan9"})
    made["chart"] = await push(
        client, APP, "chart", {"name": "web", "version": "1.0.0"},
        config_type="application/vnd.cncf.helm.config.v1+json",
    )  # fmt: skip
    return made


async def test_artifacts_are_listed_with_what_they_are_and_what_hangs_on_them(world: World):
    made = await filled(world)
    found = await asked(world.client, f"{AT}?with_accessory=true&with_label=true")

    # Neither an index's children nor what signs something stands for itself.
    assert [one["digest"] for one in found] == [made["chart"], made["loose"], made["index"]]
    assert [one["type"] for one in found] == ["CHART", "IMAGE", "IMAGE"]
    chart, loose, index = found
    assert chart["extra_attrs"] == {"name": "web", "version": "1.0.0"}
    assert sorted(chart["addition_links"]) == ["dependencies", "readme.md", "values.yaml"]
    assert "%252F" in chart["addition_links"]["readme.md"]["href"]
    assert loose["extra_attrs"] == {
        name: LINUX[name] for name in ("architecture", "author", "config", "created")
    } | {"os": "plan9"}
    assert (loose["media_type"], loose["tags"], loose["labels"]) == (CONFIG, None, None)
    assert [one["name"] for one in index["tags"]] == ["v1"]
    assert index["annotations"] == {"about": "both"}
    assert {one["child_digest"]: one["platform"]["architecture"] for one in index["references"]} == {
        made["arm64"]: "arm64",
        made["amd64"]: "amd64",
    }
    children = [await asked(world.client, f"{AT}/{made[name]}") for name in ("arm64", "amd64")]
    assert {one["child_id"] for one in index["references"]} == {one["id"] for one in children}
    assert index["size"] > sum(one["size"] for one in children)
    assert {one["digest"]: one["type"] for one in index["accessories"]} == {
        made["notation"]: "signature.notation",
        made["cosign"]: "signature.cosign",
    }
    listed = await asked(world.client, f"{AT}/v1/accessories?page_size=1&page=2")
    assert [(one["digest"], one["subject_artifact_digest"]) for one in listed] == [
        (made["cosign"], made["index"])
    ]
    assert (await asked(world.client, path_of(APP)))["artifact_count"] == 3
    bare = await asked(world.client, f"{AT}?with_tag=false")
    assert [(one["digest"], one["tags"], one["accessories"]) for one in bare] == [
        (made[name], None, None) for name in ("chart", "loose", "index")
    ]
    # Nothing is scanned, so there is nothing to stand beside an artifact.
    flags = "with_accessory=true&with_label=true&with_scan_overview=true&with_sbom_overview=true"
    assert await asked(world.client, f"{AT}?{flags}") == found
    assert await asked(world.client, f"{AT}/v1?{flags}&with_signature=true") == index


async def test_artifacts_are_searched_by_tags_digest_and_type(world: World):
    made = await filled(world)
    queries = {
        "tags=*": ["chart", "index"],
        "tags=nil": ["loose"],
        "tags=~v": ["index"],
        "tags=chart": ["chart"],
        "tags={v1 chart}": ["chart", "index"],
        "type=CHART": ["chart"],
        "type=IMAGE,tags=nil": ["loose"],
        f"digest={made['loose']}": ["loose"],
        "labels=(99)": [],
        "nothing=known": ["chart", "loose", "index"],
    }
    # As if nobody had looked at them since they were pushed.
    db = (await world.registry()).db
    await db.write(_FORGET)

    for query, names in queries.items():
        answer = await world.client.get(AT, params={"q": query})
        assert [one["digest"] for one in answer.json()] == [made[name] for name in names], query
        assert answer.headers["x-total-count"] == str(len(names))
    for query in ("digest=nothing", "labels=x", "tags=[a~b]"):
        assert (await world.client.get(AT, params={"q": query})).status_code == 400, query
    sorted_ = await world.client.get(AT, params={"sort": "push_time", "page_size": "2"})
    assert [one["digest"] for one in sorted_.json()] == [made["index"], made["loose"]]


async def test_a_page_asks_the_same_few_queries_and_reads_no_blob_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    await filled(world)
    everything = "with_accessory=true&with_label=true&with_immutable_status=true"
    await asked(world.client, f"{AT}?{everything}")
    db, count = (await world.registry()).db, 0
    real = {name: getattr(type(db), name) for name in ("one", "all")}

    def counting(ask: Any) -> Any:
        async def counted(*given: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            return await ask(*given, **more)

        return counted

    async def no_blob(*_: Any) -> None:
        pytest.fail("a blob was looked for")

    monkeypatch.setattr(blobs, "find", no_blob)
    for name, ask in real.items():
        monkeypatch.setattr(type(db), name, counting(ask))
    seen = []
    for size in (1, 100):
        count = 0
        assert (await world.client.get(f"{AT}?{everything}&page_size={size}")).status_code == 200
        seen.append(count)

    # The first page has a chart alone, and asks for no children.
    assert seen[1] - seen[0] == 1
    assert seen[1] <= 14


async def test_of_an_artifact_that_says_very_much_a_part_is_shown(world: World):
    notes = {"long": "x" * (1 << 20), "short": "y"}
    config = {**LINUX, "config": {"Labels": "z" * 100_000}}
    await push(world.client, APP, "v1", config, annotations=notes)

    found = (await asked(world.client, AT))[0]

    assert found["annotations"] == {"short": "y"}
    assert (found["extra_attrs"]["os"], "config" in found["extra_attrs"]) == ("linux", False)


async def test_of_a_project_the_latest_artifact_of_each_repository_is_listed(world: World):
    first = await push(world.client, "library/a", "v1", {"os": "linux"})
    second = await push(world.client, "library/a", "v2", {"os": "plan9"})
    other = await push(world.client, "library/b", "v1", {"os": "linux"})
    path = f"{PREFIX}/projects/library/artifacts"

    found = await asked(world.client, path)
    assert [(one["repository_name"], one["digest"]) for one in found] == [
        ("library/b", other), ("library/a", second), ("library/a", first),
    ]  # fmt: skip
    latest = await asked(world.client, f"{path}?latest_in_repository=true&sort=push_time")
    assert [one["digest"] for one in latest] == [second, other]


async def test_tags_are_made_listed_and_deleted(world: World):
    made = await push(world.client, APP, "v1", LINUX)
    home = f"{AT}/{made}/tags"

    created = await world.client.post(home, json={"name": "next"})
    assert (created.status_code, created.headers["location"]) == (201, f"{home}/next")
    assert (await world.client.post(home, json={"name": "v1"})).status_code == 409
    assert (await world.client.post(home, json={"name": "no tag"})).status_code == 400
    assert (await world.client.head(f"/v2/{APP}/manifests/next")).headers["docker-content-digest"] == made
    await (await world.registry()).db.write(_RULE, project=await project_id(world))
    listed = await asked(world.client, f"{home}?with_immutable_status=true")
    assert [(one["name"], one["immutable"]) for one in listed] == [("next", False), ("v1", True)]
    statuses = [(await world.client.delete(f"{home}/{name}")).status_code for name in ("v1", "next", "next")]
    assert statuses == [412, 200, 404]
    refused = await world.client.delete(f"{AT}/v1")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (412, "PRECONDITION")


async def test_an_artifact_is_deleted_with_its_tags_and_not_from_under_an_index(world: World):
    made = await filled(world)

    assert (await world.client.delete(f"{AT}/{made['arm64']}")).status_code == 412
    assert (await world.client.delete(f"{AT}/v1")).status_code == 200
    for name in ("v1", made["index"], made["notation"]):
        for path in (f"{AT}/{name}", f"{AT}/{name}/tags", f"{AT}/{name}/accessories"):
            assert (await world.client.get(path)).status_code == 404
    assert (await world.client.delete(f"{AT}/{made['arm64']}")).status_code == 200


async def test_an_artifact_is_copied_whole_by_whoever_may_pull_it(world: World):
    made = await filled(world)
    await world.add_project("other")
    maintainer = await world.add_user("mia", Role.MAINTAINER, "other")
    target = f"{path_of('other/copy/here')}/artifacts"

    for source in (f"{APP}:v1", f"{APP}:nothing", "nothing/app:v1"):
        assert (await maintainer.post(target, params={"from": source})).status_code == 403, source
    assert (await world.client.post(target, params={"from": "app"})).status_code == 400
    copied = await world.client.post(target, params={"from": f"{APP}:v1"})
    assert (copied.status_code, copied.headers["location"]) == (201, f"{target}/{made['index']}")
    assert (await world.client.post(target, params={"from": f"{APP}@{made['index']}"})).status_code == 409
    assert (await world.client.post(target, params={"from": f"{APP}:nothing"})).status_code == 404
    found = await asked(maintainer, f"{target}/v1?with_accessory=true")
    assert {one["digest"] for one in found["accessories"]} == {made["notation"], made["cosign"]}
    child = await maintainer.get(f"/v2/other/copy/here/manifests/{made['arm64']}")
    layer = child.json()["layers"][0]["digest"]
    assert (await maintainer.get(f"/v2/other/copy/here/blobs/{layer}")).content == b"arm64"
    # Another project's limit holds for what is copied into it.
    await world.add_project("small", limit_bytes=100)
    full = await world.client.post(f"{path_of('small/copy')}/artifacts", params={"from": f"{APP}:v1"})
    assert (full.status_code, full.json()["errors"][0]["code"]) == (403, "FORBIDDEN")
    assert await asked(world.client, f"{PREFIX}/projects/small/repositories") == []


async def test_labels_are_put_on_artifacts_and_found_by(world: World):
    made = await push(world.client, APP, "v1", LINUX)
    await world.add_project("other")
    db = (await world.registry()).db

    async def add(name: str, project: int | None) -> int:
        row = await db.change(lambda tx: tx.one(_LABEL, name=name, project=project))
        return int(row.id)

    ours, everybodys = await add("ours", await project_id(world)), await add("everybody's", None)
    others = await add("others", await project_id(world, "other"))
    home = f"{AT}/{made}/labels"
    for number in (ours, everybodys):
        assert (await world.client.post(home, json={"id": number})).status_code == 200
    assert (await world.client.post(home, json={"id": ours})).status_code == 409
    assert (await world.client.post(home, json={"id": others})).status_code == 404
    assert (await world.client.post(home, json={})).status_code == 422
    found = await asked(world.client, f"{AT}/v1?with_label=true")
    assert [(one["name"], one["scope"]) for one in found["labels"]] == [("everybody's", "g"), ("ours", "p")]

    async def count(query: str) -> int:
        return len((await world.client.get(AT, params={"q": query})).json())

    assert await count(f"labels=({ours} {everybodys})") == 1
    assert await count(f"labels=({ours} {others})") == 0
    assert await count(f"labels={{{ours} {others}}}") == 1
    assert (await world.client.delete(f"{home}/{ours}")).status_code == 200
    assert (await world.client.delete(f"{home}/{ours}")).status_code == 404
    assert await count(f"labels={ours}") == 0
