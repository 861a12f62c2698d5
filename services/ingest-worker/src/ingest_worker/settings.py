"""All that the ingest-worker reads from its environment."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from ingest_worker.adapters.web import WebLimits
from ingest_worker.addresses import AllowedNetwork
from ingest_worker.documents import ParserLimits
from sluice.settings import StoreSettings


def _networks(value: Any) -> Any:
    """`NETWORK:PORT`, parted by commas."""
    return tuple(AllowedNetwork.parse(part) for part in value.split(",") if part) if isinstance(value, str) else value


class IngestSettings(StoreSettings):
    port: int = Field(default=8111, description="Port of /healthz, /readyz and /metrics.")
    document_concurrency: int = Field(default=2, ge=1, description="Documents that one ingest-worker reads at once.")
    bulk_concurrency: int = Field(default=1, ge=1, description="Bulk documents that it reads beside them.")
    fix_concurrency: int = Field(default=4, ge=1, description="Fixes, and deletions, that it works on beside them.")
    max_file_bytes: int = Field(default=50_000_000, ge=1, description="Largest file that is read.")
    max_pages: int = Field(default=2000, ge=1, description="Most pages of a PDF.")
    max_unpacked_bytes: int = Field(default=200_000_000, ge=1, description="Most bytes that a DOCX unpacks to.")
    max_unpacked_ratio: int = Field(default=200, ge=1, description="Most times its size that a DOCX unpacks to.")
    max_unpacked_entries: int = Field(default=5000, ge=1, description="Most parts of a DOCX.")
    max_text_characters: int = Field(default=20_000_000, ge=1, description="Most characters of a document's text.")
    parser_seconds: float = Field(default=60, gt=0, description="Longest time that reading a document takes.")
    parser_memory_bytes: int = Field(
        default=1_000_000_000, ge=200_000_000, description="Most memory that reading a document takes."
    )
    url_max_bytes: int = Field(default=20_000_000, ge=1, description="Largest body of a URL, packed and unpacked.")
    url_seconds: float = Field(default=30, gt=0, description="Longest time that fetching a URL takes.")
    url_allowed_networks: Annotated[tuple[AllowedNetwork, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(),
        description="Networks that URLs may lead to although they are private, `10.1.2.0/24:8080,...`; for tests.",
    )

    @property
    def parser_limits(self) -> ParserLimits:
        return ParserLimits(
            file_bytes=self.max_file_bytes,
            pages=self.max_pages,
            unpacked_bytes=self.max_unpacked_bytes,
            unpacked_ratio=self.max_unpacked_ratio,
            unpacked_entries=self.max_unpacked_entries,
            seconds=self.parser_seconds,
            memory_bytes=self.parser_memory_bytes,
            text_characters=self.max_text_characters,
        )

    @property
    def web_limits(self) -> WebLimits:
        return WebLimits(body_bytes=self.url_max_bytes, seconds=self.url_seconds)
