"""The way out: no address is called that is not public, whatever a URL or a name server says."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gateway
import pytest
from callback_servers import answering, opened, server
from processes import PATIENCE, until

from app import http_client
from app.http_client import LookUp

FINE = b"HTTP/1.1 202 x\r\nContent-Length: 0\r\n\r\n"
NOT_PUBLIC = "its address is not public"


def dns(*answers: str) -> LookUp:
    """A name server that gives these answers, addresses with a space between, one after the other."""
    waiting = list(answers)

    def look_up(host: str, *rest: Any) -> Any:
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return [found for address in answer.split() for found in gateway.look_up(address, *rest)]

    return look_up


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for the Internet: what is allowed is noted, and leads nowhere."""
    found: list[str] = []

    checked = http_client.checked_sockets

    def checked_sockets(allowed: Any) -> Callable[[Any], socket.socket]:
        def open_socket(address: Any) -> socket.socket:
            checked(allowed)(address).close()
            found.append(str(address[4][0]))
            raise ConnectionRefusedError("nobody is there")

        return open_socket

    monkeypatch.setattr("app.delivery.egress.checked_sockets", checked_sockets)
    return found


@pytest.mark.parametrize(
    "place",
    [
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "0.0.0.0",  # noqa: S104
        "169.254.169.254",
        "10.1.2.3",
        "user@10.1.2.3",
        "example.com:80@10.1.2.3",
        "100.64.0.1",
        "224.0.0.1",
        "[fe80::1]",
        "[fc00::1]",
        "0x7f.1",
        "0x7f000001",
        "127.1",
        "2130706433",
    ],
)
async def test_no_spelling_of_an_address_that_is_not_public_is_called_or_stored(
    place: str, connected: list[str]
) -> None:
    async with opened(allowed=()) as egress:
        answer = await egress.post(f"http://{place}/x", b"", {})
        refusal = await egress.refusal(f"http://{place}/x")
    assert answer.status is None
    assert not connected
    assert NOT_PUBLIC in (refusal or "")


@pytest.mark.parametrize(
    "place", ["①②⑦.⓪.⓪.①", "127。0。0。1", "0177.0.0.1", "[fe80::1%25eth0]", "a\x00.example.com", "[::1"]
)
async def test_what_is_no_host_is_neither_called_nor_stored(place: str, connected: list[str]) -> None:
    async with opened(allowed=()) as egress:
        assert (await egress.post(f"http://{place}/x", b"", {})).status is None
        assert await egress.refusal(f"http://{place}/x")
    assert not connected


async def test_a_name_that_is_bound_to_another_address_is_refused_at_the_socket(connected: list[str]) -> None:
    async with opened(allowed=(), look_up=dns("8.8.8.8", "127.0.0.1")) as egress:
        assert await egress.refusal("http://a.example.com/x") is None
        answer = await egress.post("http://a.example.com/x", b"", {})
    assert NOT_PUBLIC in (answer.error or "")
    assert connected == []


@pytest.mark.parametrize("found", ["10.0.0.1 8.8.8.8", "8.8.8.8 10.0.0.1", "::1 8.8.8.8 169.254.169.254"])
async def test_only_the_public_one_of_several_addresses_is_called(found: str, connected: list[str]) -> None:
    async with opened(allowed=(), look_up=dns(found)) as egress:
        assert await egress.refusal("http://a.example.com/x") is None
        await egress.post("http://a.example.com/x", b"", {})
    assert set(connected) == {"8.8.8.8"}


async def test_a_name_that_leads_inside_is_refused_without_the_address(connected: list[str]) -> None:
    async with opened(allowed=(), look_up=dns("10.20.30.40")) as egress:
        refusal = await egress.refusal("http://intranet.example.com/x")
        answer = await egress.post("http://intranet.example.com/x", b"", {})
    assert refusal == answer.error
    assert "10.20.30.40" not in (refusal or "10.20.30.40")
    assert "GATEWAY_CALLBACK_ALLOWED_NETWORKS" in (refusal or "")


async def test_a_network_can_be_allowed() -> None:
    async with server(answering(FINE)) as url, opened() as egress:
        assert await egress.refusal(url) is None
        assert (await egress.post(url, b"{}", {})).accepted
        refused = await egress.post("http://10.0.0.1/", b"", {})
    assert "(private)" in (refused.error or "")


async def test_a_port_of_another_protocol_is_refused_everywhere(connected: list[str]) -> None:
    async with opened(allowed=("0.0.0.0/0",)) as egress:
        for url in ("http://127.0.0.1:25/", "https://8.8.8.8:6379/"):
            assert "another protocol" in (await egress.refusal(url) or "")
            assert "another protocol" in ((await egress.post(url, b"", {})).error or "")
    assert not connected


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:2")
    async with server(answering(FINE)) as url, opened() as egress:
        assert (await egress.post(url, b"{}", {})).accepted


class Hanging:
    """A name server that does not answer for names that begin so, until it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = threading.Event()

    def look_up(self, host: str, *rest: Any) -> Any:
        self.asked.append(host)
        if host.startswith("hang"):
            self.answer.wait(10 * PATIENCE)
        return gateway.look_up("127.0.0.1", *rest)


async def test_names_that_hang_do_not_delay_another() -> None:
    names = Hanging()
    async with server(answering(FINE)) as url, opened(look_up=names.look_up) as egress:
        port = url.split(":")[2]
        hanging = [f"http://hang-{number}.example.com:{port}" for number in range(50)]
        hung = [asyncio.create_task(egress.post(name, b"{}", {})) for name in hanging]
        await until(lambda: len(names.asked) == len(hung), "look-ups that hang")
        try:
            answer = await egress.post(f"http://fine.example.com:{port}", b"{}", {})
        finally:
            names.answer.set()
            await asyncio.gather(*hung)
    assert (answer.status, answer.error) == (202, None)


async def test_a_name_that_hangs_has_one_thread_and_is_refused_meanwhile() -> None:
    names = Hanging()
    resolver = http_client.Resolver(1, patience=0.05, look_up=names.look_up)
    try:
        while not names.asked:  # a thread that has not begun when nobody waits any more never does
            with suppress(OSError):
                await resolver.resolve("hang")
        for host in ("hang", "waits", "hang"):
            with pytest.raises(OSError, match=r"not found within 0\.05 s"):
                await resolver.resolve(host)
        assert names.asked == ["hang"]
        names.answer.set()
        while True:
            try:
                found = await resolver.resolve("later", 80)
                break
            except OSError:
                await asyncio.sleep(0.01)
        assert [(answer["host"], answer["port"]) for answer in found] == [("127.0.0.1", 80)]
        assert "waits" not in names.asked
    finally:
        names.answer.set()
        await resolver.close()


async def test_who_waits_for_a_look_up_that_ends_is_refused_and_not_cancelled() -> None:
    """Between the end of its time and the moment when all have heard of it, others come."""
    names = Hanging()
    resolver = http_client.Resolver(1, patience=60, look_up=names.look_up)
    hung = asyncio.create_task(resolver.resolve("hang"))
    waiting = [asyncio.create_task(resolver.resolve("waits"))]
    await asyncio.sleep(0)
    resolver._running["waits", socket.AF_INET].running.cancel()  # as whoever came first and gives up does
    while not waiting[0].done():
        waiting.append(asyncio.create_task(resolver.resolve("waits")))
        await asyncio.sleep(0)
    names.answer.set()
    found = await asyncio.gather(*waiting, hung, return_exceptions=True)
    await resolver.close()
    assert {type(answer) for answer in found} == {OSError, list}
    assert type(found[0]) is OSError


async def test_a_name_that_is_not_known_in_time_may_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.delivery.egress._LONGEST_CHECK", 0.05)
    names = Hanging()
    async with opened(allowed=(), look_up=names.look_up) as egress:
        try:
            assert await egress.refusal("http://hang.example.com/") is None
        finally:
            names.answer.set()
    async with opened() as egress:
        assert await egress.refusal("http://nowhere.example.com/") is None
