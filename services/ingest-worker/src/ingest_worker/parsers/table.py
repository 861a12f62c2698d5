"""CSV, through langchain-community's CSVLoader: a row is one paragraph of `column: value` lines."""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from itertools import islice

from langchain_community.document_loaders.csv_loader import CSVLoader

from ingest_worker.documents import ParsedDocument, ParserLimits, Section
from ingest_worker.kinds import Kind
from ingest_worker.parsers.cleaning import clean, tidy
from ingest_worker.parsers.decoding import decode
from ingest_worker.parsers.memory_file import memory_file
from sluice.errors import UnreadableDocumentError

_DELIMITERS = ",;\t|"
_SAMPLE_CHARACTERS = 50_000
_SAMPLE_ROWS = 50
_BLANK_LINE = re.compile(r"\n\s*\n")


def parse(data: bytes, limits: ParserLimits) -> ParsedDocument:
    """One section: rows are apart by a blank line, so that the splitter cuts between rows first."""
    csv.field_size_limit(sys.maxsize)
    text = clean(decode(data))
    rows: list[str] = []
    characters = 0
    for row in _rows(text, delimiter_of(text)):
        rows.append(row)
        characters += len(row)
        if characters > limits.text_characters:
            break  # the caller refuses it; reading on would only cost
    if not rows:
        raise UnreadableDocumentError("no text found: the CSV has no rows below its header")
    return ParsedDocument(Kind.CSV, None, (Section("\n\n".join(rows)),))


def delimiter_of(text: str) -> str:
    """The delimiter that cuts the first rows into the most regular table; csv.Sniffer guesses words in prose."""
    return max(_DELIMITERS, key=lambda delimiter: _regularity(text[:_SAMPLE_CHARACTERS], delimiter))


def _regularity(sample: str, delimiter: str) -> tuple[float, int]:
    widths = [len(row) for row in islice(csv.reader(StringIO(sample), delimiter=delimiter), _SAMPLE_ROWS) if row]
    width, rows = Counter(widths).most_common(1)[0] if widths else (0, 0)
    return (rows / len(widths), width) if width > 1 else (0.0, width)


def _rows(text: str, delimiter: str) -> Iterator[str]:
    columns = _columns(next((row for row in csv.reader(StringIO(text), delimiter=delimiter) if row), list[str]()))
    options = {"fieldnames": columns, "restkey": "more", "restval": "", "delimiter": delimiter}
    empty = {f"{column}:" for column in [*columns, "more"]}
    with memory_file(text.encode()) as path:
        # fieldnames are given, so the header comes first, as a row
        for document in islice(CSVLoader(path, csv_args=options, encoding="utf-8").lazy_load(), 1, None):
            lines = _BLANK_LINE.sub("\n", tidy(document.page_content)).split("\n")
            row = "\n".join(line for line in lines if line not in empty)
            if row:
                yield row


def _columns(header: list[str]) -> list[str]:
    """The header's names, each on one line; an empty or a second one gets its number."""
    columns: dict[str, None] = {}
    for number, cell in enumerate(header, start=1):
        name = " ".join(cell.split()) or f"column {number}"
        columns[name if name not in columns else f"{name} ({number})"] = None
    return list(columns)
