"""Search the values of a training run; a sweep that was begun before goes on where it was.

ray job submit --working-dir . -- python jobs/tune.py jobs/tune_lr.tune.yaml
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import tradewind as tw
from tradewind.specs import TuneSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+", metavar="SPEC")
    parser.add_argument("--budget", type=float, help="dollars for all trials together")
    parser.add_argument("--max-price", type=float, help="highest spot price, as a share of that on demand")
    parser.add_argument("--anyway", action="store_true", help="the machine that drove it before is known to be gone")
    arguments = parser.parse_args()
    limits = {"budget_usd": arguments.budget, "max_price": arguments.max_price}
    for path in arguments.specs:
        spec = TuneSpec.load(path).with_values(**{key: value for key, value in limits.items() if value is not None})
        with tw.Workspace() as workspace:
            best = workspace.tune(spec, anyway=arguments.anyway).wait().best
            values = ", ".join(f"{key} {value}" for key, value in best.values.items())
            print(f"{spec.name}: {spec.objective} {best.final} of trial {best.number}, run {best.run}: {values}")


if __name__ == "__main__":
    main()
