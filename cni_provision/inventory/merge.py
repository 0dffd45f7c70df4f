"""One declared variable out of several: `cni_networks` and every `cni_networks__<suffix>`, as one pure function.

Ansible replaces variables whole; the suffixed ones are how `all`, a group and a node each contribute. In
alphabetical order of suffix, on top of the plain variable:

* lists of mappings are merged by `name`, key by key and deeply; `state: absent` removes the one of that name;
* mappings are merged key by key and deeply;
* lists of words (`cni_prune`, `cni_kernel.modules`) are united, the first order kept;
* anything else, and any list below a named item, is replaced.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from cni_provision.errors import Place
from cni_provision.inventory.located import BROKEN, Located, locate
from cni_provision.inventory.model import Value

SEPARATOR = "__"


def merge(layers: Sequence[Located]) -> Located:
    """The layers as one value, later ones on top; places are those of the winners."""
    if len(layers) == 1 and not removes(layers[0]):
        return layers[0]
    merged = layers[0]
    for layer in layers[1:]:
        merged = overlay(merged, layer, united=True)
    return without_absent(merged)


def merge_plain(layers: Sequence[Value]) -> Value:
    """The same for plain values, as Ansible has them."""
    nowhere = Located(None, Place(""))
    return merge([locate(layer, nowhere) for layer in layers]).plain


def overlay(below: Located, above: Located, *, united: bool) -> Located:
    """`above` on `below`; `united`: lists add to each other instead of replacing."""
    if isinstance(below.value, dict) and isinstance(above.value, dict):
        return overlay_mapping(below, above, united=united)
    if united and isinstance(below.value, list) and isinstance(above.value, list):
        return unite(below, above)
    return above


def overlay_mapping(below: Located, above: Located, *, united: bool) -> Located:
    """Key by key; a key that both have keeps its position below and the spot of the one above."""
    children: dict[Hashable, Located] = dict(below.value)
    for key, child in above.value.items():
        children[key] = overlay(children[key], child, united=united) if key in children else child
    return Located(children, above.place, above.width, {**below.keys, **above.keys})


def unite(below: Located, above: Located) -> Located:
    """Named items merge by name, other items follow unless they are there already."""
    items: list[Located] = list(below.value)
    for item in above.value:
        at = position(items, item)
        if at is None:
            items.append(item)
        elif isinstance(item.value, dict):
            items[at] = overlay_mapping(items[at], item, united=False)
    return Located(items, below.place, below.width)


def position(items: Sequence[Located], item: Located) -> int | None:
    """Where an item of the same name, or the same word, is."""
    name = name_of(item)
    for index, other in enumerate(items):
        same = name_of(other) == name if name is not None else name_of(other) is None and other.plain == item.plain
        if same:
            return index
    return None


def name_of(item: Located) -> Hashable | None:
    """The value of an item's `name`."""
    name = item.get("name")
    return name.value if name and isinstance(name.value, Hashable) and name.value is not BROKEN else None


def absent(item: Located) -> bool:
    """Whether a named item says `state: absent`."""
    state = item.get("state")
    return state is not None and state.value == "absent"


def removes(layer: Located) -> bool:
    """Whether any item of a list carries a `state`."""
    return isinstance(layer.value, list) and any(item.get("state") for item in layer.value)


def without_absent(merged: Located) -> Located:
    """The list without items that are absent; `state: present` is dropped, anything else is left for the decoder."""
    if not removes(merged):
        return merged
    items = [without_state(item) for item in merged.value if not absent(item)]
    return Located(items, merged.place, merged.width)


def without_state(item: Located) -> Located:
    state = item.get("state")
    if state is None or state.value != "present":
        return item
    rest = {key: child for key, child in item.value.items() if key != "state"}
    return Located(rest, item.place, item.width, item.keys)
