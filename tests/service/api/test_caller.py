from types import SimpleNamespace

from service.api.caller import caller_of


def scope(principal=None, address="192.0.2.1"):
    state = {} if principal is None else {"principal": principal}
    return {"state": state, "client": (address, 40_000)}


def test_a_principal_is_one_caller_wherever_it_calls_from():
    named = SimpleNamespace(name="pacs", kind="api-key")
    assert caller_of(scope(named)) == caller_of(scope(named, "192.0.2.2"))
    assert caller_of(scope(named)) != caller_of(scope(SimpleNamespace(name="ris", kind="api-key")))


def test_without_one_the_address_counts_and_not_the_port():
    assert caller_of(scope()) == caller_of({"client": ("192.0.2.1", 5)})
    assert caller_of(scope()) != caller_of(scope(address="192.0.2.2"))


def test_an_anonymous_principal_is_none():
    anonymous = SimpleNamespace(name="anonymous", kind="anonymous")
    assert caller_of(scope(anonymous)) == caller_of(scope())


def test_a_name_that_looks_like_an_address_is_not_that_address():
    named = SimpleNamespace(name="192.0.2.1", kind="api-key")
    assert caller_of(scope(named)) != caller_of(scope())
