"""A URL that cannot be read is refused with what is wrong, and none of it that may be a secret is shown."""

from __future__ import annotations

import itertools
import traceback
from urllib.parse import quote

import pytest
import redis

from rx_runat import InvalidSetting
from rx_runat.store.connect import connect
from rx_runat.store.sentinel_route import SentinelRoute
from rx_runat.store.slot_route import SlotRoute

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


# Several hosts.


def sentinels(url: str) -> SentinelRoute:
    route = connect(url).client.route
    assert isinstance(route, SentinelRoute)
    return route


def slot(url: str) -> SlotRoute:
    route = connect(url, "Q").client.route
    assert isinstance(route, SlotRoute)
    return route


def test_a_url_of_sentinels_is_read_whole() -> None:
    route = sentinels(
        f"redis+sentinel://me:{SECRET}@s1:26380,s2/mymaster/3?sentinel_username=watcher&sentinel_password=a%40b"
        "&socket_timeout=7&health_check_interval=3&client_name=me"
    )
    assert (list(route._sentinels.addresses), route._sentinels.service) == ([("s1", 26380), ("s2", 26379)], "mymaster")
    values, asked = route.settings.values, route._sentinels.settings.values
    assert (values["username"], values["password"], values["db"]) == ("me", SECRET, 3)
    assert (values["socket_timeout"], values["health_check_interval"], values["client_name"]) == (7, 3, "me")
    assert (asked["username"], asked["password"], asked["db"], asked["socket_timeout"]) == ("watcher", "a@b", 0, 1)
    assert route.where == "redis+sentinel://s1:26380,s2:26379/mymaster/3"


def test_the_users_login_is_not_shown_to_sentinels() -> None:
    asked = sentinels(f"redis+sentinel://me:{SECRET}@s1/m")._sentinels.settings.values
    assert (asked["username"], asked["password"]) == (None, None)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("name", ["redis", "valkey"])
def test_both_names_of_redis_and_tls_are_read(name: str, secure: bool) -> None:
    scheme = name + "s" * secure
    kind = redis.SSLConnection if secure else redis.Connection
    tls = "?ssl_ca_certs=/ca.pem" if secure else ""
    for settings in (
        connect(f"{scheme}://host{tls}").client.route.settings,
        sentinels(f"{scheme}+sentinel://host/m{tls}").settings,
        sentinels(f"{scheme}+sentinel://host/m{tls}")._sentinels.settings,
        slot(f"{scheme}+cluster://host{tls}").settings,
    ):
        assert settings.connection_class is kind
        assert settings.values.get("ssl_ca_certs") == ("/ca.pem" if secure else None)


@pytest.mark.parametrize(
    "hosts, addresses",
    [
        ("host", [("host", 6379)]),
        ("h1:1,h2,10.0.0.1:3", [("h1", 1), ("h2", 6379), ("10.0.0.1", 3)]),
        ("[::1]:1,[2001:db8::2],h3", [("::1", 1), ("2001:db8::2", 6379), ("h3", 6379)]),
        ("h1,[::1]:2", [("h1", 6379), ("::1", 2)]),
    ],
)
def test_hosts_are_read_each_with_its_port(hosts: str, addresses: list[tuple[str, int]]) -> None:
    assert list(slot(f"redis+cluster://{hosts}")._seeds) == addresses
    assert list(slot(f"redis+cluster://me:{SECRET}@{hosts}/0?socket_timeout=1")._seeds) == addresses


@pytest.mark.parametrize("password", ["#start", "a/b", "a?b=c", "a@b", "a:b", "50%", "#/?@:%,[", "ü", "a,b"])
def test_a_password_beside_several_hosts_is_read_as_it_was_encoded(password: str) -> None:
    login = f"m%2Ce:{quote(password, safe='')}"
    for route in (slot(f"redis+cluster://{login}@h1,h2"), sentinels(f"redis+sentinel://{login}@h1,h2/m")):
        assert (route.settings.values["username"], route.settings.values["password"]) == ("m,e", password)


def test_a_comma_in_a_password_separates_no_hosts() -> None:
    assert slot(f"redis+cluster://me:a,{SECRET}@h1,h2").settings.values["password"] == f"a,{SECRET}"


@pytest.mark.parametrize(
    "query, db", [("/m", 0), ("/m/3", 3), ("/m/", 0), ("/m/3/", 3), ("/m?db=3", 3), ("/m/2?db=3", 3)]
)
def test_the_database_stands_in_the_path_or_in_the_query(query: str, db: int) -> None:
    route = sentinels(f"redis+sentinel://host{query}")
    assert (route.settings.values["db"], route._sentinels.settings.values["db"]) == (db, 0)


def test_a_primary_may_have_any_name() -> None:
    assert sentinels("redis+sentinel://host/my%2Fmaster%20%C3%BC")._sentinels.service == "my/master ü"


def test_a_failover_is_waited_for_no_longer_than_two_seconds_unless_the_user_says_so() -> None:
    for route in (sentinels("redis+sentinel://h/m"), slot("redis+cluster://h")):
        assert (route.settings.values["socket_timeout"], route.settings.values["socket_connect_timeout"]) == (2, 2)
    for url in ("redis+sentinel://h/m", "redis+cluster://h"):
        for seconds in (5, 9):
            asked = f"{url}?socket_timeout={seconds}&socket_connect_timeout={seconds - 1}"
            values = connect(asked).client.route.settings.values
            assert (values["socket_timeout"], values["socket_connect_timeout"]) == (seconds, seconds - 1)
    assert sentinels("redis+sentinel://h/m")._sentinels.settings.values["socket_timeout"] == 1


@pytest.mark.parametrize(
    "url, words",
    [
        ("redis+cluster://", "a host that cannot be read"),
        ("redis+cluster://h1,", "a host that cannot be read"),
        ("redis+cluster://,h1", "a host that cannot be read"),
        ("redis+cluster://:7000", "a host that cannot be read"),
        ("redis+cluster://h1:", "a host that cannot be read"),
        ("redis+cluster://h1:0", "a host that cannot be read"),
        ("redis+cluster://h1:port", "a host that cannot be read"),
        ("redis+cluster://::1", "a host that cannot be read"),
        ("redis+cluster://[::1", "a host that cannot be read"),
        ("redis+cluster://h1, h2", "a host that cannot be read"),
        ("redis+sentinel:///m", "a host that cannot be read"),
        ("redis+cluster://h1:99999", "cannot be read"),
        ("redis+cluster://h1/1", "a cluster has one database, 0"),
        ("redis+cluster://h1?db=1", "a cluster has one database, 0"),
        ("redis+cluster://h1/a", "a cluster has one database, 0"),
        ("redis+sentinel://h1", "needs the name of the primary"),
        ("redis+sentinel://h1/", "needs the name of the primary"),
        ("redis+sentinel://h1//0", "needs the name of the primary"),
        ("redis+sentinel://h1/m/first", "needs the name of the primary"),
        ("redis+sentinel://h1/m/٣", "needs the name of the primary"),
        ("redis+sentinel://h1/m/0/0", "needs the name of the primary"),
        ("redis+sentinel://h1/m?ssl_ca_certs=/ca.pem", "options for TLS go with rediss://: ssl_ca_certs ("),
        ("redis+sentinel://h1/m?sentinel_name=a&socket_timeout=soon", "does not take: sentinel_name, socket_timeout ("),
        (f"redis+cluster://h1?sentinel_password={SECRET}", "does not take: sentinel_password ("),
        (f"redis+cluster://me:{SECRET}@h1,me:{SECRET}@h2", "an @ that does not end its user and password"),
        (f"redis+cluster://me:{SECRET}@h1@h2", "an @ that does not end its user and password"),
        ("redis+other://h1", "it must be a URL (redis://"),
        ("unix+cluster:///path", "it must be a URL (redis://"),
    ],
)
def test_a_url_of_several_hosts_that_cannot_be_read_says_what_is_wrong(url: str, words: str) -> None:
    assert words in refusal(url)


CUTS = ["#", "/", "?", "@", ":", ",", "[", "%", " ", "\n", "&", "=", "=1&", "?x=", "/x?"]
TAILS = ["@h1,h2/m", "@h1/m?socket_timeout=1", "@h1/m?no_such=1", "@h1:port/m", "@h1/m#x", "@", "@h1,"]
SCHEMES = ["redis+sentinel", "rediss+sentinel", "valkey+sentinel", "redis+cluster", "valkeys+cluster", "redis", "unix"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_junk_shows_a_part_of_a_password(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    """A password that was not encoded is cut in two anywhere, by any character that means something in a URL."""
    caplog.set_level("DEBUG")
    for cut, tail, login in itertools.product(CUTS, TAILS, ["me", ""]):
        for password in (f"{SECRET}{cut}{SECRET}", f"1{cut}{SECRET}", f"{cut}{SECRET}", f"{SECRET}{cut}"):
            url = f"{scheme}://{login}:{password}{tail}"
            try:
                connected = connect(url)
            except InvalidSetting as error:
                shown = "".join(traceback.format_exception(error, limit=0))  # frames show code, and no values
            else:
                route = connected.client.route
                where = repr(route.settings) + repr(connected) + repr(route.settings.pool())
                shown = connected.client.where + where
                connected.client.close()
            assert SECRET not in shown, url
    assert SECRET not in caplog.text
