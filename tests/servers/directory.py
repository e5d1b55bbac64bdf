"""A real LDAP directory for the tests: Debian's slapd on free ports, with a certificate, in a folder of its own.

One serves a whole session; each test has a part of it for itself:

    def test_it(directory: Directory):
        directory.add_person("alice", password="…")
        directory.add_group("builders", "alice")
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.servers.certificates import certified
from tests.servers.ports import reserved

SUFFIX: Final = "dc=example,dc=org"
ROOT: Final = f"cn=root,{SUFFIX}"
ROOT_PASSWORD: Final = "Directory-root-1"
START_SECONDS: Final = 60
PROGRAM: Final = "/usr/sbin/slapd"

_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/pid
TLSCertificateFile {both}
TLSCertificateKeyFile {both}
TLSCACertificateFile {alone}
sizelimit 1000
database mdb
suffix {suffix}
rootdn {root}
rootpw {password}
directory {folder}/rows
dbnosync
index uid,entryUUID,member eq
overlay memberof
memberof-refint true
access to attrs=userPassword by anonymous auth by * none
access to * by anonymous none by * read
"""


@dataclass(slots=True)
class Slapd:
    """The server, for all tests of a session."""

    folder: Path
    port: int
    tls_port: int
    certificate: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        addresses = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        command = [PROGRAM, "-h", addresses, "-f", str(self.folder / "slapd.conf"), "-d", "0"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            if not self._run("ldapwhoami", "-D", ROOT, "-w", ROOT_PASSWORD, check=False).returncode:
                return
            time.sleep(0.05)
        pytest.fail(f"slapd did not start:\n{(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        """End it."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(START_SECONDS)

    def ask(self, program: str, ldif: str) -> None:
        """Change something as the root."""
        self._run(program, "-D", ROOT, "-w", ROOT_PASSWORD, given=ldif)

    def _run(
        self, program: str, *words: str, given: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        command = [program, "-x", "-H", f"ldap://127.0.0.1:{self.port}", *words]
        done = subprocess.run(command, input=given.encode(), capture_output=True, check=False)
        if check and done.returncode:
            pytest.fail(f"{program}: {done.stderr.decode()}")
        return done


@dataclass(slots=True)
class Directory:
    """One test's part of the directory: people, groups, and somebody who may look for them."""

    server: Slapd
    base: str = field(default_factory=lambda: f"ou=t{secrets.token_hex(6)},{SUFFIX}")
    password: str = "Directory-reader-1"

    @property
    def url(self) -> str:
        """Give its address in clear."""
        return f"ldap://127.0.0.1:{self.server.port}"

    @property
    def tls_url(self) -> str:
        """Give its address within TLS."""
        return f"ldaps://127.0.0.1:{self.server.tls_port}"

    @property
    def start_tls_url(self) -> str:
        """Give its address where TLS is begun."""
        return f"ldap+starttls://127.0.0.1:{self.server.port}"

    @property
    def reader(self) -> str:
        """Give the name of who may look."""
        return f"uid=reader,{self.base}"

    def person(self, uid: str) -> str:
        """Give a person's name."""
        return f"uid={uid},{self.base}"

    def group(self, name: str) -> str:
        """Give a group's name."""
        return f"cn={name},{self.base}"

    def begin(self) -> None:
        """Make the part."""
        part = self.base.partition(",")[0].partition("=")[2]
        self.server.ask("ldapadd", f"dn: {self.base}\nobjectClass: organizationalUnit\nou: {part}\n")
        self.add_person("reader", self.password)

    def add_person(self, uid: str, password: str, *lines: str) -> None:
        """Add a person."""
        about = "\n".join(lines or (f"cn: {uid.capitalize()} Example", f"mail: {uid}@example.org"))
        self.server.ask(
            "ldapadd",
            f"dn: {self.person(uid)}\nobjectClass: inetOrgPerson\nuid: {uid}\nsn: Example\n"
            f"userPassword: {password}\n{about}\n",
        )

    def add_group(self, name: str, *people: str) -> str:
        """Add a group of some people, and give its name; one of nobody has the reader in it."""
        members = "\n".join(f"member: {self.person(one)}" for one in people or ("reader",))
        self.server.ask(
            "ldapadd", f"dn: {self.group(name)}\nobjectClass: groupOfNames\ncn: {name}\n{members}\n"
        )
        return self.group(name)

    def change(self, name: str, *lines: str) -> None:
        """Change what stands under a name, as LDIF has it."""
        changes = "\n".join(lines)
        self.server.ask("ldapmodify", f"dn: {name}\nchangetype: modify\n{changes}\n")

    def join(self, group: str, uid: str) -> None:
        """Put a person into a group."""
        self.change(self.group(group), "add: member", f"member: {self.person(uid)}")

    def leave(self, group: str, uid: str) -> None:
        """Take a person out of a group."""
        self.change(self.group(group), "delete: member", f"member: {self.person(uid)}")

    def rename(self, uid: str, other: str) -> None:
        """Give a person another name."""
        self.server.ask(
            "ldapmodify",
            f"dn: {self.person(uid)}\nchangetype: modrdn\nnewrdn: uid={other}\ndeleteoldrdn: 1\n",
        )

    def remove(self, uid: str) -> None:
        """Take a person out."""
        self.server.ask("ldapmodify", f"dn: {self.person(uid)}\nchangetype: delete\n")


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    """Run a directory for the whole session."""
    if not Path(PROGRAM).exists() or shutil.which("ldapmodify") is None:
        pytest.skip("Debian's package slapd or ldap-utils is missing: .ci/run installs them")
    folder = Path(tempfile.mkdtemp(prefix="moorage-slapd-"))
    (folder / "rows").mkdir()
    both, alone = certified(folder)
    conf = _CONF.format(
        folder=folder, both=both, alone=alone, suffix=SUFFIX, root=ROOT, password=ROOT_PASSWORD
    )
    (folder / "slapd.conf").write_text(conf)
    with reserved(2) as (port, tls_port):
        server = Slapd(folder, port, tls_port, alone.read_text())
        try:
            server.start()
            made = f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: e\n"
            server.ask("ldapadd", made)
            yield server
        finally:
            if server.process is not None:
                server.stop()
            shutil.rmtree(folder)


@pytest.fixture
def directory(slapd: Slapd) -> Directory:
    """Give a part of the directory to one test."""
    made = Directory(slapd)
    made.begin()
    return made
