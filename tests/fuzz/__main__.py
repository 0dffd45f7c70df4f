"""Coverage-guided runs of the targets: `python -m tests.fuzz SECONDS [TARGET…]`.

Each target runs in a process of its own, within 1 GiB and 10 s for an input, from the corpus beside this file. What
it finds is kept in a folder that is named at the end: put it into the corpus, which the tests run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
LIMITS = ("-rss_limit_mb=1024", "-timeout=10", "-max_len=16384", "-print_final_stats=1")


def main(seconds: str, *names: str) -> int:
    """The number of targets that found something."""
    known = sorted(path.name for path in CORPUS.iterdir())
    found = Path(tempfile.mkdtemp(prefix="fuzz-"))
    failed = [name for name in names or known if not fuzz(name, int(seconds), found)]
    print(
        f"{len(failed)} targets found something: {' '.join(failed)} (in {found})" if failed else "nothing was found"
    )
    return len(failed)


def fuzz(name: str, seconds: int, found: Path) -> bool:
    """Run one target; False where it found something."""
    grown = found / f"{name}-corpus"
    grown.mkdir()
    limits = [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={found}/{name}-"]
    argv = [sys.executable, "-m", "tests.fuzz.guided", name, *limits, str(grown), str(CORPUS / name)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    executions = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    print(
        f"{name}: {executions[1] if executions else '?'} executions, {len(list(grown.iterdir()))} inputs kept",
        flush=True,
    )
    if done.returncode:
        print(done.stdout[-4000:])
    return not done.returncode


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["60"])))
