"""Make a dataset version from each spec; a call that was cut short goes on where it was.

ray job submit --working-dir . -- python jobs/prepare.py jobs/pystdlib.dataset.yaml --on ray
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import tradewind as tw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+", metavar="SPEC")
    parser.add_argument("--on", choices=["local", "ray"], help="where text is read; by default its size decides")
    arguments = parser.parse_args()
    for path in arguments.specs:
        with tw.Workspace() as workspace:
            dataset = workspace.datasets.add(tw.DatasetSpec.load(path), on=arguments.on)
            print(f"{dataset.reference}: {dataset.record.tokens} tokens")


if __name__ == "__main__":
    main()
