#!/usr/bin/env python3
"""Draws a table of measurements as bars: how many times as fast as llama.cpp Sconce is.

    scripts/ratio_picture.py benches/runs/DATE-MACHINE/beside-llama-cpp.csv benches/runs/DATE-MACHINE/beside-llama-cpp.svg

Columns: group, work, unit, sconce, peer, better (`higher` for rates, `lower` for times). Needs nothing but Python.
"""

import csv
import sys
from html import escape

ROW, TOP, LEFT, WIDTH, RIGHT = 24, 46, 320, 320, 280
CLIP = 4.0  # a longer bar is cut, and shows it


def ratio(line):
    sconce, peer = float(line["sconce"]), float(line["peer"])
    return sconce / peer if line["better"] == "higher" else peer / sconce


def short(figure):
    """Three digits, as many as such a measurement is worth."""
    return f"{float(figure):.3g}"


def draw(lines, title):
    scale = WIDTH / CLIP
    groups = list(dict.fromkeys(line["group"] for line in lines))
    height = TOP + ROW * (len(lines) + len(groups)) + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        "<style>text{fill:#1f2328}.faint{fill:#59636e}.ahead{fill:#1a7f64}.behind{fill:#b35900}.line{stroke:#59636e}.cut{fill:#fff}"
        "@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.faint{fill:#9198a1}.ahead{fill:#3fb68b}.behind{fill:#e08a3c}"
        ".line{stroke:#9198a1}.cut{fill:#0d1117}}</style>",
        f'<text x="8" y="22" font-weight="600">{escape(title)}</text>',
    ]
    y = TOP
    for group in groups:
        out.append(f'<text class="faint" x="8" y="{y + 16}">{escape(group)}</text>')
        y += ROW
        for line in (line for line in lines if line["group"] == group):
            times = ratio(line)
            width = min(times, CLIP) * scale
            figures = f'{short(line["sconce"])} against {short(line["peer"])} {line["unit"]}'
            cut = '<rect class="cut" ' + f'x="{LEFT + width - 26:.1f}" y="{y + 2}" width="5" height="{ROW - 4}"/>'
            out += [
                f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(line["work"])}</text>',
                f'<rect class="{"ahead" if times >= 1 else "behind"}" x="{LEFT}" y="{y + 4}" width="{width:.1f}" '
                f'height="{ROW - 8}" rx="2"/>' + (cut if times > CLIP else ""),
                f'<text x="{LEFT + width + 8:.1f}" y="{y + 16}"><tspan font-weight="600">{times:.2f} ×</tspan>'
                f'<tspan class="faint" dx="6" font-size="11">{escape(figures)}</tspan></text>',
            ]
            y += ROW
    x = LEFT + scale
    out += [
        f'<line class="line" x1="{x}" y1="{TOP}" x2="{x}" y2="{y + 4}" stroke-dasharray="3 3"/>',
        f'<text class="faint" x="{x}" y="{y + 20}" text-anchor="middle" font-size="11">as fast as llama.cpp; bars beyond {CLIP:.0f} × are cut</text>',
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(draw(lines, "Times as fast as llama.cpp, on the same machine with the same files"))


if __name__ == "__main__":
    main()
