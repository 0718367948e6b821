"""The Ethos-U accelerators, systems and memories that Vela knows, and which of them go together."""

from __future__ import annotations

import configparser
import importlib.util
from pathlib import Path

#: What `vela --accelerator-config` accepts.
ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
#: Where Vela is not installed: its systems with what is behind their second memory port, as in Arm/vela.ini.
_SYSTEMS = {
    "Ethos_U55_Deep_Embedded": "OffChipFlash",
    "Ethos_U55_High_End_Embedded": "OffChipFlash",
    "Ethos_U65_Embedded": "OffChipFlash",
    "Ethos_U65_Mid_End": "Dram",
    "Ethos_U65_High_End": "Dram",
    "Ethos_U65_Client_Server": "Dram",
    "Ethos_U85_SYS_Flash_Low": "OffChipFlash",
    "Ethos_U85_SYS_Flash_High": "OffChipFlash",
    "Ethos_U85_SYS_DRAM_Low": "Dram",
    "Ethos_U85_SYS_DRAM_Mid": "Dram",
    "Ethos_U85_SYS_DRAM_High": "Dram",
}
#: The memory modes with the port that their working memory is behind.
_MEMORIES = {
    "Sram_Only": "Axi0",
    "Shared_Sram": "Axi0",
    "Dedicated_Sram": "Axi1",
    "Dedicated_Sram_256KB": "Axi1",
    "Dedicated_Sram_384KB": "Axi1",
    "Dedicated_Sram_512KB": "Axi1",
}


def parse(rest: str) -> dict[str, str]:
    """Return accelerator, system and memory of `ACCELERATOR/SYSTEM/MEMORY`.

    All three are needed: one and the same accelerator was estimated 20 times apart by the other two.

    Raises:
        ValueError: a part is missing or unknown, or does not go with the others.
    """
    accelerator, system, memory = ([*rest.split("/"), "", "", ""])[:3]
    systems, memories = _known()
    if rest.count("/") != 2 or not (accelerator and system and memory):
        raise ValueError(
            "arm needs accelerator, system and memory, arm:ACCELERATOR/SYSTEM/MEMORY, because the same "
            "accelerator is estimated up to 20 times slower or faster by the other two; "
            + _accepted(systems, memories)
        )
    unknown = [
        part
        for part, names in ((accelerator, ACCELERATORS), (system, systems), (memory, memories))
        if part not in names
    ]
    if unknown:
        raise ValueError(f"unknown to Vela: {', '.join(unknown)}; {_accepted(systems, memories)}")
    own = [name for name in systems if _family(name) == _family(accelerator)]
    if system not in own:
        # Vela compiles such a pair and estimates a chip that nobody builds.
        raise ValueError(f"{system} is no system of {accelerator}; accepted with it: {', '.join(own)}")
    if memories[memory] == "Axi1" and systems[system] != "Dram":
        fit = [name for name, port in memories.items() if port == "Axi0"]
        raise ValueError(f"{memory} needs DRAM, which {system} has not; accepted with it: {', '.join(fit)}")
    return {"accelerator": accelerator, "system": system, "memory": memory}


def _accepted(systems: dict[str, str], memories: dict[str, str]) -> str:
    return (
        f"accepted accelerators: {', '.join(ACCELERATORS)}; systems: {', '.join(systems)}; "
        f"memories: {', '.join(memories)}"
    )


def _family(name: str) -> str:
    """Return `u55` for `ethos-u55-128` and for `Ethos_U55_Deep_Embedded`."""
    return name.replace("_", "-").lower().split("-")[1]


def _known() -> tuple[dict[str, str], dict[str, str]]:
    """Return systems and memory modes of the installed Vela, or the listed ones where it is not installed."""
    ini = _installed_ini()
    if ini is None:
        return _SYSTEMS, _MEMORIES
    settings = configparser.ConfigParser()
    settings.read(ini)
    systems, memories = {}, {}
    for section in settings.sections():
        kind, _, name = section.partition(".")
        if kind == "System_Config":
            systems[name] = settings[section].get("axi1_port", "")
        elif kind == "Memory_Mode":
            parent = settings[section].get("inherit", section)
            memories[name] = settings[parent].get("arena_mem_area", "")
    return systems, memories


def _installed_ini() -> Path | None:
    try:
        found = importlib.util.find_spec("ethosu.vela")
    except (ImportError, ValueError):
        return None
    for folder in (found.submodule_search_locations or []) if found else []:
        ini = Path(folder).parent / "config_files" / "Arm" / "vela.ini"
        if ini.is_file():
            return ini
    return None
