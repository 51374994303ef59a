//! A chart of both ways over time: what came in grows upward, what went out downward from one axis,
//! each on a scale of its own that is written beside it and changes in whole steps only.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;

use super::line::{line, put, put_right, within};
use super::theme::{Theme, eighths};
use crate::model::flow::Direction;
use crate::text::units::Units;

/// Rates of one interval; `None` where nothing was measured.
pub type Sample = Option<(f64, f64)>;

/// A chart of these samples, the latest last.
pub struct Chart<'a> {
    /// What is drawn: the last of them that find room.
    pub samples: &'a [Sample],
    pub units: Units,
    pub theme: Theme,
    /// Seconds that one sample stands for, for the axis.
    pub seconds: f64,
}

impl Chart<'_> {
    /// The part of an area that the samples are drawn in; `None` where that has no room for any.
    fn plot(area: Rect, units: Units) -> Option<Rect> {
        let margin = u16::try_from(units.rate_width()).unwrap_or(12) + 2;
        (area.height >= 3 && area.width >= margin + 8).then(|| Rect {
            x: area.x + margin,
            width: area.width - margin - 1,
            ..area
        })
    }

    /// How many samples are after the one that is drawn at a place.
    pub fn sample_at(area: Rect, units: Units, at: Position) -> Option<usize> {
        let plot = Self::plot(area, units)?;
        plot.contains(at)
            .then(|| usize::from(plot.right() - 1 - at.x))
    }

    /// Draws a line through the sample that has so many after it.
    pub fn mark(&self, area: Rect, after: usize, buf: &mut Buffer) {
        let Some(plot) = Self::plot(area, self.units) else {
            return;
        };
        let column = u16::try_from(after).ok();
        let Some(x) = column.and_then(|after| (plot.right() - 1).checked_sub(after)) else {
            return;
        };
        if x < plot.x {
            return;
        }
        for y in plot.y..plot.bottom() {
            let cell = &mut buf[(x, y)];
            if cell.symbol() == " " {
                cell.set_symbol(if self.theme.glyphs.ascii { "|" } else { "│" });
            }
            cell.set_style(self.theme.notice());
        }
    }

    /// Draws it; something can be seen from three lines up.
    pub fn render(&self, area: Rect, buf: &mut Buffer) {
        let Some(plot) = Self::plot(area, self.units) else {
            return;
        };
        let margin = plot.x - area.x;
        let up = (area.height - 1) / 2;
        let down = area.height - 1 - up;
        let room = usize::from(plot.width);
        let shown = &self.samples[self.samples.len().saturating_sub(room)..];
        let top = |rate: fn(&(f64, f64)) -> f64| {
            nice(shown.iter().flatten().map(rate).fold(0.0, f64::max))
        };
        let (rx_top, tx_top) = (top(|sample| sample.0), top(|sample| sample.1));
        self.axis(line(area, up), plot, shown.len(), buf);
        let label = |top: f64, n, hue, what: &str, buf: &mut Buffer| {
            let at = within(line(area, n), 1, margin - 2);
            if top > 0.0 {
                put_right(buf, at, &self.units.rate(top), self.theme.dim());
            }
            let beside = line(area, if n == 0 { up.saturating_sub(1) } else { up + 1 });
            if beside.y != at.y {
                put_right(buf, within(beside, 1, margin - 2), what, hue);
            }
        };
        label(rx_top, 0, self.theme.hue(Direction::Rx), "in", buf);
        label(
            tx_top,
            area.height - 1,
            self.theme.hue(Direction::Tx),
            "out",
            buf,
        );
        let first = plot.x + plot.width - u16::try_from(shown.len()).unwrap_or(plot.width);
        for (x, sample) in (first..).zip(shown) {
            match sample {
                Some((rx, tx)) => {
                    let bottom = area.y + up - 1;
                    self.bar(x, bottom, up, eighths(*rx, rx_top, up.into()), true, buf);
                    let first = area.y + up + 1;
                    self.bar(
                        x,
                        first,
                        down,
                        eighths(*tx, tx_top, down.into()),
                        false,
                        buf,
                    );
                }
                None => {
                    buf[(x, area.y + up)].set_symbol(self.theme.glyphs.gap);
                }
            }
        }
    }

    /// One column of cells from the axis outwards. There are no glyphs that hang from the top, so
    /// those of the lower half are glyphs that stand, with their colours turned round.
    fn bar(&self, x: u16, from: u16, cells: u16, eighths: usize, upward: bool, buf: &mut Buffer) {
        let direction = if upward { Direction::Rx } else { Direction::Tx };
        let hue = self.theme.hue(direction);
        let bars = &self.theme.glyphs.bars;
        for n in 0..cells {
            let left = eighths.saturating_sub(usize::from(n) * 8);
            let y = if upward { from - n } else { from + n };
            let cell = &mut buf[(x, y)];
            match left {
                0 => break,
                8.. => cell.set_symbol(bars[7]).set_style(hue),
                part if upward || self.theme.glyphs.ascii => {
                    cell.set_symbol(bars[part - 1]).set_style(hue)
                }
                part => cell
                    .set_symbol(bars[7 - part])
                    .set_style(hue.add_modifier(Modifier::REVERSED)),
            };
        }
    }

    /// The line between the two, with the times of some of its points.
    fn axis(&self, at: Rect, plot: Rect, shown: usize, buf: &mut Buffer) {
        let dim = self.theme.dim();
        let at = Rect {
            x: plot.x,
            width: plot.width,
            ..at
        };
        super::line::fill(buf, at, self.theme.glyphs.rule, dim);
        put_right(buf, at, " now", dim);
        let step = [
            5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0,
        ]
        .into_iter()
        .find(|step| step / self.seconds >= 24.0)
        .unwrap_or(604_800.0);
        for n in 1..100 {
            let ago = step * f64::from(n);
            let column = (ago / self.seconds).round();
            if column >= f64::from(plot.width) || shown == 0 {
                break;
            }
            let text = format!(" {} ago ", span(ago));
            let x = plot.width - 1 - column as u16;
            let half = u16::try_from(text.len() / 2).unwrap_or(0);
            if x >= half && x + half + 6 < plot.width {
                put(buf, at, x - half, &text, dim);
            }
        }
    }
}

/// The next round number that is not less, so that a scale stays for a while.
pub fn nice(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 0.0;
    }
    let decade = 10f64.powf(value.log10().floor());
    for step in [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0] {
        // A thousandth over is not worth a step.
        if value <= decade * step * 1.0001 {
            return decade * step;
        }
    }
    decade * 10.0
}

/// A round length of time.
fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..300 => format!("{whole} s"),
        300..7200 => format!("{} min", whole / 60),
        _ => format!("{} h", whole / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::draw::theme::{Background, Depth, Glyphs};

    fn chart(samples: &[Sample], ascii: bool, width: u16, height: u16) -> Vec<String> {
        let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
        let theme = Theme {
            depth: Depth::Mono,
            background: Background::Unknown,
            glyphs: Glyphs::new(ascii),
            palette: crate::options::Palette::default(),
        };
        let chart = Chart {
            samples,
            units: Units::Bytes,
            theme,
            seconds: 1.0,
        };
        chart.render(buf.area, &mut buf);
        (0..height)
            .map(|y| (0..width).map(|x| buf[(x, y)].symbol()).collect())
            .collect()
    }

    #[test]
    fn scales_are_round_and_never_too_small() {
        for (value, expected) in [
            (0.0, 0.0),
            (1.0, 1.0),
            (1.01, 1.5),
            (99.0, 100.0),
            (148e6, 150e6),
            (200e6, 200e6),
            (201e6, 250e6),
        ] {
            assert_eq!(nice(value), expected, "{value}");
        }
        let mut value = 1e-3;
        while value < 1e18 {
            assert!(nice(value) * 1.001 >= value && nice(value) <= value * 2.6);
            value *= 1.07;
        }
    }

    #[test]
    fn what_comes_in_grows_upward_and_what_goes_out_downward() {
        let drawn = chart(&[Some((100.0, 0.0)), None, Some((0.0, 50.0))], true, 40, 7);
        assert!(drawn[0].ends_with("#   "), "{drawn:#?}");
        assert!(
            drawn[2].ends_with("#   ") && drawn[2].contains("in"),
            "{drawn:#?}"
        );
        assert!(drawn[6].ends_with("  # "), "{drawn:#?}");
        assert!(drawn[0].starts_with("   100 B/s"), "{drawn:#?}");
    }

    #[test]
    fn no_area_is_too_small() {
        let samples = vec![Some((1e9, 5.0)); 400];
        for width in 0..60 {
            for height in 0..14 {
                chart(&samples, false, width, height);
            }
        }
        chart(&samples, false, 300, 60);
    }
}
