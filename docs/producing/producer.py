"""Offers one file with redis-py and the standard library, and prints the key that its fate is asked for under.

SLUICE_API_KEY=sluice_key-..._... SLUICE_REDIS_URL=redis://127.0.0.1:8100/0 python producer.py FILE INTERNAL
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

import redis


def entry(api_key: str, offer: dict[str, str]) -> tuple[str, str]:
    """The nonce, and the text of the entry's field `__data__`."""
    key_id = api_key.split("_")[1]
    time, nonce, body = datetime.now(UTC).isoformat(), secrets.token_hex(16), json.dumps(offer)
    digest = hashlib.sha256(api_key.encode()).digest()
    proof = hmac.new(digest, f"{key_id}.{time}.{nonce}.{body}".encode(), hashlib.sha256).hexdigest()
    grant = {"key_id": key_id, "time": time, "nonce": nonce, "hmac": proof}
    return nonce, json.dumps({"body": body, "grant": grant})


def main() -> None:
    file, level = Path(sys.argv[1]), sys.argv[2]
    content = base64.b64encode(file.read_bytes()).decode()
    offer = {"name": file.name, "access_level": level, "content_base64": content}
    nonce, data = entry(os.environ["SLUICE_API_KEY"], offer)
    redis.Redis.from_url(os.environ["SLUICE_REDIS_URL"]).xadd("documents.offered.v1", {"__data__": data})
    print(nonce)


if __name__ == "__main__":
    main()
