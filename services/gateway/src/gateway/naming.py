"""What a document may be called, and where one may be fetched: the same for uploads and offers."""

import unicodedata

from pydantic import HttpUrl, TypeAdapter, ValidationError

from gateway.errors import InvalidInputError

_MAX_NAME = 200
_MAX_URL = 2000
_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


def file_name(field: str, given: str) -> str:
    """The name without any folder; it is shown, and never a path of ours."""
    last = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in last if unicodedata.category(char)[0] != "C").strip()
    if not name.strip("."):
        raise InvalidInputError(field, "the file needs a name")
    return name[-_MAX_NAME:]


def web_address(field: str, url: str) -> str:
    """The URL in its normal form."""
    if len(url) > _MAX_URL:
        raise InvalidInputError(field, f"must have at most {_MAX_URL} characters")
    try:
        parsed = _URL.validate_python(url.strip())
    except ValidationError as error:
        raise InvalidInputError(field, "must be an http or https URL") from error
    if parsed.username or parsed.password:
        raise InvalidInputError(field, "must not have credentials in it")
    return str(parsed)
