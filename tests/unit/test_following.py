"""What a reader of a reply log makes of what it is told: everything once, in order, or a look into the log."""

from sluice.following import Follower, LogEntry


def told(*ids: str) -> list[LogEntry]:
    return [LogEntry.of(entry_id, {b"event": b"token", b"data": b"{}"}) for entry_id in ids]


def follower_that_looked() -> Follower:
    follower = Follower()
    assert follower.after((0, 0)) is None, "a new reader reads what was written before it came"
    return follower


def test_entries_that_follow_each_other_are_given_without_a_look_and_once() -> None:
    follower = follower_that_looked()
    follower.hear(told("1-4", "1-5"))
    follower.hear(told("1-6"))
    assert follower.after((1, 3)) == told("1-4", "1-5", "1-6")
    assert follower.after((1, 6)) == []


def test_what_was_read_already_is_left_out() -> None:
    follower = follower_that_looked()
    follower.hear(told("1-4", "1-5", "1-6"))
    assert follower.after((1, 5)) == told("1-6")


def test_behind_a_gap_the_log_has_to_be_read() -> None:
    for missing in (["1-5"], ["2-0"], ["4294967295-0"], ["1-4", "1-6"]):
        follower = follower_that_looked()
        follower.hear(told(*missing))
        assert follower.after((1, 3)) is None, missing


def test_a_reader_that_is_told_to_look_looks_once() -> None:
    follower = follower_that_looked()
    follower.hear(told("1-4"))
    follower.look()
    assert follower.after((1, 3)) is None
    assert follower.after((1, 4)) == []


def test_a_payload_is_three_lines_an_entry_and_an_empty_one_tells_nothing() -> None:
    payload = '1-4\ntoken\n{"text": "Zoë"}\n1-5\ndone\n{}'.encode()
    assert [(entry.position, entry.name, entry.data) for entry in LogEntry.told(payload)] == [
        ((1, 4), "token", '{"text": "Zoë"}'),
        ((1, 5), "done", "{}"),
    ]
    assert LogEntry.told(b"") == []
