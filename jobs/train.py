"""Train a model from a spec.

ray job submit --working-dir . -- python jobs/train.py jobs/pystdlib.train.yaml
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import tradewind as tw


def main() -> None:
    for path in sys.argv[1:]:
        with tw.Workspace() as workspace:
            run = workspace.train(tw.TrainSpec.load(path)).wait()
            print(f"{run.name}: held-out loss {run.best.heldout_loss:.4f} at step {run.best.step}")


if __name__ == "__main__":
    main()
