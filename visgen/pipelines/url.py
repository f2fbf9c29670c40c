"""Fetch a picture from the web without letting its address reach into the private network."""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from ..errors import ImageError

__all__ = ["fetch_bytes", "is_public"]

MAX_BYTES = 50 * 2**20  # a 12-Mpx JPEG has 3 to 8 MB, a 12-Mpx PNG up to 40
MAX_REDIRECTS = 5
TIMEOUT = 20.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_CLOSED = [  # refused whatever `ipaddress` says; that of Python before 3.12.4 lets nearly all of them through
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 tells machines in Oracle's cloud their secrets
        "168.63.129.16/32",  # does so in Azure's
        "::/96",  # IPv4 addresses in the form of RFC 4291, no longer in use
        "64:ff9b:1::/48",  # RFC 8215: IPv4 addresses as a network of its own translates them
        "3fff::/20",  # RFC 9637: documentation
        "5f00::/16",  # RFC 9602: segment routing
    )
]
_REDIRECTS = (301, 302, 303, 307, 308)
_WAY_OUT = "download the file yourself, or pass allow_private=True (--allow-private) if you trust the address"


def fetch_bytes(
    url: str, *, allow_private: bool = False, timeout: float = TIMEOUT, max_bytes: int = MAX_BYTES
) -> bytes:
    """Give the body behind an http(s) address.

    The host is resolved once, every address it has is checked, and the connection goes to a checked address, so a
    name server cannot answer differently the second time. Each redirect is checked the same way. Proxies and
    credentials in the address are not used.

    Args:
        url: http:// or https:// address.
        allow_private: Let loopback, link-local, private and reserved addresses through (a local test server).
        timeout: Seconds for the whole transfer, redirects included.
        max_bytes: Largest body taken.
    Raises:
        ImageError: Another scheme, a refused address, a failed or slow transfer, a status other than 200, too many
            redirects, or a body over `max_bytes`; the message names `url`.
    """
    deadline = time.monotonic() + timeout
    current = url
    for _ in range(MAX_REDIRECTS + 1):
        target, body = _request(url, current, allow_private, deadline, timeout, max_bytes)
        if body is not None:
            return body
        current = target
    raise ImageError(f"'{url}' was redirected more than {MAX_REDIRECTS} times; give the final address.")


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the public internet; IPv4 addresses inside IPv6 ones are unpacked.

    Addresses at which clouds tell a machine its secrets do not, although 168.63.129.16 is registered as public.
    """
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
        if inner is not None and (ip.ipv4_mapped or ip in _NAT64):
            return True
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _CLOSED)


def _request(
    url: str, current: str, allow_private: bool, deadline: float, timeout: float, max_bytes: int
) -> tuple[str, bytes | None]:
    """One hop: (address to follow, None) for a redirect, ("", body) for an answer."""
    parts = _split(url, current)
    try:
        with_tls = parts.scheme == "https"
        connection = _connect(url, parts, with_tls, allow_private, deadline)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "visgen"}
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as response:
                if response.status in _REDIRECTS and response.getheader("Location"):
                    return urljoin(current, str(response.getheader("Location"))), None
                if response.status != 200:
                    raise ImageError(f"'{url}' answered with status {response.status}, not 200; check the address.")
                return "", _read(url, response, max_bytes)
        finally:
            connection.close()
    except TimeoutError:
        raise ImageError(f"'{url}' took longer than {timeout:g} seconds; download it yourself.") from None
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise ImageError(f"'{url}' could not be fetched: {error}; check the address and the network.") from error


def _split(url: str, current: str) -> SplitResult:
    try:
        parts = urlsplit(current)
        port = parts.port
    except ValueError as error:
        raise ImageError(f"'{current}' is not an address ({error}); use http:// or https://.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        hop = "" if current == url else f" (reached from '{url}')"
        raise ImageError(f"'{current}'{hop} is not an http or https address; only those are fetched.")
    if parts.username is not None or parts.password is not None:
        raise ImageError(f"the address of host '{parts.hostname}' carries a user name or password; remove them.")
    if port == 0:
        raise ImageError(f"'{current}' names port 0; leave the port out or use 1..65535.")
    return parts


def _connect(
    url: str, parts: SplitResult, with_tls: bool, allow_private: bool, deadline: float
) -> http.client.HTTPConnection:
    host = str(parts.hostname)
    port = parts.port or (443 if with_tls else 80)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private:
        for address in addresses:
            if not is_public(address):
                raise ImageError(
                    f"'{url}' leads to host '{host}' at {address}, which is not a public internet address; {_WAY_OUT}."
                )
    last: OSError | None = None
    for address in addresses:
        try:
            sock = socket.create_connection((address, port), timeout=_left(deadline))
        except OSError as error:
            last = error
            continue
        if with_tls:
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if with_tls else 80  # what the Host header leaves out
        connection.sock = _TimedSocket(sock, deadline)
        return connection
    raise last or OSError(f"host '{host}' has no address")


class _TimedSocket:
    """A socket whose every send and read has only the time left until one deadline (a server may drip bytes)."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()  # the file from `makefile` keeps the connection open until it is closed too


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _read(url: str, response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    too_large = ImageError(f"'{url}' is larger than {max_bytes} bytes, the most that is fetched; download it yourself.")
    declared = response.getheader("Content-Length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    body = bytearray()
    while chunk := response.read1(65536):
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    if declared.isdigit() and len(body) < int(declared):
        raise ImageError(f"'{url}' ended after {len(body)} of {declared} bytes; try again.")
    return bytes(body)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
