from __future__ import annotations

from cri.cli.cri_log import Parser, parse

LOG = b"2024-01-01T00:00:00.1Z stdout F one two\n2024-01-01T00:00:00.2Z stderr P half\nrubbish\nt stdout F:x  lead\n"


def test_entries_come_out_however_the_bytes_come_in() -> None:
    whole = list(Parser().feed(LOG))
    parser = Parser()
    assert [entry for byte in LOG for entry in parser.feed(bytes([byte]))] == whole
    assert [(entry.stream, entry.text, entry.full) for entry in whole] == [
        (b"stdout", b"one two", True),
        (b"stderr", b"half", False),
        (b"stdout", b" lead", True),
    ]


def test_a_line_that_is_no_entry_is_passed_over() -> None:
    assert [parse(line) for line in (b"", b"a b", b"t stdout X text", b"t stdin F text", b"t stdout F")] == [None] * 5


def test_an_empty_line_is_an_entry() -> None:
    entry = parse(b"t stdout F ")
    assert entry
    assert entry.text == b""
