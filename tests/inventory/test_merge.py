"""cases/inventory/merge/merges.yaml: what layers of one declared variable make."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cni_provision.errors import Place
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.merge import merge, merge_plain
from cni_provision.inventory.source import read_yaml

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases/inventory/merge/merges.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["about"].replace(" ", "-"))
def test_layers_make_this(case: dict[str, object]) -> None:
    assert merge_plain(case["layers"]) == case["result"]


def test_places_are_those_of_the_winners() -> None:
    texts = {"all": "- {name: pods, order: 1, template: bridge}", "web": "\n- {name: pods, order: 2}"}
    merged = merge([read_yaml(text, file, Complaints()) for file, text in texts.items()])
    places = dict(merged.places())
    assert places[(0, "template")] == Place("all", 1, 36)
    assert places[(0, "order")] == Place("web", 2, 23)
    assert merged.value[0].key_spot("order").place == Place("web", 2, 16)
