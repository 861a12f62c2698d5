"""usage: python -m gateway.dump write FOLDER | check REVISION | load FOLDER REVISION

Works on the database that the gateway's settings name, and says what it did as one line of JSON.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from gateway.database import Database
from gateway.dump.load import check_load, load_dump
from gateway.dump.write import write_dump
from gateway.settings import GatewaySettings
from sluice.errors import SluiceError


async def _do(words: list[str]) -> dict[str, Any]:
    database = Database(GatewaySettings().sql_url)
    try:
        match words:
            case ["write", folder]:
                return await write_dump(database, Path(folder))
            case ["check", revision]:
                await check_load(database, revision)
                return {}
            case ["load", folder, revision]:
                return {"rows": await load_dump(database, Path(folder), revision)}
            case _:
                sys.exit(__doc__)
    finally:
        await database.close()


if __name__ == "__main__":
    try:
        print(json.dumps(asyncio.run(_do(sys.argv[1:]))))  # noqa: T201
    except SluiceError as error:
        print(error.detail, file=sys.stderr)  # noqa: T201
        sys.exit(1)
