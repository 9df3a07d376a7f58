"""Fuzzes one target, guided by coverage: `pip install atheris`, then `python tests/fuzz/run.py TARGET --seconds N`.

It starts from the target's seeds (and `--corpus FOLDER`, which it fills). It ends with 0 when the time is over; a
finding is printed, written to the current folder as `crash-...`, and ends the run. `--again FILE` runs one input.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    print("run.py: it needs atheris: pip install atheris", file=sys.stderr)
    sys.exit(2)

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(include=["fastproc"]):
    from tests.fuzz.targets import TARGETS

#: Longer inputs only make it slower: only their header is read.
MAX_BYTES = 16 << 10
#: For one input. Everything here takes less than a millisecond; the margin is for a busy machine.
TIMEOUT_S = 5


def main() -> None:
    """Parse the command line and fuzz."""
    parser = argparse.ArgumentParser(description="Fuzz one target.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="default: a temporary one")
    parser.add_argument("--again", type=Path, help="run this one input")
    args = parser.parse_args()
    function, seeds = TARGETS[args.target]
    if args.again:
        function(args.again.read_bytes())
        return
    corpus = args.corpus or Path(tempfile.mkdtemp(prefix=f"fuzz-{args.target}-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed[:MAX_BYTES])
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={args.seconds}",
            f"-max_len={MAX_BYTES}",
            f"-timeout={TIMEOUT_S}",
            "-print_final_stats=1",
        ],
        function,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
