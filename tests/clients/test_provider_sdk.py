"""The provider's own SDK, unmodified, from a first key to a push into the registry that it ordered."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import ovh
import pytest
from ovh import config
from ovh.client import ENDPOINTS, OAUTH2_TOKEN_URLS
from ovh.exceptions import (
    APIError,
    BadParametersError,
    InvalidCredential,
    InvalidKey,
    NotGrantedCall,
    OAuth2FailureError,
    ResourceConflictError,
    ResourceNotFoundError,
)

from tests.clients.conftest import Desk
from tests.clients.layouts import blobs
from tests.servers.house import House, house, moorage
from tests.worlds import PASSWORD

SECONDS = 60
# Within which every worker keeps to a new list, whatever the machine is busy with.
PROMISED = 1.0
PRINTED = re.compile(
    r"^(Cloud project|Application key|Application secret|Consumer key) +(\w+)$", re.MULTILINE
)
CLIENT = re.compile(r"^(Client id|Client secret) +(\S+)$", re.MULTILINE)
FROM, TO = "--src-tls-verify=false", "--dest-tls-verify=false"
SMALL, MEDIUM = "9f728ba5-998b-4401-ab0f-497cd8bc6a89", "c5ddc763-be75-48f7-b7ec-e923ca040bee"


@dataclass(frozen=True, slots=True)
class Place:
    """A running house, and the first key to its API."""

    up: House
    name: str
    key: str
    secret: str
    consumer: str
    project: str
    data: Path
    given: dict[str, str]

    def client(self, consumer: str | None = None, **changed: str) -> Any:
        """Make the SDK's client, which is told the endpoint as its table of endpoints has it."""
        keys = {"application_key": self.key, "application_secret": self.secret} | changed
        return ovh.Client(self.name, consumer_key=consumer or self.consumer, **keys)

    @property
    def registries(self) -> str:
        """Give the path of the cloud project's registries."""
        return f"/cloud/project/{self.project}/containerRegistry"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run `moorage up` on each engine, and make a key by the command that it names."""
    given = {}
    if request.param == "postgres":
        given["DATABASE_URL"] = request.getfixturevalue("postgres_server").cell()
    with placed(tmp_path_factory.mktemp("sdk"), f"moorage-{request.param}", **given) as made:
        yield made


@contextlib.contextmanager
def placed(data: Path, name: str, **more: str) -> Iterator[Place]:
    """Run `moorage up`, and make a key by the command that it names."""
    given = {"PASSWORD": PASSWORD, **more}
    with house(data, **given) as up:
        made = moorage("application", "create", "sdk", data=data, **given)
        assert made.returncode == 0, made.stderr
        keys = dict(PRINTED.findall(made.stdout))
        ENDPOINTS[name] = f"{up.console}/1.0"
        yield Place(
            up,
            name,
            keys["Application key"],
            keys["Application secret"],
            keys["Consumer key"],
            keys["Cloud project"],
            data,
            given,
        )
        del ENDPOINTS[name]


@dataclass(frozen=True, slots=True)
class Service:
    """An OAuth2 client, made by a command."""

    place: Place
    id: str
    secret: str

    def client(self, **changed: str) -> Any:
        """Make the SDK's client, which asks for tokens by itself."""
        return ovh.Client(self.place.name, **({"client_id": self.id, "client_secret": self.secret} | changed))


@pytest.fixture
def service(place: Place, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Make a client with the command, and tell the SDK where tokens are asked for."""
    made = moorage("application", "create", "--oauth2", "sdk", data=place.data, **place.given)
    assert made.returncode == 0, made.stderr
    told = dict(CLIENT.findall(made.stdout))
    monkeypatch.setitem(OAUTH2_TOKEN_URLS, place.name, f"{place.up.console}/auth/oauth2/token")
    # The library takes no plain HTTP otherwise; these tests are on loopback.
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    return Service(place, told["Client id"], told["Client secret"])


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep whatever this machine's user has set for the real service out of the tests."""
    monkeypatch.setattr(config, "CONFIG_PATH", [])


def until(ask: Callable[[], Any], wanted: Callable[[Any], bool], *, seconds: float = SECONDS) -> Any:
    """Ask, as the SDK's callers poll, until the answer is the one that is waited for."""
    end = time.monotonic() + seconds
    while not wanted(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.2)
    return answer


def ready(client: Any, path: str, *, pending: str) -> Any:
    """Wait for READY, on the way to which a registry shows one status and no other: what Terraform waits through."""
    shown = until(lambda: client.get(path), lambda found: found["status"] != pending)
    assert shown["status"] == "READY", shown
    return shown


@dataclass(frozen=True, slots=True)
class Ordered:
    """A registry that is ready, and an administrator of it who has pushed an image with skopeo."""

    client: Any
    path: str
    id: str
    url: str
    desk: Desk
    there: str

    @classmethod
    def by(cls, place: Place, home: Path, name: str) -> Ordered:
        """Order it with the SDK and push into it."""
        client, desk = place.client(), Desk.at(place.up, home)
        able = client.get(f"/cloud/project/{place.project}/capabilities/containerRegistry")
        ordered = client.post(place.registries, name=name, region=able[0]["regionName"], planID=SMALL)
        assert ordered["status"] == "INSTALLING"
        path = f"{place.registries}/{ordered['id']}"
        made = ready(client, path, pending="INSTALLING")
        user = client.post(f"{path}/users")
        assert client.put(f"{path}/users/{user['id']}/setAsAdmin") is None
        until(lambda: answers(made["url"]), lambda status: status == 401)
        host = made["url"].partition("://")[2]
        credentials = ("--username", user["user"], "--password", user["password"])
        desk.run("skopeo", "login", "--tls-verify=false", *credentials, host)
        layout = desk.layout()
        layout.name("v1", layout.image(f"{name}, ordered by the SDK"))
        found = cls(client, path, ordered["id"], made["url"], desk, f"docker://{host}/library/app:v1")
        desk.run("skopeo", "copy", TO, f"oci:{layout.path}:v1", found.there)
        return found

    def pulled(self, name: str) -> set[str]:
        """Pull what was pushed, and give the digests of its blobs."""
        back = self.desk.home / name
        self.desk.run("skopeo", "copy", FROM, self.there, f"oci:{back}:v1")
        return {*blobs(back)}


def test_a_registry_is_ordered_pushed_into_renamed_and_resized(place: Place, tmp_path: Path):
    made = Ordered.by(place, tmp_path, "resized")
    pushed = made.pulled("before")
    able = made.client.get(f"{made.path}/capabilities/plan")

    assert made.client.put(made.path, name="renamed") is None
    assert made.client.put(f"{made.path}/plan", planID=MEDIUM) is None
    assert ready(made.client, made.path, pending="SCALING_UP")["name"] == "renamed"
    assert made.client.get(f"{made.path}/plan")["name"] == "MEDIUM"
    assert [one["name"] for one in able] == ["MEDIUM", "LARGE"]
    assert pushed == {*blobs(made.desk.home / "layout")}
    assert made.pulled("after") == pushed


def test_a_deleted_registry_serves_nobody_until_it_is_taken_back(place: Place, tmp_path: Path):
    made = Ordered.by(place, tmp_path, "ended")

    assert made.client.delete(made.path) is None
    until(lambda: made.client.get(made.path)["status"], lambda status: status == "DELETED")
    until(lambda: answers(made.url), lambda status: status != 401)
    assert made.id not in [one["id"] for one in made.client.get(place.registries)]
    assert made.client.call("POST", f"{made.path}/undelete")["status"] == "RESTORING"
    ready(made.client, made.path, pending="RESTORING")
    until(lambda: answers(made.url), lambda status: status == 401)
    assert made.pulled("after")


def test_all_that_is_left_of_a_deleted_registry_is_its_certificate(tmp_path: Path):
    """No second of grace: processes that have its file open are the house's own, and let go by themselves."""
    with placed(tmp_path / "data", "moorage-ending", DELETION_GRACE="0s") as house_:
        made = Ordered.by(house_, tmp_path, "ended")
        layers = made.pulled("before")
        files = {path for path in house_.data.rglob("*") if path.is_file() and "registries" in path.parts}
        assert made.client.delete(made.path) is None

        def given() -> Any:
            try:
                return made.client.get(f"{made.path}/certificate")
            except ResourceConflictError:
                return None

        # What waits for somebody to let go is looked after each ten seconds.
        whole = until(given, lambda answer: answer is not None, seconds=5 * SECONDS)
        keys = made.client.get("/cloud/signingKey", _need_auth=False)
        left = {path for path in house_.data.rglob("*") if path.is_file() and "registries" in path.parts}
        stored = [path for path in (house_.data / "blobs").rglob("*") if path.is_file()]
        with pytest.raises(ResourceNotFoundError):
            made.client.get(made.path)
    for name, shown in (("certificate", whole), ("keys", keys)):
        (tmp_path / f"{name}.json").write_text(json.dumps(shown))
    alone = tmp_path / "elsewhere"

    verified = moorage(
        "verify", str(tmp_path / "certificate.json"), "--keys", str(tmp_path / "keys.json"), data=alone
    )

    assert (verified.returncode, alone.exists()) == (0, False), verified.stdout + verified.stderr
    assert made.id in verified.stdout
    destroyed = whole["certificate"]["destroyed"]
    assert (destroyed["blobs"], destroyed["tags"], destroyed["manifests"]) == (len(layers) - 1, 1, 1)
    assert len({path.name.partition(".")[0] for path in files}) == 1 + len(
        {path.name.partition(".")[0] for path in left}
    )
    assert stored == []


def test_a_client_of_oauth2_orders_and_ends_a_registry_in_its_own_name(service: Service):
    client, registries = service.client(), service.place.registries

    ordered = client.post(registries, name="by-client", region="LOCAL", planID=SMALL)
    path = f"{registries}/{ordered['id']}"
    assert ready(client, path, pending="INSTALLING")["name"] == "by-client"
    assert client.get("/auth/details")["method"] == "oauth2"
    assert client.get("/v1/cloud/project") == [service.place.project]
    assert client.delete(path) is None
    with pytest.raises(APIError, match="needs a user"):
        client.get("/me/api/oauth2/client")


def test_a_client_of_oauth2_that_is_revoked_is_refused_at_its_next_call(service: Service):
    client, owner = service.client(), service.place.client()
    assert client.get("/me")["nichandle"] == "first"

    assert owner.delete(f"/me/api/oauth2/client/{service.id}") is None

    with pytest.raises(APIError, match="revoked"):
        client.get("/me")
    with pytest.raises(OAuth2FailureError, match="invalid_client"):
        service.client().get("/me")
    with pytest.raises(OAuth2FailureError, match="unknown client, or wrong secret"):
        service.client(client_secret="x" * 32).get("/me")


def answers(url: str) -> int:
    """Ask a registry's address who it is; 0 when nobody listens."""
    try:
        return httpx.get(f"{url}/v2/").status_code
    except httpx.TransportError:
        return 0


def test_a_registry_that_is_restricted_by_the_sdk_is_used_from_where_it_says(place: Place, tmp_path: Path):
    made = Ordered.by(place, tmp_path, "restricted")
    rules = f"{made.path}/ipRestrictions/registry"

    put = made.client.call("PUT", rules, [{"ipBlock": "192.0.2.0/24", "description": "office"}])
    time.sleep(PROMISED)
    refused = httpx.get(f"{made.url}/v2/")
    made.desk.run("skopeo", "inspect", "--tls-verify=false", made.there, fails=True)
    # What the provider's tools do: read all, add some, write all.
    local = [{"ipBlock": "127.0.0.1"}, {"ipBlock": "::1"}]
    made.client.call("PUT", rules, [*made.client.get(rules), *local])
    time.sleep(PROMISED)
    pulled = made.pulled("within")
    made.client.call("PUT", rules, [])
    managed = f"{made.path}/ipRestrictions/management"
    made.client.call("PUT", managed, [{"ipBlock": "192.0.2.7"}])
    kept = [one["ipBlock"] for one in made.client.get(managed)]
    assert made.client.get(made.path)["status"] == "READY"
    made.client.call("PUT", managed, [])

    assert [(one["ipBlock"], one["description"]) for one in put] == [("192.0.2.0/24", "office")]
    assert refused.status_code == 403
    assert "this registry has IP restrictions, and your address" in refused.json()["errors"][0]["message"]
    assert pulled == {*blobs(made.desk.home / "layout")}
    assert made.client.get(rules) == made.client.get(managed) == []
    assert kept == ["192.0.2.7/32"]


def test_how_people_sign_in_is_set_by_the_sdk(place: Place):
    client = place.client()
    first = next(one for one in client.get(place.registries) if one["name"] == "first")
    path = f"{place.registries}/{first['id']}"
    provider = {
        "name": "keycloak", "endpoint": "https://idp.example.com", "clientId": "moorage", "clientSecret": "a-secret",
        "scope": "openid",
    }  # fmt: skip
    user = client.post(f"{path}/users")

    with pytest.raises(ResourceNotFoundError):
        client.get(f"{path}/openIdConnect")
    with pytest.raises(BadParametersError, match="users exist, set parameter deleteUsers to delete them"):
        client.post(f"{path}/openIdConnect", provider=provider)
    assert client.post(f"{path}/openIdConnect", provider=provider, deleteUsers=True) is None
    assert client.put(f"{path}/openIdConnect", userClaim="email") is None
    shown = client.get(f"{path}/openIdConnect")
    with pytest.raises(ResourceConflictError):
        client.post(f"{path}/iam")
    assert client.delete(f"{path}/openIdConnect") is None
    # Not the same words as a moment ago: a change that is sent again in one second is a replay.
    assert client.post(f"{path}/iam", deleteUsers=False) is None
    assert client.get(path)["iamEnabled"] is True
    assert client.delete(f"{path}/iam") is None

    assert (shown["userClaim"], shown["status"], "clientSecret" in shown) == ("email", "READY", False)
    assert user["user"] not in [one["user"] for one in client.get(f"{path}/users")]
    assert client.get(path)["iamEnabled"] is False


def test_the_account_and_the_time_are_told(place: Place):
    client = place.client()

    assert abs(client.time_delta) <= 5
    assert client.get("/me")["nichandle"] == "first"
    assert client.get("/cloud/project") == [place.project]
    assert client.get("/v1/cloud/project") == [place.project]
    assert client.get("/auth/details", _need_auth=True, verbose=True, q="a b&c=ü/?")["user"] == "admin"


def test_the_first_registry_is_there_with_its_local_plan(place: Place):
    client = place.client()
    first = next(one for one in client.get(place.registries) if one["name"] == "first")

    assert first["status"] == "READY"
    assert client.get(f"{place.registries}/{first['id']}/plan")["name"] == "LOCAL"
    assert answers(first["url"]) == 401


def test_what_goes_wrong_is_what_the_sdk_calls_it(place: Place):
    client = place.client()

    with pytest.raises(ResourceNotFoundError) as unknown:
        client.get(f"{place.registries}/00000000-0000-4000-8000-000000000000")
    assert unknown.value.query_id
    with pytest.raises(BadParametersError, match="region: "):
        client.post(place.registries, name="a", region="MOON")
    first = client.get(place.registries)[0]
    with pytest.raises(ResourceConflictError):
        client.call("POST", f"{place.registries}/{first['id']}/undelete")
    with pytest.raises(InvalidKey):
        place.client(application_key="x" * 16).get("/me")
    with pytest.raises(InvalidCredential):
        place.client("x" * 32).get("/me")
    with pytest.raises(BadParametersError, match="signature"):
        place.client(application_secret="x" * 32).get("/me")


def test_a_clock_that_is_wrong_is_put_right_by_the_servers_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    away = time.time
    monkeypatch.setattr("ovh.client.time.time", lambda: away() - 86_400)

    assert place.client().get("/me")["state"] == "complete"


def test_a_user_lets_an_application_have_a_limited_key_in_a_browser_without_scripts(place: Place):
    client = place.client()
    asked = client.new_consumer_key_request()
    asked.add_rule("GET", "/me")
    asked.add_recursive_rules(ovh.API_READ_ONLY, "/cloud")
    told = asked.request()
    with pytest.raises(InvalidCredential):
        client.get("/me")

    form = {"user": "admin", "password": PASSWORD, "lifetime": "day", "decision": "allow"}
    token = told["validationUrl"].rpartition("=")[2]
    page = httpx.get(told["validationUrl"])
    done = httpx.post(f"{place.up.console}/auth/", data=form | {"credentialToken": token})

    assert (page.status_code, done.status_code) == (200, 200)
    assert client.get("/me")["nichandle"] == "first"
    assert client.get(place.registries)
    with pytest.raises(NotGrantedCall):
        client.post(place.registries, name="a", region="LOCAL")
    with pytest.raises(NotGrantedCall):
        client.get("/auth/details")


def test_a_supplied_password_is_kept_and_a_weak_one_refused(place: Place):
    client = place.client()
    first = next(one for one in client.get(place.registries) if one["name"] == "first")
    users = f"{place.registries}/{first['id']}/users"

    made = client.post(users, login="sdk-ci", email="ci@example.com", password="Supplied-pass-1")

    assert made["password"] == "Supplied-pass-1"
    assert httpx.get(f"{first['url']}/v2/", auth=("sdk-ci", "Supplied-pass-1")).status_code == 200
    with pytest.raises(BadParametersError, match="password: "):
        client.post(users, password="weak")
    assert client.delete(f"{users}/{made['id']}") is None
    with pytest.raises(APIError):
        client.get(f"{users}/{made['id']}")
    assert httpx.get(f"{first['url']}/v2/", auth=("sdk-ci", "Supplied-pass-1")).status_code == 401


def test_keys_and_policies_are_where_the_sdk_looks_for_them(place: Place, service: Service):
    client = place.client()
    (urn,) = service.client().get("/auth/details")["identities"]
    action = "publicCloudProject:apiovh:containerRegistry/get"
    (project,) = client.get("/v2/iam/resource", resourceType="publicCloudProject")
    made = client.post(
        "/v2/iam/policy", name="by the SDK", identities=[urn], resources=[{"urn": project["urn"]}],
        permissions={"allow": [{"action": action}]},
    )  # fmt: skip
    changed = client.put(f"/v2/iam/policy/{made['id']}", **made | {"description": "changed"})

    assert (project["name"], changed["description"]) == (place.project, "changed")
    assert changed in client.get("/v2/iam/policy")
    assert action in {one["action"] for one in client.get("/v2/iam/reference/action")}
    assert client.delete(f"/v2/iam/policy/{made['id']}") is None
    with pytest.raises(ResourceNotFoundError):
        client.get(f"/v2/iam/policy/{made['id']}")
    told = [
        client.get(f"/me/api/credential/{one}")
        for one in client.get("/me/api/credential", status="validated")
    ]
    mine = client.get("/auth/currentCredential")
    assert mine["credentialId"] in {one["credentialId"] for one in told}
    assert client.get(f"/me/api/credential/{mine['credentialId']}/application")["applicationKey"] == place.key
    # No account of this name has a provider, and the page that says so asks for the password.
    page = httpx.post(f"{place.up.console}/auth/oidc", data={"account": "nobody"})
    assert (page.status_code, 'name="password"' in page.text) == (404, True)
