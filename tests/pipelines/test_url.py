"""Fetching from the web: what comes back, and every address that must be refused."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from visgen.errors import ImageError
from visgen.pipelines import url as url_module
from visgen.pipelines.url import fetch_bytes, is_public


def test_the_body_comes_back(site: Any) -> None:
    body = bytes(range(256)) * 1000
    site.pages["/a.png?x=1"] = (200, {}, body)
    assert fetch_bytes(site.url("/a.png?x=1"), allow_private=True) == body


def test_redirects_are_followed(site: Any) -> None:
    site.pages["/1"] = (302, {"Location": "/2"}, b"")
    site.pages["/2"] = (307, {"Location": site.url("/3")}, b"")
    site.pages["/3"] = (200, {}, b"there")
    assert fetch_bytes(site.url("/1"), allow_private=True) == b"there"
    assert site.hits == ["/1", "/2", "/3"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("192.0.0.192", False),
        ("168.63.129.16", False),
        ("::ffff:192.0.0.192", False),
        ("::127.0.0.1", False),
        ("64:ff9b:1::a00:1", False),
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),  # carrier-grade NAT, RFC 6598
        ("169.254.169.254", False),  # where clouds serve credentials
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),  # 127.0.0.1 through NAT64
        ("2002:7f00:1::", False),  # 127.0.0.1 through 6to4
    ],
)
def test_public_addresses_are_told_from_others(address: str, expected: bool) -> None:
    assert is_public(address) is expected


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001"])
def test_this_machine_is_refused_under_every_name(site: Any, host: str) -> None:
    with pytest.raises(ImageError, match=r"127\.0\.0\.1|::1") as caught:
        fetch_bytes(site.url("/", host=host))
    assert "not a public internet address" in str(caught.value)
    assert site.hits == []


def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 80)) for a in ("93.184.215.14", "10.0.0.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answer)
    with pytest.raises(ImageError, match=r"host 'innocent\.example' at 10\.0\.0\.7"):
        fetch_bytes("http://innocent.example/a.jpg")


def test_the_checked_address_is_the_one_that_is_used(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers with another address the second time gets no second question."""
    site.pages["/"] = (200, {}, b"here")
    asked: list[str] = []

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.99"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    real = socket.create_connection
    targets: list[Any] = []

    def connect(address: Any, *args: Any, **kwargs: Any) -> Any:
        targets.append(address[0])
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(5)
        sock.connect(address)
        return sock

    assert real is not connect
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    assert fetch_bytes(site.url("/", host="rebinding.example"), allow_private=True) == b"here"
    assert asked == ["rebinding.example"]
    assert targets == ["127.0.0.1"]


def test_a_redirect_into_the_private_network_is_refused(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_module, "is_public", lambda address: address == "127.0.0.1")
    site.pages["/open"] = (302, {"Location": site.url("/secret", host="127.0.0.2")}, b"")
    site.pages["/secret"] = (200, {}, b"password")
    with pytest.raises(ImageError, match=r"127\.0\.0\.2, which is not a public"):
        fetch_bytes(site.url("/open"))
    assert site.hits == ["/open"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.com/a.jpg", "gopher://example.com/"])
def test_other_schemes_are_refused_also_after_a_redirect(site: Any, target: str) -> None:
    with pytest.raises(ImageError, match="only those are fetched"):
        fetch_bytes(target)
    site.pages["/"] = (302, {"Location": target}, b"")
    with pytest.raises(ImageError, match="only those are fetched"):
        fetch_bytes(site.url("/"), allow_private=True)


def test_endless_redirects_end(site: Any) -> None:
    site.pages["/"] = (302, {"Location": "/"}, b"")
    with pytest.raises(ImageError, match="more than 5 times"):
        fetch_bytes(site.url("/"), allow_private=True)
    assert len(site.hits) == 6


def test_credentials_and_bad_ports_are_refused() -> None:
    with pytest.raises(ImageError, match="user name or password") as caught:
        fetch_bytes("http://me:hunter2@example.com/a.jpg")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ImageError, match="not an address"):
        fetch_bytes("http://example.com:99999/a.jpg")
    with pytest.raises(ImageError, match="port 0"):
        fetch_bytes("http://example.com:0/a.jpg")


def test_a_missing_page_names_its_status(site: Any) -> None:
    with pytest.raises(ImageError, match=r"/gone' answered with status 404"):
        fetch_bytes(site.url("/gone"), allow_private=True)


def test_a_large_body_is_cut_whether_declared_or_not(site: Any) -> None:
    site.pages["/declared"] = (200, {}, b"x" * 5000)

    def undeclared(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"x" * 5000)

    site.pages["/undeclared"] = undeclared
    for page in ("/declared", "/undeclared"):
        with pytest.raises(ImageError, match="larger than 4999 bytes"):
            fetch_bytes(site.url(page), allow_private=True, max_bytes=4999)
        assert len(fetch_bytes(site.url(page), allow_private=True, max_bytes=5000)) == 5000


def test_a_body_that_breaks_off_is_an_error(site: Any) -> None:
    site.pages["/"] = (200, {"Content-Length": "100"}, b"x" * 40)
    with pytest.raises(ImageError, match="could not be fetched|ended after 40 of 100 bytes"):
        fetch_bytes(site.url("/"), allow_private=True)


def test_a_server_that_drips_is_left_at_the_deadline(site: Any) -> None:
    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            try:
                handler.wfile.write(b"x")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)

    site.pages["/"] = drip
    start = time.perf_counter()
    with pytest.raises(ImageError, match=r"longer than 0\.4 seconds"):
        fetch_bytes(site.url("/"), allow_private=True, timeout=0.4)
    assert time.perf_counter() - start < 3


def test_a_closed_port_is_an_image_error() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ImageError, match="could not be fetched"):
        fetch_bytes(f"http://127.0.0.1:{port}/", allow_private=True)
