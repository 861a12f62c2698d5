"""Why somebody may see something: from what an admin typed to the gateway's explanation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import Document, Why
from sluice_frontend.ports import Gateway

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


@dataclass(frozen=True)
class Explanation:
    """With the names that they were asked for by, where there are any."""

    why: Why
    person: str
    document: str


async def find_person(gateway: Gateway, token: str, text: str) -> str:
    """The id of whoever has this address, or the id itself. Raises ValueError, whose text may be shown."""
    if "@" in text:
        found = await gateway.people(token, text)
        if not found:
            raise ValueError("Nobody of your organisation has this address.")
        return found[0].id
    if not _ID.fullmatch(text):
        raise ValueError("Give the person's e-mail address or id.")
    return text


async def find_documents(gateway: Gateway, token: str, text: str) -> Sequence[Document]:
    """Those with this in their names; the one alone that is named just so. None for an admin who may not read."""
    if not text:
        raise ValueError("Give the name or id of a document, or the id of a passage.")
    try:
        found = await gateway.documents(token, text)
    except GatewayError as error:
        if error.problem.status != 403:
            raise
        return []
    exact = [document for document in found if text in (document.title, document.name)]
    return exact if len(exact) == 1 else found


async def explain(gateway: Gateway, token: str, person: str, source: str) -> Why:
    """`source` is the id of a document or fix, or else of a passage. Raises ValueError, whose text may be shown."""
    if not _ID.fullmatch(source):
        raise ValueError("There is no document of this name, and an id it is not.")
    try:
        return await gateway.explain(token, person, document=source)
    except GatewayError as error:
        if error.problem.status != 404:
            raise
    return await gateway.explain(token, person, passage=source)
