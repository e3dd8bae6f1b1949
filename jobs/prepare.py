"""Make a dataset version from a spec.

ray job submit --working-dir . -- python jobs/prepare.py jobs/pystdlib.dataset.yaml
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import tradewind as tw


def main() -> None:
    for path in sys.argv[1:]:
        with tw.Workspace() as workspace:
            dataset = workspace.datasets.add(tw.DatasetSpec.load(path))
            print(f"{dataset.reference}: {dataset.record.tokens} tokens")


if __name__ == "__main__":
    main()
