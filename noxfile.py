"""Sessions for those who work on the project; `./run test` needs none of them.

`nox -l` lists them. `tests` runs on every supported Python that is found.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False


def install(session: nox.Session) -> None:
    session.install("-e", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install("ruff>=0.9")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    install(session)
    session.run("mypy")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Everything that needs no lab and no virtual machine."""
    install(session)
    session.run("pytest", "-m", "not lab and not vm and not kills and not minutes", *session.posargs)


@nox.session
def lab(session: nox.Session) -> None:
    """Lab nodes with a real sshd: fleets, failures, the node program over SSH."""
    install(session)
    session.run("pytest", "-m", "lab", *session.posargs)


@nox.session
def vm(session: nox.Session) -> None:
    """What this machine's kernel may lack, in virtual machines under QEMU; Molecule's scenarios on these."""
    install(session)
    session.run("pytest", "-m", "vm", *session.posargs)


@nox.session
def minutes(session: nox.Session) -> None:
    """Variants of other tests that take minutes: launchers of rarer machines, the other reader, no server."""
    install(session)
    session.run("pytest", "-m", "minutes", *session.posargs)


@nox.session
def kills(session: nox.Session) -> None:
    """Kill -9, a full disk and a broken one at every system call of an apply and of a recovery, as a table."""
    install(session)
    session.run("pytest", "-m", "kills", "-rP", *(session.posargs or ["tests/node/test_kills.py"]))


@nox.session
def role(session: nox.Session) -> None:
    """The Ansible role and its collection on lab nodes, with two ansible-cores."""
    install(session)
    session.run("pytest", "tests/roles", *session.posargs)


@nox.session(python=["3.12", "3.13"])
@nox.parametrize("core", ["2.20", "2.21"])
def role_newer(session: nox.Session, core: str) -> None:
    """The same with an ansible-core that needs a newer Python."""
    install(session)
    session.run("pytest", "tests/roles", *session.posargs, env={"CNI_PROVISION_ANSIBLE_CORE": core})


@nox.session
def lint_role(session: nox.Session) -> None:
    """ansible-lint, production profile, of the role and of Molecule's playbooks."""
    session.install("ansible-lint>=26.10", "ansible-core==2.19.14")
    session.run("ansible-lint", "--offline", "--profile", "production", "roles/cni_provision", "molecule")


@nox.session
def collection(session: nox.Session) -> None:
    """The role as the Ansible collection `cni_provision.cni`, built into `dist/`."""
    session.install("ansible-core==2.19.14")
    folder = f"{session.create_tmp()}/collection"
    session.run("rm", "-rf", folder, external=True)
    session.run("python", "roles/collection.py", folder)
    session.run("ansible-galaxy", "collection", "build", "--force", "--output-path", "dist", folder)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Any bytes for the decoders and the plugin skeleton, guided by coverage: two minutes for each target."""
    install(session)
    session.install("atheris>=3.0")
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ["120"]))


@nox.session
def fuzz_launcher(session: nox.Session) -> None:
    """Whatever a server says to the plugins' launcher, with the sanitizers: libFuzzer of clang, two minutes."""
    folder = session.create_tmp()
    flags = ("-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-Wno-macro-redefined")
    program = f"{folder}/fuzz_session"
    session.run("clang", *flags, "-o", program, "tests/launcher/fuzz_session.c", external=True)
    seconds = session.posargs[0] if session.posargs else "120"
    limits = ("-max_len=4096", "-timeout=10", f"-max_total_time={seconds}", f"-artifact_prefix={folder}/")
    grown = Path(folder, "corpus")
    grown.mkdir(exist_ok=True)
    session.run(program, *limits, str(grown), "tests/launcher/corpus", external=True)


@nox.session
def endurance(session: nox.Session) -> None:
    """Memory of the plugin server before and after 100,000 requests."""
    install(session)
    session.run("python", "-m", "bench.plugins", "--only", "endurance", env={"PYTHONDONTWRITEBYTECODE": None})


@nox.session
def bench(session: nox.Session) -> None:
    """Every figure that the README claims, beside the peers' in the same run."""
    install(session)
    session.run("python", "-m", "bench.fleet", *session.posargs)


@nox.session
def bench_plugins(session: nox.Session) -> None:
    """Our plugins, warm and cold, beside the reference's in the same run; `-- --peer DIR` for another folder."""
    install(session)
    session.run("python", "-m", "bench.plugins", *session.posargs, env={"PYTHONDONTWRITEBYTECODE": None})


@nox.session
def docs(session: nox.Session) -> None:
    """The examples of README and docs/, run."""
    install(session)
    session.run("pytest", "tests/test_docs.py", *session.posargs)
