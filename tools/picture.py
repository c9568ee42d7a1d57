"""Draw the README's picture, docs/scoreboard.png, from the stored runs: python tools/picture.py"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers import plotting as plot
from helpers.mitigations.board import GOAL, read_board, standings
from helpers.mitigations.methods import RANKED


def main() -> None:
    picture = plot.ranking(standings(read_board(), RANKED), goal=GOAL, margin=5)
    (ROOT / "docs" / "scoreboard.png").write_bytes(picture.png)
    print(picture.alt)


if __name__ == "__main__":
    main()
