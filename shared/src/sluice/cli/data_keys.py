"""`sluice keys status`, `rotate` and `rewrap`: the data keys that rows are sealed with, while everything runs."""

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sluice.access import Level
from sluice.cli.settings import CliSettings
from sluice.errors import ConfigurationError
from sluice.sealing import DataKeyInfo, DataKeys, read_wrappers

Tenant = Annotated[str | None, typer.Option(help="One tenant, by its short name; all when not given.")]
AtLevel = Annotated[Level | None, typer.Option("--level", help="Both when not given.")]


def keys_status() -> None:
    """Show how many data keys each tenant and level has, and by which level key they are wrapped."""
    settings = CliSettings()
    folder, key_files = settings.state.data_keys, settings.key_files
    held = {key_id for level in Level for key_id in _held(key_files[level], level)}
    table = Table("tenant", "level", "data keys", "wrapped by", "opens here")
    for (tenant, level), infos in _by_place(list(DataKeys({}, folder).all())).items():
        numbers = [info for info in infos if info.name.isdecimal()]
        key_ids = sorted({key_id for info in infos for key_id in info.key_ids})
        opens = all(held & set(info.key_ids) for info in infos)
        table.add_row(tenant, level, str(len(numbers)), ", ".join(key_ids), "yes" if opens else "no")
    Console(highlight=False, soft_wrap=True, markup=False).print(table)


def keys_rotate(tenant: Tenant = None, level: AtLevel = None) -> None:
    """Make new data keys for what is sealed from now on; what the old ones sealed still opens."""
    settings = CliSettings()
    places = _by_place(list(DataKeys({}, settings.state.data_keys).all()))
    chosen = [place for place in places if tenant in (None, place[0]) and level in (None, place[1])]
    if tenant and level and not chosen:
        chosen = [
            (tenant, level)
        ]  # keys that were lost for good: named in full, for what they sealed never opens again
    if not chosen:
        raise ConfigurationError("there is no data key to follow")
    files = {each: settings.key_files[each] for each in {place[1] for place in chosen}}
    keys = DataKeys(read_wrappers(files), settings.state.data_keys)
    for place in chosen:
        print(f"{place[0]} {place[1]}: data key {keys.rotate(*place)} from now on")


def keys_rewrap(
    level: Annotated[Level, typer.Option(help="Whose data keys.")],
    new_key: Annotated[Path, typer.Option(help="File of the level key that is to wrap them, 32 bytes.")],
) -> None:
    """Wrap all data keys of a level by another level key, which every process has been given beside the old one."""
    settings = CliSettings()
    print(f"{rewrap(settings.state.data_keys, level, new_key, settings.key_files[level])} data keys of {level} wrapped")


def rewrap(folder: Path, level: Level, new_key: Path, given: tuple[Path, ...]) -> int:
    """How many were wrapped anew. Cut off anywhere, it can be begun again: each key is wrapped by the old or the new.

    Raises ConfigurationError when the processes of this system were not given the new key first.
    """
    new = [path for path in given if path.absolute() == new_key.absolute()]
    if not new:
        raise ConfigurationError(
            f"first name {new_key} in SLUICE_{level}_KEY_FILE after the old file, with a comma, and restart one process"
            " after the other: who has the old key alone could open nothing afterwards"
        )
    keys = DataKeys(read_wrappers({level: (*new, *(path for path in given if path not in new))}), folder)
    return sum(keys.rewrap(info) for info in list(keys.all()) if info.level is level)


def _held(paths: tuple[Path, ...], level: Level) -> list[str]:
    """The ids of the level's keys that this command can read."""
    readable = [path for path in paths if path.is_file()]
    return [wrapper.key_id for wrapper in read_wrappers({level: readable})[level]]


def _by_place(infos: list[DataKeyInfo]) -> dict[tuple[str, Level], list[DataKeyInfo]]:
    places: defaultdict[tuple[str, Level], list[DataKeyInfo]] = defaultdict(list)
    for info in infos:
        places[info.tenant, info.level].append(info)
    return dict(sorted(places.items()))
