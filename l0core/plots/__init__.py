"""Two kinds of picture as SVG text: errors before and after as dumbbells, and curves over epochs.

Pure: numbers in, one self-contained SVG out, readable in light and dark, inside a page and as a file of its own. Read
`dumbbells` and `curves` next; `drawing` has the parts of every picture, `wording` numbers as text.
"""

from l0core.plots.curves import Curve, line_chart
from l0core.plots.drawing import DARK, LIGHT, Theme
from l0core.plots.dumbbells import MOST_ROWS, NARROW, WIDE, Layout, Pair, dumbbell_chart
from l0core.plots.wording import counted, percent, power_of_ten, short_number

__all__ = [
    "DARK",
    "LIGHT",
    "MOST_ROWS",
    "NARROW",
    "WIDE",
    "Curve",
    "Layout",
    "Pair",
    "Theme",
    "counted",
    "dumbbell_chart",
    "line_chart",
    "percent",
    "power_of_ten",
    "short_number",
]
