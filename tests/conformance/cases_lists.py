"""Cases of the lists: end-8, end-12, the catalog and the extensions."""

from __future__ import annotations

from typing import Any

from moorage.oci.manifests import OCI_INDEX, OCI_MANIFEST
from tests.conformance.site import CONFIG, Site, case, digest_of, refused

TAGS = ["0", "A", "B", "_", "a", "b", "v1.0", "v1.0-rc", "v10", "v9"]
SBOM, SIGNATURE = "application/vnd.example.sbom.v1", "application/vnd.example.signature.v1"


async def walk(site: Site, path: str, member: str) -> list[list[str]]:
    """Follow a list's pages to the end."""
    pages = []
    while path:
        answer = await site.client.get(path)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json()[member])
        path = answer.links.get("next", {}).get("url", "")
    return pages


async def tagged(site: Site) -> None:
    """Push one image with every tag, out of order."""
    for tag in [*TAGS[1::2], *TAGS[::2]]:
        await site.push_image(tag)


@case("end-8a")
async def tags_are_listed_in_order(site: Site) -> None:
    await tagged(site)

    answer = await site.get("tags/list")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"name": site.name, "tags": TAGS}
    assert "link" not in answer.headers


@case("end-8a")
async def a_repository_with_no_tags_lists_none(site: Site) -> None:
    await site.push_image()

    assert (await site.get("tags/list")).json() == {"name": site.name, "tags": []}


@case("end-8a")
async def no_repository_lists_no_tags(site: Site) -> None:
    refused(await site.at("library/never").get("tags/list"), 404, "NAME_UNKNOWN")


@case("end-8b")
async def tags_are_listed_in_pages(site: Site) -> None:
    await tagged(site)

    for size in (1, 3, 9, 10, 11):
        pages = await walk(site, site.path(f"tags/list?n={size}"), "tags")

        assert [tag for page in pages for tag in page] == TAGS
        assert all(len(page) == size for page in pages[:-1])
        assert pages[-1]


@case("end-8b")
async def tags_are_listed_after_one_that_need_not_exist(site: Site) -> None:
    await tagged(site)

    for last, next_ in (("B", "_"), ("BB", "_"), ("v1", "v1.0"), ("v9", None), ("zzz", None)):
        answer = await site.get("tags/list", params={"last": last})

        assert answer.json()["tags"] == (TAGS[TAGS.index(next_) :] if next_ else []), last


@case("end-8b")
async def a_page_of_none_is_empty_and_the_last(site: Site) -> None:
    await tagged(site)

    answer = await site.get("tags/list", params={"n": "0"})

    assert (answer.status_code, answer.json()["tags"]) == (200, [])
    assert "link" not in answer.headers


@case("end-8b")
async def a_page_of_no_number_is_refused(site: Site) -> None:
    await tagged(site)

    for bad in ("-1", "many", "1e3", "٣", "9" * 40, ""):
        refused(await site.get("tags/list", params={"n": bad}), 400, "PAGINATION_NUMBER_INVALID")


@case("end-12a")
async def nothing_refers_to_what_was_never_seen(site: Site) -> None:
    for name in (site.name, "library/never-pushed"):
        answer = await site.at(name).get(f"referrers/{digest_of(b'never seen')}")

        assert answer.status_code == 200
        assert answer.headers["content-type"] == OCI_INDEX
        assert answer.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


async def referring(site: Site) -> tuple[str, dict[str, dict[str, object]]]:
    """Push a subject and four that refer to it; give its digest, and theirs with what they should be listed as."""
    subject = await site.push_image("v1")
    of = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    marks = {"org.example.of": "the case"}
    listed: dict[str, dict[str, object]] = {}
    several: tuple[tuple[str, dict[str, Any]], ...] = (
        (SBOM, {"annotations": marks}),
        (SIGNATURE, {}),
        (SBOM, {"annotations": {"number": "two"}}),
    )
    for type_, more in several:
        document = await site.image(subject=of, artifactType=type_, **more)
        digest = (await site.push(document)).headers["docker-content-digest"]
        size = int((await site.ask("HEAD", f"manifests/{digest}")).headers["content-length"])
        listed[digest] = {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": size,
            "artifactType": type_,
            **more,
        }
    plain = await site.push_image(subject=of)
    size = int((await site.ask("HEAD", f"manifests/{plain}")).headers["content-length"])
    listed[plain] = {"mediaType": OCI_MANIFEST, "digest": plain, "size": size, "artifactType": CONFIG}
    index = await site.push_index(subject=of)
    size = int((await site.ask("HEAD", f"manifests/{index}")).headers["content-length"])
    listed[index] = {"mediaType": OCI_INDEX, "digest": index, "size": size}
    return subject, listed


@case("end-12a")
async def what_refers_to_a_manifest_is_listed(site: Site) -> None:
    subject, listed = await referring(site)

    answer = await site.get(f"referrers/{subject}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == OCI_INDEX
    assert "oci-filters-applied" not in answer.headers
    assert {entry["digest"]: entry for entry in answer.json()["manifests"]} == listed


@case("end-12a")
async def what_refers_is_listed_in_pages(site: Site) -> None:
    subject, listed = await referring(site)

    for size in (1, 2, 4, 5):
        pages = []
        path = site.path(f"referrers/{subject}?n={size}")
        while path:
            answer = await site.client.get(path)
            pages.append([entry["digest"] for entry in answer.json()["manifests"]])
            path = answer.links.get("next", {}).get("url", "")

        assert sorted(digest for page in pages for digest in page) == sorted(listed)
        assert all(len(page) == size for page in pages[:-1])


@case("end-12a")
async def what_was_deleted_refers_no_more(site: Site) -> None:
    subject, listed = await referring(site)
    gone = next(iter(listed))

    await site.ask("DELETE", f"manifests/{gone}")

    found = {entry["digest"] for entry in (await site.get(f"referrers/{subject}")).json()["manifests"]}
    assert found == set(listed) - {gone}


@case("end-12a")
async def the_members_of_a_fallback_tag_are_listed_too(site: Site) -> None:
    subject = await site.push_image("v1")
    of = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    referrer = await site.push_image(subject=of, artifactType=SBOM)
    fallback = subject.replace(":", "-")

    await site.push_index((referrer, 1), reference=fallback)

    listed = (await site.get(f"referrers/{subject}")).json()["manifests"]
    assert [entry["digest"] for entry in listed] == [referrer]
    assert (await site.get(f"manifests/{fallback}")).status_code == 200


@case("end-12a")
async def what_is_no_digest_refers_to_nothing(site: Site) -> None:
    refused(await site.get("referrers/sha256:baddigeststring"), 400, "DIGEST_INVALID")


@case("end-12b")
async def what_refers_is_filtered(site: Site) -> None:
    subject, listed = await referring(site)

    for type_ in (SBOM, SIGNATURE, CONFIG, "application/vnd.example.none"):
        answer = await site.get(f"referrers/{subject}", params={"artifactType": type_})

        assert answer.headers["oci-filters-applied"] == "artifactType"
        assert answer.headers["content-type"] == OCI_INDEX
        wanted = {digest: entry for digest, entry in listed.items() if entry.get("artifactType") == type_}
        assert {entry["digest"]: entry for entry in answer.json()["manifests"]} == wanted


@case("end-12b")
async def what_is_filtered_comes_in_pages_too(site: Site) -> None:
    subject, listed = await referring(site)

    first = await site.get(f"referrers/{subject}", params={"artifactType": SBOM, "n": "1"})
    second = await site.client.get(first.links["next"]["url"])

    found = [entry["digest"] for page in (first, second) for entry in page.json()["manifests"]]
    assert sorted(found) == sorted(d for d, entry in listed.items() if entry.get("artifactType") == SBOM)
    assert "next" not in second.links
    assert second.headers["oci-filters-applied"] == "artifactType"


@case("catalog")
async def repositories_are_listed_in_order_and_in_pages(site: Site) -> None:
    names = sorted(f"{project}/{name}" for project in ("library", "team") for name in ("a", "b", "c/d"))
    for name in reversed(names):
        await site.at(name).push_blob(b"some")

    whole = await site.client.get("/v2/_catalog")
    pages = await walk(site, "/v2/_catalog?n=4", "repositories")

    assert whole.status_code == 200
    assert whole.json() == {"repositories": names}
    assert [len(page) for page in pages] == [4, 2]
    assert [name for page in pages for name in page] == names


@case("catalog")
async def a_catalog_page_of_no_number_is_refused(site: Site) -> None:
    refused(await site.client.get("/v2/_catalog?n=x"), 400, "PAGINATION_NUMBER_INVALID")


@case("extensions")
async def it_tells_that_it_has_no_extensions(site: Site) -> None:
    for path in ("/v2/_oci/ext/discover", site.path("_oci/ext/discover")):
        answer = await site.client.get(path)

        assert (answer.status_code, answer.json()) == (200, {"extensions": []})
        assert answer.headers["content-type"] == "application/json"
