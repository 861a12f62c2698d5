"""Markdown, kept as it is written: its marks tell a reader, and a model, what is a heading, a list, a table."""

import re

from ingest_worker.documents import ParsedDocument, ParserLimits, Section
from ingest_worker.kinds import Kind
from ingest_worker.parsers.cleaning import tidy, title_from
from ingest_worker.parsers.decoding import decode

_FIRST_HEADING = re.compile(r"^# +(.{1,500})$", re.M)


def parse(data: bytes, limits: ParserLimits) -> ParsedDocument:
    text = tidy(decode(data))
    heading = _FIRST_HEADING.search(text[:10_000])
    title = title_from(heading.group(1)) if heading else None
    return ParsedDocument(kind=Kind.MARKDOWN, title=title, sections=(Section(text),))
