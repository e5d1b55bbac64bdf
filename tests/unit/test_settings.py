"""What can be set, and what is said of a bad value."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from moorage import settings
from moorage.cli import reference
from moorage.kinds import BadSetting


def test_every_default_is_a_value_that_could_be_set():
    assert settings.read({}) == settings.Settings()


def test_an_empty_variable_is_as_good_as_none():
    assert settings.read({"MOORAGE_REGISTRY_PORT": ""}).listening.registry_port == 5000


@pytest.mark.parametrize(
    ("text", "size"),
    [("4194304", 4 << 20), ("4MiB", 4 << 20), ("4 mib", 4 << 20), ("1.5MiB", 3 << 19)],
)
def test_sizes_take_a_unit(text: str, size: int):
    assert settings.read({"MOORAGE_MANIFEST_SIZE": text}).requests.manifest_size == size


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h", 3600)])
def test_durations_take_a_unit(text: str, seconds: float):
    assert settings.read({"MOORAGE_TOKEN_LIFETIME": text}).entering.token_lifetime == seconds


def test_proxies_are_addresses_and_networks():
    read = settings.read({"MOORAGE_TRUSTED_PROXIES": "10.0.0.0/8, ::1"})

    assert read.listening.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))


def test_rates_that_are_not_named_have_their_default():
    read = dict(settings.read({"MOORAGE_RATES": "lists=7, sign-ins=0"}).requests.rates)

    assert (read["lists"], read["sign-ins"], read["manifests"]) == (7, 0, 300_000)


def test_names_are_as_clients_write_them():
    read = settings.read({"MOORAGE_NAMES": "Registry.Example.com, box.lan:5000,[::1]:5000, 192.0.2.1"})

    assert read.listening.names == ("registry.example.com", "box.lan:5000", "[::1]:5000", "192.0.2.1")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("MOORAGE_NAMES", "https://registry.example.com"),
        ("MOORAGE_NAMES", "registry.example.com:65536"),
        ("MOORAGE_NAMES", "registry.example.com:"),
        ("MOORAGE_NAMES", "a b"),
        ("MOORAGE_NAMES", "[::zz]"),
        ("MOORAGE_REGISTRY_PORT", "http"),
        ("MOORAGE_REGISTRY_PORT", "65536"),
        ("MOORAGE_REGISTRY_PORT", "-1"),
        ("MOORAGE_HOST", "not a host"),
        ("MOORAGE_HOST", "a\nb"),
        ("MOORAGE_DOMAIN", "-bad-.example"),
        ("MOORAGE_MANIFEST_SIZE", "4 MB"),
        ("MOORAGE_MANIFEST_SIZE", "1TiB"),
        ("MOORAGE_TOKEN_LIFETIME", "nan"),
        ("MOORAGE_TOKEN_LIFETIME", "1e9"),
        ("MOORAGE_WORKERS", "0"),
        ("MOORAGE_RATES", "pulls=1"),
        ("MOORAGE_RATES", "lists=-1"),
        ("MOORAGE_RATES", "lists"),
        ("MOORAGE_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("MOORAGE_LOG_LEVEL", "loud"),
        ("MOORAGE_TLS_CERT", "/there/is/none"),
    ],
)
def test_a_bad_value_gives_lines_that_each_name_a_variable(variable: str, text: str):
    with pytest.raises(BadSetting) as bad:
        settings.read({variable: text})

    lines = str(bad.value).splitlines()
    assert variable in lines[0]
    assert all(line.startswith("MOORAGE_") for line in lines)


def test_a_bad_value_is_shown_beside_what_is_allowed():
    with pytest.raises(BadSetting) as bad:
        settings.read({"MOORAGE_WORKERS": "many"})

    assert str(bad.value) == "MOORAGE_WORKERS: 'many' is not a whole number from 1 to 64"


def test_every_bad_value_is_told_at_once():
    with pytest.raises(BadSetting) as bad:
        settings.read({"MOORAGE_WORKERS": "many", "MOORAGE_OPS_PORT": "none"})

    assert len(str(bad.value).splitlines()) == 2


def test_a_bad_secret_is_not_shown():
    with pytest.raises(BadSetting) as bad:
        settings.read({"MOORAGE_DATABASE_URL": "mysql://user:hunter2@db/moorage"})

    assert "hunter2" not in str(bad.value)


def test_no_secret_is_in_the_settings_own_words():
    secrets = {
        "MOORAGE_DATABASE_URL": "postgresql://user:hunter2@db/moorage",
        "MOORAGE_STORE_URL": "s3://bucket?secret_access_key=hunter2",
        "MOORAGE_REDIS_URL": "redis://:hunter2@cache",
        "MOORAGE_MASTER_KEY": "hunter2",
        "MOORAGE_PASSWORD": "hunter2",
    }

    read = settings.read(secrets)

    assert "hunter2" not in repr(read) + str(read)
    assert read.keeping.password == "hunter2"


def test_a_certificate_needs_its_key(tmp_path: Path):
    certificate = tmp_path / "cert.pem"
    certificate.touch()

    with pytest.raises(BadSetting, match="MOORAGE_TLS_CERT and MOORAGE_TLS_KEY"):
        settings.read({"MOORAGE_TLS_CERT": str(certificate)})


def test_a_misspelt_variable_is_told_with_what_was_meant():
    told = list(settings.strangers({"MOORAGE_REGISTERY_PORT": "1", "HOME": "/", "MOORAGE_HOST": "::"}))

    assert told == ["MOORAGE_REGISTERY_PORT is not a setting of Moorage; did you mean MOORAGE_REGISTRY_PORT?"]


def test_bytes_are_kept_in_the_data_folder_unless_a_store_is_set(tmp_path: Path):
    inside = settings.read({"MOORAGE_DATA": str(tmp_path)})
    elsewhere = settings.read({"MOORAGE_STORE_URL": "s3://bucket"})

    assert inside.keeping.blobs == f"file://{tmp_path}/blobs"
    assert elsewhere.keeping.blobs == "s3://bucket"


def test_the_list_for_terminals_fits_a_terminal():
    lines = reference.plain(settings.groups()).splitlines()

    assert max(map(len, lines)) <= 80
