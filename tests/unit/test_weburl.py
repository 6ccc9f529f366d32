"""Web addresses: the form that is checked is the form that is connected to, and the tricks are refused."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.web.addresses import why_private
from kernel.webrequest import Request, redirected
from syscalls.errors import Invalid, IOFailed
from syscalls.rights import Right
from syscalls.weburl import join_url, parse_url

PIECES = st.sampled_from(
    ["http://", "https://", "HTTP://", "a.com", "A.com.", "127.0.0.1", "[::1]", "[::FFFF:1.2.3.4]", ":80", ":443",
     ":0", ":8080", "/", "//", "..", ".", "%2e", "%2F", "%41", "%zz", "?", "#", "@", "\\", "\t", " ", "\n", "é", "xn--",
     "0x7f", "1", "a:b@", ";", "&", "=", "~", "[", "]", "\udc80", "%00"]
)  # fmt: skip
TEXTS = st.lists(PIECES, min_size=1, max_size=8).map("".join)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://Example.COM.:443/A%41%7e?q=%c3#frag", "https://example.com/AA~?q=%C3"),
        ("http://example.com:0080/é", "http://example.com/%C3%A9"),
        ("http://[::FFFF:1]:8000", "http://[::ffff:1]:8000/"),
        ("http://h/a%2Fb?", "http://h/a%2Fb?"),
    ],
)
def test_one_spelling(text: str, canonical: str) -> None:
    assert str(parse_url(text)) == canonical


@pytest.mark.parametrize(
    "text",
    ["ftp://a/", "//a/", "a.com", "http:/a", "http:///x", "http://", "http://a b/", "http://a\t/", "http://a\\@b/",
     "http://user@a/", "http://u:p@a/", "http://0x7f.1/", "http://2130706433/", "http://0177.0.0.1/", "http://127.1/",
     "http://1.2.3.256/", "http://1.2.3.4.5/", "http://a..b/", "http://-a/", "http://a:99999/", "http://a:/", "http://a:0/",
     "http://a:+80/", "http://[::1/", "http://[::1]x/", "http://[fe80::1%25eth0]/", "http://кириллица.рф/", "http://a/%zz",
     "http://a/..", "http://a/./b", "http://a/%2e%2E/b", "http://a/x%2f..%2fy", "http://a/..;a/b", "http://a/x%5c..%5cy",
     "http://a/\x00", "http://" + "a" * 64 + ".com/", "http://a/" + "x" * 9000, "http://a/\udc80"],
)  # fmt: skip
def test_tricks_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_url(text)


@given(TEXTS)
@example("http://a.com/a?b%41")
def test_what_is_checked_is_what_is_connected_to(text: str) -> None:
    try:
        url = parse_url(text)
    except Invalid:
        return
    assert parse_url(str(url)) == url, "its canonical form means itself"
    assert url.names[0] == f"net:{url.scheme}://{url.authority}{url.path}"
    assert Right.parse(f"{url.names[0].replace('*', '')} get")
    host = url.authority.rpartition(":")[0] if url.authority.endswith(f":{url.port}") else url.authority
    assert host.strip("[]") == url.host
    assert url.target.isascii() and url.target.isprintable() and " " not in url.target
    assert url.host == url.host.lower() and "@" not in url.host


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
     "0.0.0.0", "0.1.2.3", "100.64.0.1", "100.127.255.255", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1",
     "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "168.63.129.16", "192.88.99.1", "::1", "::",
     "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
     "2001::1", "2001:db8::1", "100::1", "2606:4700::5efe:10.0.0.1", "4000::1"],
)  # fmt: skip
def test_private_addresses_are_known(address: str) -> None:
    assert why_private(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808",
     "2002:808:808::1"],
)  # fmt: skip
def test_public_addresses_are_not_refused(address: str) -> None:
    assert why_private(address) == ""


@given(st.ip_addresses(v=4))
def test_an_address_in_ipv6_is_what_it_carries(address: ipaddress.IPv4Address) -> None:
    for form in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert bool(why_private(form)) == bool(why_private(str(address)))


@given(st.ip_addresses(v=4))
def test_nothing_that_is_not_global_passes(address: ipaddress.IPv4Address) -> None:
    assert why_private(str(address)) or (address.is_global and not address.is_multicast)


@pytest.mark.parametrize(
    ("written", "url", "allowed"),
    [
        ("net:https://a.com/** get", "https://a.com/x?y", True),
        ("net:https://a.com:443/** get", "https://a.com/x", True),
        ("net:https://a.com/** get", "https://a.com:444/x", False),
        ("net:https://a.com/** get", "http://a.com/x", False),
        ("net:https://a.com/v1/* get", "https://a.com/v1/x/y", False),
        ("net:https://*.a.com/** get", "https://x.a.com/", True),
        ("net:https://*.a.com/** get", "https://a.com.evil.com/.a.com/", False),
        ("net:*://a.com/** get", "http://a.com/", True),
        ("net:https://a.com/** *", "https://a.com/", True),
        ("net:** get", "https://a.com/", True),
    ],
)
def test_rights_to_the_web(written: str, url: str, allowed: bool) -> None:
    right = Right.parse(written)
    assert Right.parse(str(right)) == right
    assert any(right.allows("get", name) for name in parse_url(url).names) is allowed


@pytest.mark.parametrize(
    "written",
    ["net:https://a.com/**", "net:https://a.com get", "net:https://**.a.com/** get", "net:https://A.com/** get",
     "net:https://u@a.com/** get", "net:ftp://a.com/** get", "net:https://** get"],
)  # fmt: skip
def test_a_right_to_the_web_says_how_far_it_goes(written: str) -> None:
    with pytest.raises(Invalid, match="is no right"):
        Right.parse(written)


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [("POST", 301, "GET"), ("POST", 302, "GET"), ("POST", 303, "GET"), ("POST", 307, "POST"), ("POST", 308, "POST"),
     ("HEAD", 303, "HEAD"), ("PUT", 302, "PUT"), ("PUT", 303, "GET"), ("GET", 301, "GET")],
)  # fmt: skip
def test_what_a_redirect_makes_of_a_request(method: str, status: int, then: str) -> None:
    request = Request(parse_url("https://a.com/x"), method, (("Content-Type", "t"),), b"body")
    following = redirected(request, status, (("location", "y z"),))
    assert following is not None
    assert (following.method, str(following.url)) == (then, "https://a.com/y%20z")
    assert following.body == (b"" if then != method else b"body")


def test_what_is_no_redirect_is_the_answer() -> None:
    request = Request(parse_url("https://a.com/x"), "GET")
    assert redirected(request, 302, ()) is None
    assert redirected(request, 304, (("location", "/"),)) is None
    with pytest.raises(IOFailed):
        redirected(request, 302, (("location", "http://[/"),))


@given(TEXTS)
def test_no_location_breaks_the_parser(location: str) -> None:
    try:
        url = join_url(parse_url("https://a.com/b/c"), location)
    except (Invalid, ValueError):
        return
    assert parse_url(str(url)) == url
