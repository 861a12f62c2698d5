"""The demo's documents and questions, as the demo relies on them."""

import io

import docx2txt
import pypdf
import pytest

from sluice.access import Level
from sluice.cli.demo.corpus import PLANTED, Sample, samples

BY_NAME = {sample.name: sample for sample in samples()}


def text_of(sample: Sample) -> str:
    if sample.format == "pdf":
        return " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(sample.content)).pages)
    if sample.format == "docx":
        return docx2txt.process(io.BytesIO(sample.content))
    return sample.content.decode()


def texts(level: Level) -> str:
    return "\n".join(text_of(sample) for sample in BY_NAME.values() if sample.level is level).lower()


def test_there_is_a_sample_of_every_format_and_both_levels_and_all_are_small() -> None:
    assert {sample.format for sample in BY_NAME.values()} == {"pdf", "docx", "csv", "txt", "md", "html"}
    assert {sample.level for sample in BY_NAME.values()} == set(Level)
    assert max(len(sample.content) for sample in BY_NAME.values()) < 50_000


@pytest.mark.parametrize("phrase", PLANTED)
def test_a_planted_phrase_stands_in_internal_documents_alone(phrase: str) -> None:
    assert phrase.lower() in texts(Level.INTERNAL)
    assert phrase.lower() not in texts(Level.EXTERNAL)


def test_the_handbook_has_a_section_a_page() -> None:
    pages = pypdf.PdfReader(io.BytesIO(BY_NAME["merchant-handbook.pdf"].content)).pages
    headings = [page.extract_text().splitlines()[0] for page in pages]
    assert headings == ["Merchant handbook", "Settlement schedule", "Chargebacks", "Keeping the account safe"]


def test_refunds_to_both_kinds_of_card_and_the_reasons_stand_in_one_passage() -> None:
    """Follow-up questions are asked of it: a passage holds 1000 characters at most."""
    text = text_of(BY_NAME["refund-times.md"])
    passage = next(paragraph for paragraph in text.split("\n\n") if "debit cards take" in paragraph)
    assert "credit cards take 7 to 10" in passage
    assert passage.count("because") == 2
    assert len(passage) < 1000
