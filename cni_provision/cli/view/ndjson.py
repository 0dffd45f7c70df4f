"""Each event as one line of JSON on stdout, as it happens."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cni_provision.cli.view.paper import Paper
from cni_provision.events import Event


@dataclass(frozen=True)
class Ndjson:
    """The view for programs."""

    out: Paper

    def emit(self, event: Event) -> None:
        self.out.write(json.dumps(event.to_json(), ensure_ascii=False, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Nothing is held back."""
