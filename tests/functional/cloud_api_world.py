"""The provider's API before a cell that can be ordered from, and users in every role who sign what they ask."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.routing import Router

from moorage.api.cloud.api import cloud_api
from moorage.api.cloud.endpoints import CloudApi
from moorage.api.cloud.tokens import Tokens
from moorage.api.forwarded import Proxies
from moorage.api.front import front
from moorage.cloud import cloud_projects, credentials, members, oauth2, policies, sessions
from moorage.cloud.events import SYSTEM
from moorage.cloud.logins import Login
from moorage.cloud.members import Role
from moorage.cloud.rules import Limits
from moorage.db import Tx
from tests.functional.cloud_world import ACCOUNT, ANYTHING, BASE, LOGIN, Signer
from tests.functional.ordering_world import Orders
from tests.worlds import PASSWORD

SMALL, MEDIUM, LARGE = (
    "9f728ba5-998b-4401-ab0f-497cd8bc6a89",
    "c5ddc763-be75-48f7-b7ec-e923ca040bee",
    "0dae73df-6c49-47bf-a9d5-6b866c74ac54",
)


@dataclass
class Customer:
    """A user with a key, who calls the API below a cloud project of their account."""

    account: str
    login: str
    application: credentials.NewApplication
    project: str
    client: httpx.AsyncClient
    consumer: str

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Call the API at a path below the cloud project."""
        return await self.client.request(
            method, f"/1.0/cloud/project/{self.project}{path}", json=body, headers=headers
        )


@dataclass
class Service:
    """An OAuth2 client, and a client that calls with a token of its own."""

    made: oauth2.NewClient
    client: httpx.AsyncClient
    project: str

    @property
    def id(self) -> str:
        """Give the client's id."""
        return self.made.client.id

    async def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Call the API at a path below the cloud project."""
        return await self.client.request(method, f"/1.0/cloud/project/{self.project}{path}", json=body)

    async def token(self, **changed: str) -> httpx.Response:
        """Ask for a token as the SDK does."""
        form = {"grant_type": "client_credentials", "scope": "all"} | changed
        return await self.client.post(
            "/auth/oauth2/token", data=form, auth=httpx.BasicAuth(self.id, self.made.secret)
        )


@dataclass
class Api:
    """The API, and who asks it."""

    orders: Orders
    app: CloudApi
    owner: Customer
    others: dict[str, Customer] = field(default_factory=dict)

    async def customer(
        self, role: Role | None = None, project: str = "", limits: Limits = ANYTHING
    ) -> Customer:
        """Make a user with a role in a cloud project, one of their own unless it is given."""
        return await customer(self.orders, self.app, role, project, limits)

    async def anybody(self) -> httpx.AsyncClient:
        """Give a client that shows nothing, of the API and of what stands beside it on the console's port."""
        tokens = Tokens(self.orders.platform).routes()
        transport = httpx.ASGITransport(front(Router(tokens, default=self.app), Proxies(())))
        return await self.orders.world.closing.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url=BASE)
        )

    async def service(
        self, *allow: str, limits: Limits = ANYTHING, registry: str = "", **more: Any
    ) -> Service:
        """Make an OAuth2 client of the owner's account, with a policy about their cloud project or a registry of it."""
        home = self.owner
        on = policies.REGISTRY + registry if registry else policies.PROJECT + home.project

        async def work(tx: Tx) -> oauth2.NewClient:
            made = await oauth2.create(
                tx, home.account, name="service", description="", limits=limits, origin=SYSTEM
            )
            if allow:
                terms = policies.Terms(
                    name="for a service",
                    identities=(made.client.identity,),
                    resources=(on,),
                    allow=tuple(policies.PREFIX + one for one in allow),
                    **more,
                )
                await policies.create(tx, home.project, home.account, terms, SYSTEM)
            return made

        made = await self.orders.platform.change(work)
        found = Service(made, await self.anybody(), home.project)
        token = await found.token()
        if token.status_code == 200:
            found.client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        return found

    async def at_a_browser(self, who: Customer, *, proved_at: int | None = None) -> Customer:
        """Let a user call from a page of a session of theirs."""
        user = Login(who.login, who.account, "somebody", "", "")
        token = await self.orders.platform.change(
            lambda tx: sessions.begin(tx, user, f"console {BASE}", SYSTEM, proved_at=proved_at)
        )
        client = await self.anybody()
        client.cookies.set("moorage", token)
        client.headers["x-moorage-guard"] = sessions.guard(token)
        return Customer(who.account, who.login, who.application, who.project, client, "")

    async def as_(self, who: Customer, consumer: str) -> Customer:
        """Let a user call with another consumer key."""
        client = await client_of(self.orders, self.app, who.application, consumer)
        return Customer(who.account, who.login, who.application, who.project, client, consumer)

    async def ready(self, name: str = "team", plan: str = SMALL) -> dict[str, Any]:
        """Order a registry through the API and make it."""
        ordered = await self.owner.call(
            "POST", "/containerRegistry", {"name": name, "region": "LOCAL", "planID": plan}
        )
        assert ordered.status_code == 200, ordered.text
        await self.orders.work()
        return await self.get(ordered.json()["id"])

    async def get(self, registry: str) -> dict[str, Any]:
        """Show a registry."""
        answer = await self.owner.call("GET", f"/containerRegistry/{registry}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown


_moment = [int(time.time())]


def moment() -> int:
    """Give a second that no call was signed in: what is asked twice on purpose is no replay."""
    _moment[0] = max(_moment[0] + 1, int(time.time()) - 200)
    if _moment[0] > time.time() + 200:
        _moment[0] = int(time.time()) - 200
    return _moment[0]


async def client_of(
    orders: Orders, app: CloudApi, application: credentials.NewApplication, consumer: str
) -> httpx.AsyncClient:
    """Give a client that signs."""
    signer = Signer(application.key, application.secret, consumer, moment)
    transport = httpx.ASGITransport(front(app, Proxies(())))
    return await orders.world.closing.enter_async_context(
        httpx.AsyncClient(transport=transport, base_url=BASE, auth=signer)
    )


async def customer(
    orders: Orders, app: CloudApi, role: Role | None, project: str = "", limits: Limits = ANYTHING
) -> Customer:
    """Make a user in an account of their own."""
    account, login = str(uuid.uuid4()), str(uuid.uuid4())
    hashed = await orders.world.passwords.hash(PASSWORD)

    async def work(tx: Tx) -> tuple[str, credentials.NewApplication, str]:
        await tx.run(ACCOUNT, id=account, name=f"account-{secrets.token_hex(5)}", at=tx.at)
        await tx.run(
            LOGIN,
            id=login,
            account=account,
            name="somebody",
            email="somebody@example.com",
            password=hashed,
            at=tx.at,
        )
        home = project or await cloud_projects.create(tx, account, "A project")
        if role is not None:
            await members.put(tx, home, login, role)
        made = await credentials.create_application(
            tx, orders.world.parts.master, account=account, login=login, name="tests"
        )
        return home, made, await credentials.create_validated(tx, made.id, login, limits)

    home, made, consumer = await orders.platform.change(work)
    client = await client_of(orders, app, made, consumer)
    return Customer(account, login, made, home, client, consumer)


@pytest.fixture
async def api(orders: Orders) -> Api:
    """Open the API, and give an owner a cloud project."""
    world = orders.world
    app = cloud_api(orders.desk, world.parts.master, world.passwords, validation="/auth/")
    return Api(orders, app, await customer(orders, app, Role.OWNER))
