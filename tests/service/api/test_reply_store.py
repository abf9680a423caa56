from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from service.api.reply_store import KeptReply, ReplyStore

KEYS = st.sampled_from([bytes([number]) for number in range(8)])


def reply(body: bytes) -> KeptReply:
    return KeptReply(b"digest", 200, ((b"content-type", b"x"),), body)


class Clock:
    """Time that passes when a test says so, and what is to be called meanwhile."""

    def __init__(self):
        self.now = 0.0
        self.timers = []

    def __call__(self):
        return self.now

    def later(self, seconds, call):
        self.timers.append((self.now + seconds, call))

    def passes(self, seconds):
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            first = min(due, key=lambda timer: timer[0])
            self.timers.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end


def store_of(clock=None, **bounds):
    clock = clock or Clock()
    return ReplyStore(**bounds, clock=clock, later=clock.later)


def keep(store, key):
    assert store.begin(key)
    store.end(key, reply(b"x"))


def test_one_timer_forgets_every_reply_in_its_time_though_nobody_asks():
    clock = Clock()
    store = store_of(clock, entries=9, max_bytes=90_000, expiry=5)
    keep(store, b"a")
    clock.passes(2)
    keep(store, b"b")
    keep(store, b"c")
    assert len(clock.timers) == 1
    clock.passes(3)
    assert len(store) == 2
    assert len(clock.timers) == 1
    clock.passes(2)
    assert (len(store), store.bytes, clock.timers) == (0, 0, [])
    keep(store, b"a")
    clock.passes(5)
    assert (len(store), clock.timers) == (0, [])


def test_requests_of_which_nothing_is_kept_take_no_timer():
    clock = Clock()
    store = store_of(clock, entries=2, max_bytes=2_000, expiry=5)
    for body in (None, reply(bytes(2_001))):
        assert store.begin(b"a")
        store.end(b"a", body)
    assert not clock.timers


def test_a_reply_that_made_room_does_not_shorten_the_time_of_the_next():
    clock = Clock()
    store = store_of(clock, entries=1, max_bytes=90_000, expiry=5)
    keep(store, b"a")
    clock.passes(2)
    keep(store, b"b")
    assert len(clock.timers) == 1
    clock.passes(4.5)
    assert store.find(b"b") is not None
    clock.passes(0.5)
    assert (len(store), clock.timers) == (0, [])


def test_a_reply_is_found_until_it_expires():
    clock = Clock()
    store = store_of(clock, entries=2, max_bytes=10_000, expiry=5)
    assert store.begin(b"a")
    assert store.in_flight(b"a")
    store.end(b"a", reply(b"x"))
    clock.now = 4.9
    assert store.find(b"a").body == b"x"
    clock.now = 5.0
    assert store.find(b"a") is None
    assert (len(store), store.bytes) == (0, 0)


def test_the_oldest_reply_makes_room():
    store = store_of(entries=2, max_bytes=10_000, expiry=5)
    for key in (b"a", b"b", b"c"):
        assert store.begin(key)
        store.end(key, reply(b""))
    assert store.find(b"a") is None
    assert store.find(b"c") is not None


def test_keys_in_flight_never_make_room():
    store = store_of(entries=1, max_bytes=10_000, expiry=5)
    assert store.begin(b"a")
    assert not store.begin(b"b")


def test_a_reply_larger_than_all_room_is_not_kept():
    store = store_of(entries=2, max_bytes=2_000, expiry=5)
    assert store.begin(b"a")
    assert not store.gather(b"a", 2_001)
    store.end(b"a", reply(bytes(2_001)))
    assert (len(store), store.bytes, store.find(b"a")) == (0, 0, None)


def test_a_reply_for_which_there_cannot_be_room_forgets_no_other():
    store = store_of(entries=3, max_bytes=2_000, expiry=5)
    store.begin(b"a")
    store.end(b"a", reply(b""))
    for key in (b"b", b"c"):
        assert store.begin(key)
    assert not store.gather(b"b", 2_001)
    store.end(b"b", None)
    store.end(c := b"c", reply(bytes(2_001)))
    assert store.find(c) is None
    assert store.find(b"a") is not None


class Bounds(RuleBasedStateMachine):
    """Whatever happens: never over the bounds, never another key's reply, no byte lost."""

    @initialize(entries=st.integers(1, 5), room=st.integers(0, 6_000), expiry=st.floats(1, 9))
    def begin_with(self, entries, room, expiry):
        self.clock = Clock()
        self.entries, self.room = entries, room
        self.store = store_of(self.clock, entries=entries, max_bytes=room, expiry=expiry)
        self.flying: dict[bytes, bytes] = {}

    @rule(key=KEYS)
    def begin(self, key):
        if self.store.find(key) is None and not self.store.in_flight(key):
            if self.store.begin(key):
                self.flying[key] = b""
            else:
                assert len(self.flying) == self.entries

    @rule(key=KEYS, size=st.integers(0, 3_000))
    def gather(self, key, size):
        if key in self.flying and self.store.gather(key, size):
            self.flying[key] += key * size

    @rule(key=KEYS, keep=st.booleans())
    def end(self, key, keep):
        if key in self.flying:
            body = self.flying.pop(key)
            self.store.end(key, reply(body) if keep else None)

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds):
        self.clock.passes(seconds)

    @rule(key=KEYS)
    def look(self, key):
        found = self.store.find(key)
        assert found is None or set(found.body) <= set(key)

    @invariant()
    def within_the_bounds(self):
        if not hasattr(self, "store"):
            return
        assert len(self.store) <= self.entries
        assert 0 <= self.store.bytes <= self.room
        kept = sum(kept.size for _, kept in self.store._replies.values())
        gathered = sum(len(body) for body in self.flying.values())
        assert self.store.bytes == kept + gathered
        assert len(self.clock.timers) <= 1
        assert self.clock.timers or not self.store._replies


TestBounds = Bounds.TestCase
TestBounds.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
