"""Coverage-guided fuzzing of everything that reads what strangers may have written.

    pip install atheris      # in an environment of its own, beside pixeltui
    python tests/fuzz/fuzz.py log -runs=200000 CORPUS_FOLDER

The first word is a target of targets.py, the rest goes to libFuzzer (-help=1 lists what it takes). Bytes that break the
target are written to crash-*; put them into found/TARGET/, where test_found.py tries them from then on.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["pixeltui", "PIL"]):
    import targets

    import pixeltui.data.npz  # noqa: F401 - what is imported when it is used would not be instrumented

from seeds import SEEDS

DICTIONARY = Path(__file__).with_name("words.dict")


def main() -> None:
    name, *rest = sys.argv[1:]
    corpus = next((Path(word) for word in rest if not word.startswith("-")), None)
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(SEEDS[name]):
            (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], f"-dict={DICTIONARY}", "-max_len=4096", "-timeout=10", *rest], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
