"""What a torture has shown, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.torture.ledger import Tally

FORWARDS, BACKWARDS = "clock steps forwards", "clock steps backwards"
"""What the steps of clocks are counted under."""

_SHOWN = 20  # defects in the text; the JSON has all


@dataclass(frozen=True)
class Report:
    """One run. `faults` counts what was done, by its kind; `unexplained` are grants that were lost without a
    kill inside of their refresh; `hung` are processes that did nothing when all faults had ended."""

    seed: int
    database: str
    seconds: float
    took: float
    accounts: int
    happened: int
    tally: Tally
    faults: Mapping[str, int]
    died: int
    refreshes: int
    renewed: int
    unexplained: Sequence[str]
    redelivered: int
    hung: Sequence[str]

    @property
    def defects(self) -> list[str]:
        """Everything that must not be."""
        found = [*self.tally.defects]
        found += [f"grant lost without a kill inside of its refresh: {name}" for name in self.unexplained]
        found += [f"hung: {name}" for name in self.hung]
        return found + [f"processes died by themselves: {self.died}"] * bool(self.died)

    @property
    def passed(self) -> bool:
        return not self.defects

    def facts(self) -> dict[str, Any]:
        """The figures under the names that both forms use."""
        tally = self.tally
        return {
            "changes at the vendors": self.happened,
            "changes to deliver": tally.changes,
            "received": tally.received,
            "lost": tally.lost,
            "told under two ids": tally.under_two_ids,
            "wrong signatures": tally.wrong_signatures,
            "bodies changed": tally.bodies_changed,
            "order broken": tally.order_broken,
            "numbers missing": tally.numbers_missing,
            "arrivals": tally.arrivals,
            "duplicated": tally.duplicated,
            "refused": tally.refused,
            "redelivered by their owner": self.redelivered,
            "longest gap": round(tally.longest_gap.total_seconds(), 1),
            "kills": self.faults.get("kill", 0),
            "stops": self.faults.get("stop", 0),
            "restarts of the database": self.faults.get("restart", 0),
            "connections cut": self.faults.get("cut", 0),
            FORWARDS: self.faults.get(FORWARDS, 0),
            BACKWARDS: self.faults.get(BACKWARDS, 0),
            "tokens ended early": self.faults.get("expire", 0),
            "vendor faults": self.faults.get("vendor", 0),
            "receiver faults": self.faults.get("receiver", 0),
            "died": self.died,
            "hung": len(self.hung),
            "refreshes": self.refreshes,
            "grants renewed by their owner": self.renewed,
            "grants lost without a kill": len(self.unexplained),
        }

    def as_text(self) -> str:
        """One figure per line, then the defects, then the verdict."""
        head = f"seed {self.seed}, {self.database}, {self.accounts} accounts, {self.seconds:g} s of faults"
        lines = [f"{head}, {self.took:.0f} s in all"]
        lines += [f"{name:32} {value:>8}" for name, value in self.facts().items()]
        lines += [f"  {defect}" for defect in self.defects[:_SHOWN]]
        if len(self.defects) > _SHOWN:
            lines.append(f"  ... and {len(self.defects) - _SHOWN} more")
        lines.append("passed" if self.passed else "FAILED")
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        """One line."""
        facts = {name.replace(" ", "_"): value for name, value in self.facts().items()}
        head = {
            "seed": self.seed,
            "database": self.database,
            "accounts": self.accounts,
            "seconds": self.seconds,
            "took": round(self.took, 1),
            "passed": self.passed,
        }
        return json.dumps({**head, **facts, "defects": self.defects}) + "\n"
