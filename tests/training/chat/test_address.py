"""Data goes to private addresses only, unless the user says otherwise."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.chat.address import endpoint_of
from training.chat.errors import ChatError


def to(*addresses: str):
    return lambda host, port: addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.9",
        "172.31.255.1",
        "192.168.1.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ],
)
def test_loopback_and_private_addresses_are_asked(address: str) -> None:
    endpoint = endpoint_of("http://teacher.lan:8000/v1", resolve=to(address))
    assert endpoint.url.host == address
    assert endpoint.host == "teacher.lan:8000"
    assert endpoint.server_name == "teacher.lan"


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "0.0.0.0",
    ],
)
def test_other_addresses_are_refused_with_the_terms_and_the_way_out(address: str) -> None:
    with pytest.raises(ChatError, match=r"public address.*PhysioNet.*--allow-remote"):
        endpoint_of("https://api.example.com/v1", resolve=to(address))


def test_a_name_with_one_public_address_is_refused() -> None:
    with pytest.raises(ChatError, match="public address"):
        endpoint_of("http://teacher.lan", resolve=to("10.0.0.1", "8.8.8.8"))


@given(st.ip_addresses().filter(lambda address: address.is_global))
def test_no_global_address_is_ever_asked(address) -> None:
    with pytest.raises(ChatError):
        endpoint_of("http://teacher.lan", resolve=to(str(address)))


def test_a_public_address_is_asked_where_the_user_allows_it() -> None:
    endpoint = endpoint_of("https://api.example.com/v1", allow_remote=True)
    assert str(endpoint.url) == "https://api.example.com/v1/chat/completions"


@pytest.mark.parametrize(
    ("teacher", "path"),
    [
        ("http://127.0.0.1:8000", "/v1/chat/completions"),
        ("http://127.0.0.1:8000/", "/v1/chat/completions"),
        ("http://127.0.0.1:8000/v1", "/v1/chat/completions"),
        ("http://127.0.0.1:8000/v1/", "/v1/chat/completions"),
        ("http://127.0.0.1:8000/proxy/v1", "/proxy/v1/chat/completions"),
        ("http://127.0.0.1:8000/v1/chat/completions", "/v1/chat/completions"),
    ],
)
def test_the_path_is_that_of_chat_completions(teacher: str, path: str) -> None:
    assert endpoint_of(teacher).url.path == path


@pytest.mark.parametrize(
    "teacher",
    [
        "",
        "localhost:8000",
        "ftp://127.0.0.1",
        "/v1",
        "http://",
        "http://k:v@127.0.0.1",
        "http://127.0.0.1/v1?key=1",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused(teacher: str) -> None:
    with pytest.raises(ChatError, match="--judge"):
        endpoint_of(teacher, option="--judge")


def test_a_host_that_is_not_known_is_named() -> None:
    def unknown(host: str, port: int):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(ChatError, match=r"nowhere\.lan, is not known"):
        endpoint_of("http://nowhere.lan", resolve=unknown)
