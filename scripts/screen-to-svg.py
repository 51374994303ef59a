#!/usr/bin/env python3
"""Turns what `tmux capture-pane -e -p` says (standard input) into an SVG picture (standard output).

Usage: screen-to-svg.py COLUMNS ROWS [dark|light] [TITLE]
       screen-to-svg.py --animate SECONDS COLUMNS ROWS dark|light TITLE SCREEN...

With --animate the screens are files, each shown for so many seconds.
"""

import re
import sys
import unicodedata
from xml.sax.saxutils import escape

CELL_W, CELL_H, FONT, PAD = 8.4, 17.0, 14, 10
DARK = {
    "bg": "#16181d", "fg": "#d4d7dd",
    "palette": ["#16181d", "#e06c60", "#7fb86a", "#d9a441", "#5f97d8", "#b98ad6", "#45b3c4", "#d4d7dd",
                "#6b7280", "#f08a7d", "#98d082", "#efc16a", "#82b3ef", "#d0a6ea", "#6fd0df", "#ffffff"],
}
LIGHT = {
    "bg": "#fbfbf9", "fg": "#24292f",
    "palette": ["#24292f", "#b3261e", "#2f7d32", "#8a6100", "#1f5fae", "#8339a8", "#0b6b7d", "#6b7280",
                "#57606a", "#cf3b30", "#3c9440", "#a87800", "#2f76cf", "#9b51c4", "#128396", "#fbfbf9"],
}


def colour(theme, spec, default):
    if spec is None:
        return theme[default]
    if isinstance(spec, tuple):
        return "#%02x%02x%02x" % spec
    if spec < 16:
        return theme["palette"][spec]
    if spec < 232:
        steps = [0, 95, 135, 175, 215, 255]
        spec -= 16
        return "#%02x%02x%02x" % (steps[spec // 36], steps[spec // 6 % 6], steps[spec % 6])
    grey = 8 + (spec - 232) * 10
    return "#%02x%02x%02x" % (grey, grey, grey)


def mix(a, b, part):
    a = [int(a[i:i + 2], 16) for i in (1, 3, 5)]
    b = [int(b[i:i + 2], 16) for i in (1, 3, 5)]
    return "#%02x%02x%02x" % tuple(round(x + (y - x) * part) for x, y in zip(a, b))


class Pen:
    def __init__(self):
        self.fg = self.bg = None
        self.bold = self.dim = self.reverse = False

    def apply(self, codes):
        codes = [int(c or 0) for c in re.split("[;:]", codes)] or [0]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__()
            elif code == 1:
                self.bold = True
            elif code == 2:
                self.dim = True
            elif code == 22:
                self.bold = self.dim = False
            elif code == 7:
                self.reverse = True
            elif code == 27:
                self.reverse = False
            elif 30 <= code <= 37:
                self.fg = code - 30
            elif 90 <= code <= 97:
                self.fg = code - 82
            elif code == 39:
                self.fg = None
            elif 40 <= code <= 47:
                self.bg = code - 40
            elif 100 <= code <= 107:
                self.bg = code - 92
            elif code == 49:
                self.bg = None
            elif code in (38, 48) and codes:
                kind = codes.pop(0)
                value = codes.pop(0) if kind == 5 else tuple(codes.pop(0) for _ in range(3))
                if code == 38:
                    self.fg = value
                else:
                    self.bg = value

    def style(self, theme):
        fg, bg = colour(theme, self.fg, "fg"), colour(theme, self.bg, "bg")
        if self.reverse:
            fg, bg = bg, fg
        if self.dim:
            fg = mix(fg, bg, 0.42)
        return fg, bg, self.bold


def cells(line):
    """Characters of a line with how each is drawn, one entry a column."""
    for part in re.split("(\x1b\\[[0-9;:]*m|\x0e|\x0f)", line):
        if part.startswith("\x1b["):
            PEN.apply(part[2:-1])
            continue
        for char in part:
            if char < " ":
                continue
            yield char
            if unicodedata.east_asian_width(char) in "WF":
                yield ""


def block(char):
    """Eighth blocks as (x, y, width, height) in parts of a cell: fonts do not agree on them."""
    code = ord(char) if char else 0
    if 0x2581 <= code <= 0x2588:
        part = (code - 0x2580) / 8
        return 0, 1 - part, 1, part
    if 0x2589 <= code <= 0x258F:
        return 0, 0, (0x2590 - code) / 8, 1
    return None


def dots(char):
    """Dots of a braille pattern as (x, y) in parts of a cell: many fonts have none, or wider ones."""
    code = ord(char) - 0x2800 if char else -1
    if not 0 < code < 0x100:
        return None
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    return [((x + 0.5) / 2, (y + 0.5) / 4) for n, (x, y) in enumerate(places) if code >> n & 1]


def dot_path(chars, left, top):
    """The dots of braille patterns as a path of strokes without length, which round ends make visible."""
    path, at = [], (0.0, 0.0)
    for i, char in enumerate(chars):
        for x, y in dots(char):
            x, y = round(left + (i + x) * CELL_W, 1), round(top + y * CELL_H, 1)
            path.append(f"m{x - at[0]:.4g} {y - at[1]:.4g}h0".replace(" -", "-"))
            at = (x, y)
    return "".join(path)


def picture(text, columns, rows, theme):
    """The elements of one screen."""
    global PEN
    lines = text.split("\n")[:rows]
    out = []
    # Words and backgrounds by their style: said once for all of them.
    words, grounds = {}, {}
    PEN = Pen()
    for y, line in enumerate(lines):
        top = PAD + y * CELL_H
        runs, x = [], 0
        for char in cells(line):
            if x >= columns:
                break
            style = PEN.style(theme)
            kind = "block" if block(char) else "dots" if dots(char) else "text"
            if runs and runs[-1][1] == style and runs[-1][3] == kind:
                runs[-1][2].append(char)
            else:
                runs.append((x, style, [char], kind))
            x += 1
        for start, (fg, bg, bold), chars, kind in runs:
            left = PAD + start * CELL_W
            if bg != theme["bg"]:
                wide = f"{len(chars) * CELL_W:.4g}"
                grounds.setdefault(bg, []).append(f"M{left:.4g} {top:.4g}h{wide}v{CELL_H:g}h-{wide}z")
            if kind == "dots":
                out.append(f'<path d="{dot_path(chars, left, top)}" stroke="{fg}"/>')
                continue
            if kind == "block":
                path = []
                for i, char in enumerate(chars):
                    bx, by, bw, bh = block(char)
                    path.append(f"M{left + (i + bx) * CELL_W:.1f} {top + by * CELL_H:.1f}"
                                f"h{bw * CELL_W + 0.2:.1f}v{bh * CELL_H:.1f}h{-bw * CELL_W - 0.2:.1f}z")
                out.append(f'<path d="{"".join(path)}" fill="{fg}" shape-rendering="crispEdges"/>')
                continue
            # Each word by itself, so that columns hold whatever the font's width.
            text = "".join(char or "" for char in chars)
            for word in re.finditer(r"\S+(?: \S+)*", text):
                at = left + word.start() * CELL_W
                length = len(word.group()) * CELL_W
                # One character has no length to hold.
                held = f' textLength="{length:.4g}"' if len(word.group()) > 1 else ""
                words.setdefault((fg, bold), []).append(
                    f'<text x="{at:.4g}" y="{top + 13:.4g}"{held}>{escape(word.group())}</text>')
    for (fg, bold), texts in words.items():
        weight = ' font-weight="700"' if bold else ""
        out += [f'<g fill="{fg}"{weight}>', *texts, "</g>"]
    behind = [f'<path d="{"".join(parts)}" fill="{bg}" shape-rendering="crispEdges"/>' for bg, parts in grounds.items()]
    return behind + out


def main():
    seconds = None
    arguments = sys.argv[1:]
    if arguments[0] == "--animate":
        seconds, arguments = float(arguments[1]), arguments[2:]
    columns, rows = int(arguments[0]), int(arguments[1])
    theme = LIGHT if arguments[2:3] == ["light"] else DARK
    title = arguments[3] if len(arguments) > 3 else "flowtop"
    width, height = columns * CELL_W + 2 * PAD, rows * CELL_H + 2 * PAD
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="6" fill="{theme["bg"]}"/>',
        f'<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace" '
        f'font-size="{FONT}" stroke-width="2.6" stroke-linecap="round" xml:space="preserve">',
    ]
    if seconds is None:
        out += picture(sys.stdin.read(), columns, rows, theme)
    else:
        # One screen after the other; the first alone where nothing may move.
        screens = arguments[4:]
        all_of_it = seconds * len(screens)
        out.append(
            f"<style>.s{{visibility:hidden}}.s:first-of-type{{visibility:visible}}"
            f"@media(prefers-reduced-motion:no-preference){{.s{{animation:s {all_of_it:g}s infinite}}}}"
            f"@keyframes s{{0%,{99.99 / len(screens):.3f}%{{visibility:visible}}"
            f"{100 / len(screens):.3f}%,100%{{visibility:hidden}}}}</style>")
        for n, screen in enumerate(screens):
            # All begin at once, each at its place in the round.
            delay = (n - len(screens)) * seconds
            out.append(f'<g class="s" style="animation-delay:{delay:g}s">')
            with open(screen, encoding="utf-8") as file:
                out += picture(file.read(), columns, rows, theme)
            out.append("</g>")
    out.append("</g></svg>")
    print("\n".join(out))


main()
