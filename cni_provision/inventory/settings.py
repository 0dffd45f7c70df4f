"""`ansible.cfg` and Ansible's environment variables: which inventory, how to reach nodes, how to become root.

What would change how variables are merged or templates evaluated is refused by its name (`own` does it in one way),
and `host_key_checking` never weakens anything.
"""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cni_provision.errors import NeedsAnsible, Place
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.located import Located, Spot

READER_HINT = "read this inventory with `--reader ansible`"
TRUE = ("yes", "on", "true", "1", "y", "t")


@dataclass(frozen=True)
class Setting:
    """One setting: where `ansible.cfg` may have it (section, key), first wins, and which variables go before that."""

    keys: tuple[tuple[str, str], ...]
    variables: tuple[str, ...]


def setting(section: str, *names: str) -> Setting:
    """A setting with its keys and, in capitals, its environment variables."""
    keys = tuple((section, name) for name in names if not name.isupper())
    return Setting(keys, tuple(name for name in names if name.isupper()))


# What is used, by the variable that would override it, or by our own name for it.
USED = {
    "inventory": setting("defaults", "inventory", "ANSIBLE_INVENTORY"),
    "playbook_dir": setting("defaults", "playbook_dir", "ANSIBLE_PLAYBOOK_DIR"),
    "ignore_extensions": Setting(
        (("defaults", "inventory_ignore_extensions"), ("inventory", "ignore_extensions")),
        ("ANSIBLE_INVENTORY_IGNORE",),
    ),
    "ignore_patterns": Setting(
        (("defaults", "inventory_ignore_patterns"), ("inventory", "ignore_patterns")),
        ("ANSIBLE_INVENTORY_IGNORE_REGEX",),
    ),
    "ansible_connection": setting("defaults", "transport", "ANSIBLE_TRANSPORT"),
    "ansible_user": setting("defaults", "remote_user", "ANSIBLE_REMOTE_USER"),
    "ansible_port": setting("defaults", "remote_port", "ANSIBLE_REMOTE_PORT"),
    "ansible_private_key_file": setting("defaults", "private_key_file", "ANSIBLE_PRIVATE_KEY_FILE"),
    "ansible_timeout": Setting(
        (("ssh_connection", "timeout"), ("defaults", "timeout")), ("ANSIBLE_SSH_TIMEOUT", "ANSIBLE_TIMEOUT")
    ),
    "ansible_ssh_args": setting("ssh_connection", "ssh_args", "ANSIBLE_SSH_ARGS"),
    "ansible_ssh_common_args": setting("ssh_connection", "ssh_common_args", "ANSIBLE_SSH_COMMON_ARGS"),
    "ansible_ssh_extra_args": setting("ssh_connection", "ssh_extra_args", "ANSIBLE_SSH_EXTRA_ARGS"),
    "ansible_become": setting("privilege_escalation", "become", "ANSIBLE_BECOME"),
    "ansible_become_method": setting("privilege_escalation", "become_method", "ANSIBLE_BECOME_METHOD"),
    "ansible_become_user": setting("privilege_escalation", "become_user", "ANSIBLE_BECOME_USER"),
    "ansible_become_flags": setting("privilege_escalation", "become_flags", "ANSIBLE_BECOME_FLAGS"),
    "ansible_python_interpreter": setting("defaults", "interpreter_python", "ANSIBLE_PYTHON_INTERPRETER"),
}
PATHS = ("ansible_private_key_file", "playbook_dir")
HOST_KEYS = Setting(
    (("defaults", "host_key_checking"), ("ssh_connection", "host_key_checking")),
    ("ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING"),
)


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def is_true(text: str) -> bool:
    return text.strip().lower() in TRUE


def usual_plugins(text: str) -> bool:
    """Whether these inventory plugins, in this order, read YAML, INI and programs as the default ones do."""
    names = [name.rpartition(".")[2] for name in words(text)]
    return [name for name in names if name in ("script", "yaml", "ini")] == ["script", "yaml", "ini"]


# What `own` does in one way only: the setting, and whether its text leaves it so.
REFUSED: tuple[tuple[Setting, Callable[[str], bool]], ...] = (
    (setting("defaults", "hash_behaviour", "ANSIBLE_HASH_BEHAVIOUR"), lambda text: text == "replace"),
    (setting("defaults", "jinja2_native", "ANSIBLE_JINJA2_NATIVE"), lambda text: not is_true(text)),
    (setting("defaults", "jinja2_extensions", "ANSIBLE_JINJA2_EXTENSIONS"), lambda text: not words(text)),
    (setting("defaults", "precedence", "ANSIBLE_PRECEDENCE"), lambda text: False),
    (setting("defaults", "yaml_valid_extensions", "ANSIBLE_YAML_FILENAME_EXT"), lambda text: False),
    (
        setting("defaults", "vars_plugins_enabled", "ANSIBLE_VARS_ENABLED"),
        lambda text: [name.rpartition(".")[2] for name in words(text)] == ["host_group_vars"],
    ),
    (setting("defaults", "run_vars_plugins", "ANSIBLE_RUN_VARS_PLUGINS"), lambda text: text == "demand"),
    (
        setting("defaults", "force_valid_group_names", "ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS"),
        lambda text: text in ("never", "ignore"),
    ),
    (setting("inventory", "enable_plugins", "ANSIBLE_INVENTORY_ENABLED"), usual_plugins),
)


@dataclass(frozen=True)
class Found:
    """A setting's text, where it stands, and the folder that its relative paths start at."""

    text: str
    spot: Spot
    folder: str


@dataclass(frozen=True)
class Settings:
    """What was found, by the names of USED; `file` is the `ansible.cfg` that counts."""

    file: str | None = None
    found: Mapping[str, Found] = field(default_factory=dict)
    refused: tuple[NeedsAnsible, ...] = ()

    @property
    def inventories(self) -> tuple[str, ...]:
        """The inventories that it names, paths as seen from here."""
        found = self.found.get("inventory")
        return tuple(path_of(word, found.folder) for word in words(found.text)) if found else ()

    @property
    def playbook_dir(self) -> str | None:
        found = self.found.get("playbook_dir")
        return path_of(found.text, found.folder) if found else None

    @property
    def connection(self) -> dict[str, Located]:
        """Connection variables that hold where the inventory has none."""
        return {
            name: Located(path_of(found.text, found.folder) if name in PATHS else found.text, found.spot.place)
            for name, found in self.found.items()
            if name.startswith("ansible_")
        }

    def ignored(self, usual: tuple[str, ...]) -> re.Pattern[str] | None:
        """Further names in folders that are no inventories; `usual` are the extensions if none are set."""
        extensions = self.found.get("ignore_extensions")
        patterns = self.found.get("ignore_patterns")
        ends = words(extensions.text) if extensions else usual
        parts = (words(patterns.text) if patterns else []) + [f"{re.escape(end)}$" for end in ends]
        return re.compile("|".join(parts)) if parts else None


def path_of(text: str, folder: str) -> str:
    """A path as Ansible resolves it: from the file's folder, with `~`, variables and `{{CWD}}`."""
    text = os.path.expanduser(os.path.expandvars(text.replace("{{CWD}}", os.getcwd())))
    return text if not folder or os.path.isabs(text) or "," in text else os.path.join(folder, text)


def read_settings(environment: Mapping[str, str], complaints: Complaints) -> Settings:
    """The settings of this run; mistakes and warnings go to `complaints`."""
    file = find_file(environment, complaints)
    parser, lines = (None, []) if file is None else parsed(file, complaints)
    look = Look(environment, file, parser, lines)
    found = {name: item for name, wanted in USED.items() if (item := look.up(wanted)) and item.text}
    keys = look.up(HOST_KEYS)
    if keys and not is_true(keys.text):
        message = "`host_key_checking` is not followed: host keys are always checked"
        complaints.warning(message, keys.spot, "add the nodes' keys to `known_hosts`")
    refusals = ((look.up(wanted), usual) for wanted, usual in REFUSED)
    return Settings(file, found, tuple(refusal(item) for item, usual in refusals if item and not usual(item.text)))


def refusal(found: Found) -> NeedsAnsible:
    message = f"only Ansible can follow this setting, `{found.text}`"
    return NeedsAnsible(message, place=found.spot.place, hint=READER_HINT)


def find_file(environment: Mapping[str, str], complaints: Complaints) -> str | None:
    """The first of `ANSIBLE_CONFIG`, `./ansible.cfg`, `~/.ansible.cfg`, `/etc/ansible/ansible.cfg`."""
    named = environment.get("ANSIBLE_CONFIG")
    here = os.path.join(os.getcwd(), "ansible.cfg")
    home = os.path.join(environment.get("HOME") or os.path.expanduser("~"), ".ansible.cfg")
    if named:
        named = os.path.abspath(os.path.expanduser(named))
        if os.path.isdir(named):
            named = os.path.join(named, "ansible.cfg")
        if os.path.exists(named):
            return named
    if os.path.exists(here):
        if not stat.S_IMODE(os.stat(os.getcwd()).st_mode) & stat.S_IWOTH:
            return here
        message = "`ansible.cfg` is not read: anybody may write to this folder"
        complaints.warning(message, Spot(Place(here)), "`chmod o-w .`, or name it in ANSIBLE_CONFIG")
    return next((path for path in (home, "/etc/ansible/ansible.cfg") if os.path.exists(path)), None)


def parsed(file: str, complaints: Complaints) -> tuple[configparser.ConfigParser | None, list[str]]:
    """The file as Ansible reads it, and its lines."""
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None)
    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
        parser.read_string(text, file)
    except (OSError, UnicodeDecodeError) as error:
        complaints.error(f"cannot read `{file}`: {error}", Spot(Place(file)))
        return None, []
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or next((line for line, _ in getattr(error, "errors", ())), 0)
        complaints.error("bad `ansible.cfg`: " + str(error).split("\n")[0], Spot(Place(file, line, 1 if line else 0)))
        return None, []
    return parser, text.splitlines()


@dataclass(frozen=True)
class Look:
    """Looks settings up: environment variables first, then the file."""

    environment: Mapping[str, str]
    file: str | None
    parser: configparser.ConfigParser | None
    lines: list[str]

    def up(self, wanted: Setting) -> Found | None:
        for name in wanted.variables:
            if name in self.environment:
                return Found(self.environment[name], Spot(Place(name)), "")
        for section, key in wanted.keys:
            if self.parser and self.file and self.parser.has_option(section, key):
                text = self.parser.get(section, key)
                return Found(text.strip(), self.spot(section, key), os.path.dirname(self.file))
        return None

    def spot(self, section: str, key: str) -> Spot:
        """Where a key of the file stands."""
        inside = False
        for number, line in enumerate(self.lines, 1):
            if line.startswith("["):
                inside = line.startswith(f"[{section}]")
            elif inside and re.match(rf"{re.escape(key)}\s*[=:]", line, re.IGNORECASE):
                return Spot(Place(self.file or "", number, 1), len(key))
        return Spot(Place(self.file or ""))
