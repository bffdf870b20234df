"""Text on the page: escaped, visible, and numbers as people write them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kshot.report.markup import number, percent, shown, split_reason, table


class Reader(HTMLParser):
    """Collects the text and the tags of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


@given(st.text())
def test_text_never_becomes_markup(text: str) -> None:
    reader = Reader()
    reader.feed(f'<p title="{shown(text)}">{shown(text)}</p>')
    assert reader.tags == ["p"]
    assert all(character.isprintable() for character in reader.text)


def test_printable_text_stays_as_it_is() -> None:
    reader = Reader()
    reader.feed(f"<p>{shown('Zürich & <b> 10 → 20')}</p>")
    assert reader.text == "Zürich & <b> 10 → 20"


def test_what_cannot_be_seen_is_shown() -> None:
    assert shown("a\u202eb\x1b\ud800") == "a\\u202eb\\x1b\\ud800"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1_234_567, "1,234,567"), (0.00012345, "0.000123"), (float("nan"), "none"), (1e20, "1e+20")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(0, 1))
def test_only_all_and_nothing_are_called_so(share: float) -> None:
    assert (percent(share) == "100 %") == (share == 1.0)
    assert (percent(share) == "0 %") == (share == 0.0)


def test_a_table_names_its_rows_and_columns() -> None:
    text = table("what", [("threat", ""), ("flows", "number")], [("dns", "5")])
    assert '<th scope="col"' in text and '<th scope="row"' in text and "<caption>what</caption>" in text


def test_a_reason_without_a_colon_is_kept() -> None:
    assert split_reason("url entropy is missing, as the shots") == ("url entropy is missing, as the shots", "")
