"""A vendor's own hosts: the token of an account goes to nobody else, whatever an answer names."""

from __future__ import annotations

import pytest

from app.errors import VendorUnavailable
from app.upstream.hosts import Hosts

HOSTS = Hosts(
    {"": "https://api.vendor.com", "upload": "http://127.0.0.1:9100/up"}, ("vendor.com", "vendorcloud.com")
)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.vendor.com/x?y=z",
        "https://API.vendor.com:443/x",
        "https://dl.vendorcloud.com/x",
        "https://vendor.com/x",
        "http://127.0.0.1:9100/other",
    ],
)
def test_a_url_of_the_vendor_is_its_own(url: str) -> None:
    assert HOSTS.own(url)
    assert HOSTS.url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.vendor.com/x",
        "http://127.0.0.1:9101/up",
        "https://127.0.0.1:9100/up",
        "http://169.254.169.254/latest/meta-data",
        "https://evilvendor.com/",
        "https://vendor.com.evil.net/",
        "https://evil.net/vendor.com",
        "https://evil.net#.vendor.com",
        "https://evil.net\\@vendor.com/",
        "https://user@api.vendor.com/",
        "https://api.vendor.com@evil.net/",
        "https://[::1]/",
        "http://[",
    ],
)
def test_another_url_is_not(url: str) -> None:
    assert not HOSTS.own(url)
    with pytest.raises(VendorUnavailable, match="not one of its own"):
        HOSTS.url(url)


def test_a_path_is_on_the_host_that_is_asked() -> None:
    assert HOSTS.url("/x") == "https://api.vendor.com/x"
    assert HOSTS.url("/x", "upload") == "http://127.0.0.1:9100/up/x"
    assert HOSTS.url("//evil.net/x") == "https://api.vendor.com//evil.net/x"
