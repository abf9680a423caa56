import socket

import pytest

from service.identity import is_exposed


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "127.1", "::ffff:127.0.0.1"]
)
def test_loopback_is_not_exposed(host):
    assert not is_exposed(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "0", "192.168.1.7", "::ffff:0.0.0.0", "::ffff:10.0.0.1", "fe80::1"],
)
def test_any_other_address_is(host):
    assert is_exposed(host)


def test_a_name_is_exposed_if_any_of_its_addresses_is(monkeypatch):
    def resolve(host, *arguments, **options):
        return [(0, 0, 0, "", ("127.0.0.1", 0)), (0, 0, 0, "", ("10.0.0.7", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert is_exposed("node-7.example")
