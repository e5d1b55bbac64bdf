"""What LDAP has on the wire, in filters and in names: read as its specifications have it, and never out of bounds."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.identity.ldap import lasting
from moorage.outbound import ldap_filters, ldap_messages, ldap_names
from moorage.outbound.ldap import Server, check_trusted
from moorage.outbound.ldap_messages import Entry, Malformed

# As RFC 4515 writes them, and as RFC 4511 puts them into bytes.
FILTERS = {
    "(cn=Babs Jensen)": "a311 0402 636e 040b 42616273204a656e73656e",
    "(!(cn=Tim Howes))": "a211 a30f 0402 636e 0409 54696d20486f776573",
    "(&(a=b)(c=d))": "a010 a306 0401 61 0401 62 a306 0401 63 0401 64",
    "(|(a=b)(c=*))": "a10b a306 0401 61 0401 62 8701 63",
    "(o=univ*of*mich*)": "a415 0401 6f 3010 8004 756e6976 8102 6f66 8104 6d696368",
    "(seeAlso=)": "a30b 0407 736565416c736f 0400",
    "(cn:caseExactMatch:=x)": "a917 810e 6361736545786163744d61746368 8202 636e 8301 78",
    "(o:dn:=A)": "a909 8201 6f 8301 41 8401 ff",
    r"(o=P\28th\2a\29)": "a30b 0401 6f 0406 502874682a29",
    "a>=1": "a506 0401 61 0401 31",
}
NO_FILTERS = (
    "", "(", "()", "(a)", "(a=b", "(a=b))", "(&)", "(!(a=b)(c=d))", "(&(a=b)", "(a=b)(c=d)", r"(a=\2)", "(a b=c)", "(=x)",
    "(a=b\0)", "(:=x)", "(a:b:c:=x)", "(" * 30, "(!" * 30 + "(a=b)" + ")" * 30, "(a=(b)", "a" * 5000, "(&x(a=b))",
)  # fmt: skip


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_is_what_the_specification_makes_of_it(text: str) -> None:
    assert ldap_filters.read(text).hex() == FILTERS[text].replace(" ", "")


@pytest.mark.parametrize("text", NO_FILTERS)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"filter|attribute"):
        ldap_filters.read(text)


@given(st.text())
def test_a_value_stays_one_value_whatever_stands_in_it(value: str) -> None:
    raw = value.encode("utf-8", "surrogatepass")

    made = ldap_filters.every(ldap_filters.present("objectClass"), ldap_filters.equal("uid", value))

    ((kind, inside),) = ldap_messages.parts(made)
    (_, (equal, compared)) = ldap_messages.parts(inside)
    assert (kind, equal) == (0xA0, 0xA3)
    assert ldap_messages.parts(compared) == [(4, b"uid"), (4, raw)]


@pytest.mark.parametrize("name", ["", "a=b", "uid)(x", "*", "a b", "\0"])
def test_what_is_no_attribute_is_no_part_of_a_filter(name: str) -> None:
    for make in (ldap_filters.present, lambda one: ldap_filters.equal(one, "x")):
        with pytest.raises(ValueError, match="attribute"):
            make(name)


@pytest.mark.parametrize(
    "name",
    [
        "cn=ops\\, all+uid=1,ou=groups,dc=example", "CN=Ops\\, ALL + UID=1,OU=Groups,DC=Example",
        "uid=1+cn=ops\\2c all, ou = groups ;dc=example", 'cn="ops,  all"+uid=1,ou=groups,dc=exampl\\65',
    ],
)  # fmt: skip
def test_a_name_is_the_same_however_it_is_written(name: str) -> None:
    assert ldap_names.normal(name) == "cn=ops\\2c all+uid=1,ou=groups,dc=example"


@pytest.mark.parametrize(
    "name", ["cn", "cn=a,", "=a", "cn=a,,dc=b", 'cn="a', "cn=a\\", "a b=c", "cn=\0", "a=" * 2000]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="distinguished name"):
        ldap_names.normal(name)


def test_a_name_is_under_another_by_its_parts_and_not_by_its_letters() -> None:
    assert ldap_names.is_under("cn=a,OU=x, dc=y", "ou=x,dc=y")
    assert ldap_names.is_under("dc=y", "dc=y")
    assert ldap_names.is_under("dc=y", "")
    assert not ldap_names.is_under("cn=a,dc=xy", "dc=y")
    assert not ldap_names.is_under("cn=a\\,dc=y", "dc=y")
    assert (ldap_names.root("ou=a,DC=x,dc=y"), ldap_names.root("ou=a,o=b"), ldap_names.root("ou=a,ou=b")) == (
        "dc=x,dc=y", "o=b", "ou=a,ou=b",
    )  # fmt: skip


@given(st.binary(max_size=64))
def test_whatever_comes_is_a_message_or_is_refused(came: bytes) -> None:
    for read in (
        ldap_messages.message,
        ldap_messages.result,
        ldap_messages.entry,
        ldap_messages.length_of,
        ldap_messages.parts,
    ):
        with contextlib.suppress(Malformed):
            assert read(came) is not None


@given(st.integers(0, (1 << 31) - 1), st.binary(max_size=300))
def test_what_is_written_is_read_again(number: int, body: bytes) -> None:
    written = ldap_messages.tlv(
        ldap_messages.SEQUENCE, ldap_messages.number(number), ldap_messages.tlv(ldap_messages.DONE, body)
    )

    read = ldap_messages.message(written)

    assert (read.number, read.kind, read.body) == (number, ldap_messages.DONE, body)
    assert ldap_messages.length_of(written) == len(written)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("ldap://ldap.example.com", ("ldap", "ldap.example.com", 389)),
        ("ldaps://ldap.example.com/", ("ldaps", "ldap.example.com", 636)),
        ("ldap+starttls://[2001:db8::1]:1389", ("ldap+starttls", "2001:db8::1", 1389)),
        ("ldap.example.com", ("ldap", "ldap.example.com", 389)),
        ("ldap.example.com:636", ("ldaps", "ldap.example.com", 636)),
    ],
)
def test_a_directorys_address_is_taken_apart_as_harbor_has_it(url: str, parts: tuple[str, str, int]) -> None:
    server = Server.of(url)

    assert (server.scheme, server.host, server.port) == parts


@pytest.mark.parametrize(
    "url",
    ["", "http://a", "ldap://", "ldap://u:p@a", "ldap://a/dc=x", "ldap://a?b", "ldap://a:99999", "ldap://é", "ldap://a b",
     "ldapi:///run/ldapi", "file:///etc/passwd", "ldap://" + "a" * 600],
)  # fmt: skip
def test_what_is_no_directorys_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"ldap_search_dn|characters|ldaps://"):
        Server.of(url)


def test_what_holds_no_certificate_is_no_authority() -> None:
    with pytest.raises(ValueError, match="PEM"):
        check_trusted("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----")


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"entryuuid": (b"1F-A",), "objectguid": (b"a",)}, "entryuuid:1f-a"),
        ({"objectguid": (b"A\xff",)}, "objectguid:41ff"),
        # Bytes that are letters by chance are bytes all the same: another one's differ from them in no more than this.
        ({"objectguid": (b"aA",)}, "objectguid:6141"),
        ({"ipauniqueid": (b"x",), "cn": (b"y",)}, "ipauniqueid:x"),
        ({"nsuniqueid": (b"x",), "entryuuid": ()}, "nsuniqueid:x"),
        ({"cn": (b"y",)}, "dn:cn=a,dc=x"),
    ],
)
def test_somebody_is_who_the_directory_calls_so_for_good(
    attributes: dict[str, tuple[bytes, ...]], told: str
) -> None:
    assert lasting(Entry("CN=A, DC=x", attributes)) == told
