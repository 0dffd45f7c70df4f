"""Networks as declared → conflists: parameters checked, template evaluated, the result checked, mistakes explained.

A mistake is shown at the inventory's value, with the template line that wrote it beside it; where the inventory is
not to blame (text that is not JSON, an undefined name), it is the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as Folder

from cni_provision import conflist, data, render_parameters
from cni_provision.conflist_shape import Problem
from cni_provision.errors import Diagnostic, Mistakes, UserError
from cni_provision.inventory.hiding import Hiding
from cni_provision.inventory.model import Network, Node, Value
from cni_provision.render_explain import LITERAL, Attempt, DoubleKey, Mistake, of_parameter
from cni_provision.render_parameters import Signature
from cni_provision.render_template import OMIT, TemplateFailed, Templates, without_omitted

VARIABLE_FOLDERS = ("group_vars", "host_vars")


@dataclass(frozen=True)
class Conflist:
    """A network's configuration as it lands on a node; `types` are the executables that it needs, IPAM included."""

    network: str
    file_name: str
    text: str
    types: tuple[str, ...]
    cni_version: str
    network_declaration: Network
    secret: bool = False


@dataclass(frozen=True)
class Rendering:
    """What a declaration gives: text and types, or mistakes (warnings may stand beside a text)."""

    text: str = ""
    types: tuple[str, ...] = ()
    cni_version: str = ""
    secret: bool = False
    mistakes: tuple[Mistake, ...] = ()
    secrets: tuple[str, ...] = ()  # parameters that are typed so

    def conflist(self, network: Network) -> Conflist | None:
        """The conflist of a network that gave this; None if it gave mistakes."""
        if not self.text:
            return None
        return Conflist(
            network.name, network.file_name, self.text, self.types, self.cni_version, network, self.secret
        )


class Renderer:
    """Renders networks; what was rendered from the same values before is not rendered again.

    `hiding` is told of the parameters that templates type as `secret`.
    """

    def __init__(self, templates: Templates, hiding: Hiding | None = None) -> None:
        self.templates = templates
        self.hiding = hiding or Hiding()
        self._known: dict[tuple[str, ...], Rendering] = {}
        self._reads_node: dict[str, bool] = {}

    def rendering(self, network: Network, node: Node, foreign: frozenset[str] = frozenset()) -> Rendering:
        """What a node's network gives; `foreign` are types whose configuration is not ours to judge."""
        key = self._key(network, node, foreign)
        if key not in self._known:
            self._known[key] = self._render(network, node, foreign)
        return self._known[key]

    def _key(self, network: Network, node: Node, foreign: frozenset[str]) -> tuple[str, ...]:
        template = network.template or LITERAL
        if template not in self._reads_node:
            self._reads_node[template] = self.templates.reads_node(template)
        on = node.name if self._reads_node[template] else ""
        secret = bool(network.secrets)
        values = repr((network.parameters, network.plugins, sorted(foreign), node.declarations.runtime, secret))
        return (template, network.name, network.file_name, network.cni_version, on, values)

    def _render(self, network: Network, node: Node, foreign: frozenset[str]) -> Rendering:
        template, given = network.template or LITERAL, _given(network)
        typed: tuple[str, ...] = ()
        try:
            signature = self.templates.signature(template)
            typed = signature.secrets(given)
            self.hiding.add([given[name] for name in typed])
            wrong = render_parameters.check(signature, given)
            if wrong:
                return Rendering(mistakes=tuple(_of_parameters(network, problem) for problem in wrong), secrets=typed)
            variables = _variables(signature, given, network, node)
            text = self.templates.render(template, variables) if network.template else _literal(network, given)
        except UserError as error:
            return Rendering(mistakes=(_unusable(error, secret=bool(typed or network.secrets)),), secrets=typed)
        secret = bool(typed or network.secrets)
        attempt = Attempt(self.templates, template, network, variables, given, text, secret)
        return replace(_judged(attempt, foreign), secrets=typed)


def _judged(attempt: Attempt, foreign: frozenset[str]) -> Rendering:
    """The rendering that a template's text is, or its mistakes."""
    try:
        document = without_omitted(json.loads(attempt.text, object_pairs_hook=_without_doubles))
    except ValueError as error:
        return Rendering(mistakes=(attempt.not_json(error),))
    problems = conflist.check(document, foreign)
    mistakes = attempt.mistakes(problems) if problems else ()
    if any(problem.severity == "error" for problem in problems):
        return Rendering(mistakes=mistakes)
    text, types = conflist.canonical(document), conflist.plugin_types(document)
    return Rendering(text, types, document["cniVersion"], attempt.secret, mistakes)


def _without_doubles(pairs: Sequence[tuple[str, Value]]) -> dict[str, Value]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [key for key, _ in pairs]
        raise DoubleKey(next(name for name in names if names.count(name) > 1))
    return mapping


def _given(network: Network) -> Mapping[str, Value]:
    """The parameters of the inventory; a literal list is the parameter `plugins` of the template `raw`."""
    literal = {"plugins": [dict(item) for item in network.plugins]} if network.plugins else {}
    return {**network.parameters, **literal}


def _literal(network: Network, given: Mapping[str, Value]) -> str:
    """What the template `raw` gives, without loading jinja2: a fifth of the start-up where nothing else needs it."""
    return json.dumps({"cniVersion": network.cni_version, "name": network.name, "plugins": given.get("plugins")})


def _variables(signature: Signature, given: Mapping[str, Value], network: Network, node: Node) -> Mapping[str, Value]:
    runtime = node.declarations.runtime
    return {
        **render_parameters.complete(signature, given, OMIT),
        "network": {"name": network.name, "cni_version": network.cni_version, "file": network.file_name},
        "node": {"name": node.name, "groups": list(node.groups)},
        "runtime": {"conf_dir": runtime.conf_dir, "bin_dir": runtime.bin_dir, "cache_dir": runtime.cache_dir},
    }


def _of_parameters(network: Network, problem: Problem) -> Mistake:
    return Mistake(problem, of_parameter(network, problem.path) if problem.path else ())


def _unusable(error: UserError, *, secret: bool) -> Mistake:
    """A template that is not there (the network names it wrongly), or cannot be evaluated (its own line).

    What an evaluation says may tell a `secret` in a form of its own.
    """
    message = error.message
    if secret and isinstance(error, TemplateFailed) and not error.undefined:
        message = f"template `{error.template}` fails on a secret"
    return Mistake(Problem((), message, error.hint), None if error.place else ("template",), error.place)


def template_folders(nodes: Iterable[Node]) -> tuple[Folder, ...]:
    """`templates/` beside the inventory's files that declare networks, then those that come with the program."""
    files = {network.place.file for node in nodes for network in node.declarations.networks if network.place}
    beside = {_inventory_folder(Folder(file)) / "templates" for file in files}
    return (*sorted(beside), data.root() / "templates")


def _inventory_folder(file: Folder) -> Folder:
    """The folder of an inventory, from any file of it."""
    above = [parent for parent in file.parents if parent.name in VARIABLE_FOLDERS]
    return above[-1].parent if above else file.parent


def renderer(nodes: Iterable[Node], hiding: Hiding | None = None) -> Renderer:
    """A renderer with all templates that these nodes may name."""
    return Renderer(Templates(template_folders(nodes)), hiding)


def render(node: Node, foreign: frozenset[str] = frozenset()) -> tuple[Conflist, ...]:
    """The conflists of one node; raises `Mistakes` with all that is wrong."""
    drawing = renderer([node])
    pairs = [(network, drawing.rendering(network, node, foreign)) for network in node.declarations.networks]
    mistakes = diagnostics(pairs, None)
    if mistakes:
        raise Mistakes(mistakes)
    return tuple(found for network, rendering in pairs if (found := rendering.conflist(network)))


def diagnostics(
    pairs: Iterable[tuple[Network, Rendering]], node: str | None, severity: str = "error"
) -> tuple[Diagnostic, ...]:
    """What the renderings of one node's networks have to say."""
    return tuple(
        without_secret_line(mistake.diagnostic(network, node), network, rendering.secrets)
        for network, rendering in pairs
        for mistake in rendering.mistakes
        if mistake.problem.severity == severity
    )


def without_secret_line(found: Diagnostic, network: Network, secrets: Iterable[str]) -> Diagnostic:
    """The diagnostic, whose lines are not shown if one of these parameters is written there too."""
    drawn = {(place.file, place.line) for place in (found.place, *(place for place, _ in found.related)) if place}
    written = (network.places.get(("parameters", name)) for name in secrets)
    same = any((place.file, place.line) in drawn for place in written if place)
    return replace(found, hidden=True) if same else found
