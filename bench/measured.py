"""What was measured last: the JSON of bench/results, found by name."""

import json
from pathlib import Path
from typing import Any

__all__ = ["Entry", "Results"]

# Each figure of an entry is a list: the median, the least and the most of the runs.
Entry = dict[str, Any]


class Results:
    """All measurements of a folder; what is not there is empty."""

    def __init__(self, folder: Path) -> None:
        self.machine: dict[str, str] = {}
        self.scale: dict[str, list[Entry]] = {}
        self.scale_machine: dict[str, str] = {}
        self._runs: dict[str, list[Entry]] = {}
        for path in sorted(folder.glob("*.json")):
            found = json.loads(path.read_text())
            machine = found.pop("machine")
            if "runs" in found:
                self.machine = machine
                self._runs[path.stem] = found["runs"]
            else:
                self.scale, self.scale_machine = found, machine

    def of(self, run: str) -> list[Entry]:
        return self._runs.get(run, [])

    def find(
        self,
        run: str,
        application: str,
        server: str,
        transport: str = "poll",
        layer: str | None = None,
    ) -> Entry | None:
        wanted = (application, server, transport)
        for entry in self.of(run):
            same = (entry["application"], entry["server"], entry["transport"])
            if same == wanted and layer in (None, entry["layer"]):
                return entry
        return None

    def processes(self, application: str) -> dict[int, Entry]:
        """The figures of one process, and of two that share a Redis."""
        lines = self.scale.get("processes", [])
        found = [line for line in lines if line["application"] == application]
        return {line["processes"]: line for line in found}

    def commands(self, layer: str) -> dict[str, list[float]]:
        """By name: how many a message of one process, of two, and an idle second."""
        lines = self.scale.get("commands", [])
        found = {line["processes"]: line for line in lines if line["layer"] == layer}
        columns = (
            [found[1]["each"], found[2]["each"], found[2]["idle"]] if found else []
        )
        names = dict.fromkeys(name for column in columns for name in sorted(column))
        return {name: [column.get(name, 0.0) for column in columns] for name in names}

    def growth(self, application: str, server: str) -> list[Entry]:
        """How one application grows with its readers, the fewest first."""
        lines = self.scale.get("readers", [])
        wanted = (application, server)
        found = [e for e in lines if (e["application"], e["server"]) == wanted]
        return sorted(found, key=lambda entry: int(entry["readers"]))
