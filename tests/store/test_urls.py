"""A URL that cannot be read is refused with what is wrong, and none of it that may be a secret is shown."""

from __future__ import annotations

import pytest

from rx_runat import InvalidSetting
from rx_runat.store.connect import connect

SECRET = "hunter2"


def refusal(url: str) -> str:
    with pytest.raises(InvalidSetting) as caught:
        connect(url)
    assert caught.value.__cause__ is None
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url, names",
    [
        ("redis://host?socket_timeout=soon", "socket_timeout"),
        (f"redis://:{SECRET}@host/0?socket_timeout=soon", "socket_timeout"),
        ("redis://host?health_check_interval=1&max_connections=many", "max_connections"),
        ("redis://host?db=first", "db"),
        ("redis://host?no_such_option=1&socket_timeout=soon", "no_such_option, socket_timeout"),
        (f"rediss://host?ssl_cert_reqs={SECRET}", "ssl_cert_reqs"),
        ("unix:///path?socket_timeout=soon", "socket_timeout"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(url: str, names: str) -> None:
    said = refusal(url)
    assert f"an option that cannot be read, or that redis-py does not take: {names} (" in said


def test_an_option_of_tls_without_tls_is_named_with_the_way_out() -> None:
    assert "options for TLS go with rediss://: ssl_ca_certs (" in refusal("redis://host?ssl_ca_certs=/ca.pem")


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:#{SECRET}@host",
        f"redis://:{SECRET}#@host",
        f"redis://me:{SECRET}@host#1",
        f"rediss://:12#{SECRET}@host",
        f"unix://:#{SECRET}@/path",
        f"redis://#{SECRET}@host",
    ],
)
def test_a_fragment_is_refused_with_the_way_to_write_a_hash(url: str) -> None:
    said = refusal(url)
    assert "a #" in said
    assert "# as %23" in said


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:12/{SECRET}@host",
        f"redis://:/{SECRET}@host",
        f"redis://:{SECRET}/@host",
        f"redis://:12?{SECRET}@host",
        f"redis://:12?{SECRET}@host=1",
        f"redis://:12?{SECRET}=1@host",
        f"redis://me:{SECRET}?x=1@host",
        f"unix://me:1/{SECRET}@/path",
    ],
)
def test_a_password_that_ends_the_host_is_refused_with_the_way_to_write_it(url: str) -> None:
    assert "/ as %2F, ? as %3F" in refusal(url)


@pytest.mark.parametrize("password", ["#start", "a/b", "a?b=c", "a@b", "a:b", "50%", "#/?@:%", "ü"])
def test_a_password_is_read_as_it_was_encoded(password: str) -> None:
    from urllib.parse import quote

    settings = connect(f"redis://me:{quote(password, safe='')}@host:1/2").client.route.pool().connection_kwargs
    assert (settings["username"], settings["password"], settings["host"]) == ("me", password, "host")
    assert (settings["port"], settings["db"]) == (1, 2)


@pytest.mark.parametrize("path", ["/first", "/0/1", "/-1", "/1x", "/٣"])
def test_a_database_that_is_no_number_is_refused(path: str) -> None:
    assert "is no number of a database" in refusal(f"redis://host{path}")


@pytest.mark.parametrize(
    "url, where",
    [
        ("redis://", "redis://localhost:6379"),
        ("redis://host/", "redis://host:6379"),
        ("redis://host:1/3", "redis://host:1/3"),
        ("redis://[::1]:1", "redis://::1:1"),
        ("redis://host?username=me@corp&password=a@b", "redis://host:6379"),
        ("redis://host?client_name=a", "redis://host:6379"),
        ("rediss://host", "rediss://host:6379"),
        ("unix:///run/a@b.sock?db=1", "unix:///run/a@b.sock/1"),
        ("unix://me:word@/run/s.sock", "unix:///run/s.sock"),
    ],
)
def test_what_redis_py_reads_is_read(url: str, where: str) -> None:
    assert connect(url).client.where == where
