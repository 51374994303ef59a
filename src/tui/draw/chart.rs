//! A chart of both directions over time: bytes in grow upward from the axis, bytes out downward.
//! Both have one scale, unless they differ so much that one would be a flat line.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::braille;
use super::line::{line, put, put_right, within};
use super::theme::Theme;
use crate::model::flow::Direction;
use crate::text::units::Units;

/// Rates of one interval; `None` where nothing was measured.
pub type Sample = Option<(f64, f64)>;

/// Steps of the time scale: numbers of samples over the width of the chart.
const WINDOWS: [usize; 6] = [30, 60, 120, 240, 300, 600];
/// The same while flowtop has just started, so that at least half of the chart is drawn from the
/// second sample on.
const FIRST_WINDOWS: [usize; 6] = [2, 4, 7, 12, 18, 24];
/// Cells between two times on the axis: usually, and in a narrow chart.
const LABEL_STEP: usize = 24;
const MIN_LABEL_STEP: usize = 15;
/// Ratio of the directions from which on the smaller one has a scale of its own.
const MIN_OWN_SCALE_RATIO: f64 = 10.0;

/// The time window that a chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChartWindow {
    /// Samples that fill the width; `None` for all samples, up to the width.
    pub samples: Option<usize>,
    /// Number of the latest sample since the first one ever.
    pub number: u64,
}

/// A chart of samples, the latest last.
pub struct Chart<'a> {
    pub samples: &'a [Sample],
    pub units: Units,
    pub theme: Theme,
    /// Seconds that one sample stands for, for the axis.
    pub seconds: f64,
    pub window: ChartWindow,
}

/// The scales of both ways.
struct Scales {
    rx: f64,
    tx: f64,
    /// The direction with the finer scale, and the factor between both.
    finer: Option<(Direction, u32)>,
}

/// A point of the plot, half a cell wide: its sample, if there is one.
type PlotPoint = Option<Sample>;

impl ChartWindow {
    /// Returns the next longer or shorter time scale for a plot that shows `shown` samples now.
    pub fn next(longer: bool, shown: usize) -> Option<usize> {
        match longer {
            true => WINDOWS.into_iter().find(|&window| window > shown),
            false => WINDOWS.into_iter().rev().find(|&window| window < shown),
        }
    }

    /// Returns the number of samples shown, out of `known` ones, on `points` points.
    pub fn shown(&self, known: usize, points: usize) -> usize {
        let mut windows = FIRST_WINDOWS.into_iter().chain(WINDOWS);
        let fitting = windows.find(|&window| window >= known);
        let usual = fitting.unwrap_or(known).min(points);
        self.samples.unwrap_or(usual).max(1)
    }
}

/// Returns the area of the plot in a chart's area, without the margin for its scales; empty if the
/// chart is too small.
pub fn plot(area: Rect, units: Units) -> Rect {
    let margin = u16::try_from(units.rate_width()).unwrap_or(12) + 2;
    if area.height < 3 || area.width < margin + 8 {
        return Rect::default();
    }
    Rect {
        x: area.x + margin,
        width: area.width - margin - 1,
        ..area
    }
}

impl Chart<'_> {
    /// Returns the number of samples after the one drawn at a position.
    pub fn sample_at(&self, area: Rect, at: Position) -> Option<usize> {
        let plot = plot(area, self.units);
        let is_inside = plot.contains(at);
        let cell = is_inside.then(|| usize::from(plot.right() - 1 - at.x))?;
        let after = self.samples_after(usize::from(plot.width) * braille::SAMPLES);
        after.get(cell * braille::SAMPLES).copied()
    }

    /// Draws a vertical line at the sample that has `after` samples after it.
    pub fn mark(&self, area: Rect, after: usize, buf: &mut Buffer) {
        let plot = plot(area, self.units);
        let points = self.samples_after(usize::from(plot.width) * braille::SAMPLES);
        let Some(point) = points.iter().rposition(|&first| first <= after) else {
            return;
        };
        // A sample older than the drawn ones has no line.
        if point + 1 == points.len() && after >= self.shown_samples(plot) {
            return;
        }
        let x = plot.right() - 1 - (point / braille::SAMPLES) as u16;
        for y in plot.y..plot.bottom() {
            let cell = &mut buf[(x, y)];
            if cell.symbol() == " " {
                cell.set_symbol(self.theme.glyphs.wall);
            }
            cell.set_style(self.theme.notice());
        }
    }

    fn shown_samples(&self, plot: Rect) -> usize {
        let room = usize::from(plot.width) * braille::SAMPLES;
        let window = self.window.shown(self.samples.len(), room);
        self.samples.len().min(window)
    }

    /// Returns, for each point with samples, the number of samples after its latest one, from the
    /// right.
    fn samples_after(&self, room: usize) -> Vec<usize> {
        let window = self.window.shown(self.samples.len(), room);
        let known = self.samples.len().min(window);
        if window > room {
            let groups = braille::groups(known, self.window.number, window.div_ceil(room.max(1)));
            let mut after: Vec<usize> = groups.map(|group| known - group.end).collect();
            after.reverse();
            after.truncate(room);
            return after;
        }
        let after = (0..room).map(|n| n * window / room);
        after.take_while(|&after| after < known).collect()
    }

    /// Draws the chart; it needs at least three lines.
    pub fn render(&self, area: Rect, buf: &mut Buffer) {
        let plot = plot(area, self.units);
        if plot.is_empty() {
            return;
        }
        let up = (area.height - 1) / 2;
        let down = area.height - 1 - up;
        let points = self.points(usize::from(plot.width) * braille::SAMPLES);
        let scales = Scales::of(&points);
        self.axis(line(area, up), plot, &points, buf);
        self.labels(area, up, &scales, buf);
        for (x, pair) in (plot.x..).zip(points.chunks(braille::SAMPLES)) {
            let rates = |way: fn(&(f64, f64)) -> f64| {
                pair_of(pair, |point| point.flatten().as_ref().map_or(0.0, way))
            };
            let (rx, tx) = (rates(|rates| rates.0), rates(|rates| rates.1));
            self.bar(
                (x, area.y + up - 1),
                up,
                (rx, scales.rx),
                Direction::Rx,
                buf,
            );
            self.bar(
                (x, area.y + up + 1),
                down,
                (tx, scales.tx),
                Direction::Tx,
                buf,
            );
            if pair.contains(&Some(None)) {
                buf[(x, area.y + up)].set_symbol(self.theme.glyphs.gap);
            }
        }
    }

    /// Spreads the latest samples over the points of the plot, or joins several in one point.
    fn points(&self, room: usize) -> Vec<PlotPoint> {
        let window = self.window.shown(self.samples.len(), room);
        let known = self.samples.len().min(window);
        let latest = &self.samples[self.samples.len() - known..];
        let mut points: Vec<PlotPoint> = vec![None; room];
        if window > room {
            let each = window.div_ceil(room);
            let joined = braille::groups(known, self.window.number, each);
            let joined: Vec<Sample> = joined.map(|group| average(&latest[group])).collect();
            for (point, sample) in points.iter_mut().rev().zip(joined.iter().rev()) {
                *point = Some(*sample);
            }
            return points;
        }
        for (n, point) in points.iter_mut().rev().enumerate() {
            let ago = n * window / room;
            *point = known.checked_sub(ago + 1).map(|n| latest[n]);
        }
        points
    }

    /// Draws one column of cells from the axis outwards; `from` is the cell next to the axis.
    fn bar(
        &self,
        from: (u16, u16),
        cells: u16,
        (rates, top): ([f64; 2], f64),
        direction: Direction,
        buf: &mut Buffer,
    ) {
        let hue = self.theme.hue(direction);
        let hangs = direction == Direction::Tx;
        let most = usize::from(cells) * braille::DOTS;
        let dots = rates.map(|rate| braille::dots(rate, top, most));
        for n in 0..cells {
            let below = usize::from(n) * braille::DOTS;
            let left = dots.map(|dots| dots.saturating_sub(below));
            if left == [0, 0] {
                break;
            }
            let y = if hangs { from.1 + n } else { from.1 - n };
            let cell = braille::cell(left, hangs, self.theme.glyphs);
            buf[(from.0, y)].set_char(cell).set_style(hue);
        }
    }

    /// Writes the scales into the corners, and the directions beside the axis.
    fn labels(&self, area: Rect, up: u16, scales: &Scales, buf: &mut Buffer) {
        let margin = plot(area, self.units).x - area.x;
        let mut label = |top: f64, corner: u16, beside: u16, way: Direction, name: &str| {
            let at = within(line(area, corner), 1, margin - 2);
            if top > 0.0 {
                put_right(buf, at, &self.units.rate(top), self.theme.dim());
            }
            if beside == corner {
                return;
            }
            let text = match scales.finer {
                Some((finer, times)) if finer == way => {
                    format!("{name} {}{times}", self.theme.glyphs.times)
                }
                _ => name.to_owned(),
            };
            let at = within(line(area, beside), 1, margin - 2);
            put_right(buf, at, &text, self.theme.hue(way));
        };
        label(scales.rx, 0, up.saturating_sub(1), Direction::Rx, "in");
        label(scales.tx, area.height - 1, up + 1, Direction::Tx, "out");
    }

    /// Draws the axis, with the times of some of its points. Before a gap no times are known.
    fn axis(&self, at: Rect, plot: Rect, points: &[PlotPoint], buf: &mut Buffer) {
        let dim = self.theme.dim();
        let at = Rect {
            x: plot.x,
            width: plot.width,
            ..at
        };
        super::line::fill(buf, at, self.theme.glyphs.rule, dim);
        put_right(buf, at, " now", dim);
        let window = self.window.shown(self.samples.len(), points.len());
        let cells = usize::from(plot.width);
        let by_cell = if window > points.len() {
            window.div_ceil(points.len()) as f64 * 2.0
        } else {
            window as f64 / cells as f64
        };
        let seconds = self.seconds * by_cell;
        let gap = points.iter().rev().position(|point| *point == Some(None));
        let labelled = gap.map_or(cells, |point| point / braille::SAMPLES);
        let room = (cells / 3).clamp(MIN_LABEL_STEP, LABEL_STEP) as f64;
        let step = [
            1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0,
        ]
        .into_iter()
        .find(|step| step / seconds >= room)
        .unwrap_or(604_800.0);
        for n in 1..100 {
            let ago = step * f64::from(n);
            let column = (ago / seconds).round();
            if column >= labelled as f64 || self.samples.is_empty() {
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

impl Scales {
    fn of(points: &[PlotPoint]) -> Self {
        let most = |way: fn(&(f64, f64)) -> f64| {
            let rates = points.iter().flatten().flatten().map(way);
            rates.fold(0.0, f64::max)
        };
        let (rx, tx) = (most(|rates| rates.0), most(|rates| rates.1));
        let top = nice(rx.max(tx));
        let (less, way) = if rx < tx {
            (rx, Direction::Rx)
        } else {
            (tx, Direction::Tx)
        };
        if less <= 0.0 || less * MIN_OWN_SCALE_RATIO > rx.max(tx) {
            let finer = None;
            return Self {
                rx: top,
                tx: top,
                finer,
            };
        }
        // The factor is a power of ten, which is easy to convert.
        let power = (top / less).log10().floor().clamp(1.0, 9.0) as u32;
        let times = 10u32.pow(power);
        let finer = top / f64::from(times);
        let (rx, tx) = match way {
            Direction::Rx => (finer, top),
            Direction::Tx => (top, finer),
        };
        Self {
            rx,
            tx,
            finer: Some((way, times)),
        }
    }
}

/// Applies a function to the two points of a cell.
fn pair_of(pair: &[PlotPoint], rate: impl Fn(PlotPoint) -> f64) -> [f64; 2] {
    [0, 1].map(|n| pair.get(n).map_or(0.0, |point| rate(*point)))
}

/// Returns the average of samples that share a point; `None` if none of them was measured.
fn average(samples: &[Sample]) -> Sample {
    let known: Vec<(f64, f64)> = samples.iter().flatten().copied().collect();
    if known.is_empty() {
        return None;
    }
    let sum = |way: fn(&(f64, f64)) -> f64| known.iter().map(way).sum::<f64>();
    let count = known.len() as f64;
    Some((sum(|rates| rates.0) / count, sum(|rates| rates.1) / count))
}

/// Returns the next round number that is not smaller, so that a scale changes rarely.
pub fn nice(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 0.0;
    }
    let decade = 10f64.powf(value.log10().floor());
    for step in [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0] {
        // An excess of less than a thousandth causes no step.
        if value <= decade * step * 1.0001 {
            return decade * step;
        }
    }
    decade * 10.0
}

/// Formats a length of time, rounded.
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
        chart_of(samples, ascii, width, height, None)
    }

    fn chart_of(
        samples: &[Sample],
        ascii: bool,
        width: u16,
        height: u16,
        window: Option<usize>,
    ) -> Vec<String> {
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
            window: ChartWindow {
                samples: window,
                number: samples.len() as u64,
            },
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
        // As many samples as points: 28 cells beside the margin.
        let mut samples = vec![Some((0.0, 0.0)); 56];
        (samples[52], samples[53]) = (Some((100.0, 0.0)), Some((100.0, 0.0)));
        (samples[54], samples[55]) = (Some((0.0, 50.0)), Some((0.0, 50.0)));
        let drawn = chart_of(&samples, true, 40, 7, Some(56));
        assert!(drawn[0].ends_with("#  "), "{drawn:#?}");
        assert!(
            drawn[2].ends_with("#  ") && drawn[2].contains("in"),
            "{drawn:#?}"
        );
        assert!(drawn[4].ends_with(" # "), "{drawn:#?}");
        // One scale for both: half of it is half as long.
        assert!(drawn[6].ends_with("   "), "{drawn:#?}");
        assert!(drawn[0].starts_with("   100 B/s"), "{drawn:#?}");
        assert!(drawn[6].starts_with("   100 B/s"), "{drawn:#?}");
    }

    #[test]
    fn a_way_that_moves_ten_times_less_has_a_scale_of_its_own_and_says_so() {
        let drawn = chart(&[Some((90e6, 70e3)); 60], false, 80, 9);
        assert!(drawn[0].starts_with("  100 MB/s"), "{drawn:#?}");
        assert!(drawn[5].contains("out ×1000"), "{drawn:#?}");
        assert!(drawn[8].starts_with("  100 kB/s"), "{drawn:#?}");
        let drawn = chart(&[Some((90e6, 10e6)); 60], false, 80, 9);
        assert!(
            drawn[5].contains("out") && !drawn[5].contains('×'),
            "{drawn:#?}"
        );
    }

    #[test]
    fn little_history_is_stretched_and_much_of_it_is_joined() {
        let dots = |drawn: &[String]| drawn[2].chars().filter(|c| ('⠁'..='⣿').contains(c)).count();
        // 32 of 60 samples.
        let half = chart(&[Some((9.0, 9.0)); 32], false, 91, 7);
        assert!((41..=43).contains(&dots(&half)), "{half:#?}");
        for known in 1..=600 {
            let drawn = dots(&chart(&vec![Some((9.0, 9.0)); known], false, 91, 7));
            assert!(drawn >= 39, "{known} samples: {drawn} of 79 cells");
        }
        let joined = chart_of(&[Some((9.0, 9.0)); 300], false, 91, 7, Some(600));
        assert!((36..=41).contains(&dots(&joined)), "{joined:#?}");
        assert!(joined[3].contains("5 min ago"), "{joined:#?}");
    }

    #[test]
    fn a_gap_is_marked_and_no_time_is_written_before_it() {
        let mut samples = vec![Some((9.0, 9.0)); 100];
        samples[70] = None;
        let drawn = chart(&samples, false, 110, 7);
        assert!(drawn[3].contains('·'), "{drawn:#?}");
        let (before, _) = drawn[3].split_once('·').unwrap();
        assert!(!before.contains("ago"), "{drawn:#?}");
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
