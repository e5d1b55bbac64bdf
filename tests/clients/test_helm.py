"""helm: charts."""

from __future__ import annotations

from tests.clients.conftest import Desk
from tests.worlds import ADMIN, PASSWORD

PLAIN = "--plain-http"


def sign_in(desk: Desk) -> None:
    """Sign in with helm."""
    desk.run("helm", "registry", "login", PLAIN, "-u", ADMIN, "--password-stdin", desk.host, given=PASSWORD)


def chart(desk: Desk, name: str, version: str, more: str = "") -> None:
    """Write a chart that makes one ConfigMap."""
    (desk.home / name / "templates").mkdir(parents=True)
    (desk.home / name / "Chart.yaml").write_text(
        f"apiVersion: v2\nname: {name}\nversion: {version}\ndescription: of a test\n{more}"
    )
    (desk.home / name / "templates" / "one.yaml").write_text(
        f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: {name}}}\n"
    )


def test_helm_gets_back_the_chart_that_it_pushed(desk: Desk):
    sign_in(desk)
    chart(desk, "chart", "1.2.3+build")
    (desk.home / "back").mkdir()
    there = f"oci://{desk.host}/library/chart"

    desk.run("helm", "package", "chart")
    packed = (desk.home / "chart-1.2.3+build.tgz").read_bytes()
    desk.run("helm", "push", PLAIN, "chart-1.2.3+build.tgz", f"oci://{desk.host}/library")
    desk.run("helm", "pull", PLAIN, there, "--version", "1.2.3+build", "-d", "back")

    assert (desk.home / "back" / "chart-1.2.3+build.tgz").read_bytes() == packed
    # A tag has no plus sign, and helm knows.
    assert desk.get("library/chart/tags/list").json()["tags"] == ["1.2.3_build"]
    assert "ConfigMap" in desk.run("helm", "template", PLAIN, there, "--version", "1.2.3+build")


def test_helm_shows_and_pulls_the_newest_chart_of_a_range(desk: Desk):
    sign_in(desk)
    there = f"oci://{desk.host}/team/charts"
    for version in ("1.0.0", "1.9.0", "1.10.0", "2.0.0"):
        chart(desk, "ranged", version)
        desk.run("helm", "package", "ranged")
        desk.run("helm", "push", PLAIN, f"ranged-{version}.tgz", there)
        (desk.home / f"ranged-{version}.tgz").unlink()
        (desk.home / "ranged").rename(desk.home / version)

    shown = desk.run("helm", "show", "chart", PLAIN, f"{there}/ranged", "--version", "^1.0.0")
    desk.run("helm", "pull", PLAIN, f"{there}/ranged")

    assert "version: 1.10.0" in shown.splitlines()
    assert [one.name for one in desk.home.glob("*.tgz")] == ["ranged-2.0.0.tgz"]


def test_helm_fetches_a_chart_that_another_depends_on(desk: Desk):
    sign_in(desk)
    chart(desk, "part", "1.0.0")
    desk.run("helm", "package", "part")
    desk.run("helm", "push", PLAIN, "part-1.0.0.tgz", f"oci://{desk.host}/library")
    needed = f"dependencies:\n- name: part\n  version: 1.x.x\n  repository: oci://{desk.host}/library\n"
    chart(desk, "whole", "0.1.0", needed)

    desk.run("helm", "dependency", "update", PLAIN, "whole")

    assert (desk.home / "whole" / "charts" / "part-1.0.0.tgz").exists()
    assert "name: part" in desk.run("helm", "template", "whole")


def test_helm_is_refused_before_it_signs_in(desk: Desk):
    chart(desk, "refused", "1.0.0")
    desk.run("helm", "package", "refused")

    desk.run("helm", "push", PLAIN, "refused-1.0.0.tgz", f"oci://{desk.host}/library", fails=True)

    assert desk.head("library/refused/manifests/1.0.0").status_code == 404
