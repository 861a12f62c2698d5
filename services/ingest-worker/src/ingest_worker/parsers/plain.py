"""TXT. Not through TextLoader: it knows no byte order marks and gives up on a single wrong byte."""

from ingest_worker.documents import ParsedDocument, ParserLimits, Section
from ingest_worker.kinds import Kind
from ingest_worker.parsers.cleaning import tidy
from ingest_worker.parsers.decoding import decode


def parse(data: bytes, limits: ParserLimits) -> ParsedDocument:
    return ParsedDocument(kind=Kind.TXT, title=None, sections=(Section(tidy(decode(data))),))
