//! Divides the screen into its parts by its size alone. Drawing and clicks use the same division.

use ratatui::layout::Rect;

/// The parts of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScreenLayout {
    pub header: Rect,
    /// The chart, where there is room; empty otherwise.
    pub chart: Rect,
    pub body: Rect,
    pub footer: Rect,
}

/// Height of the screen, in lines, from which on there is a chart.
const CHART_FROM: u16 = 32;
/// Width of the screen from which on the rates of both directions are in one line, in any unit.
const BESIDE: u16 = 36;
/// Lines below the header from which on there is a footer: a row, the sum of the others, and the
/// footer.
const MIN_BODY_AND_FOOTER: u16 = 3;
/// Upper bound of the chart's height, in lines.
const MAX_CHART: u16 = 8;

impl ScreenLayout {
    /// Divides the screen. The chart has a fixed height, as the tables matter more.
    pub fn new(area: Rect) -> Self {
        // If the rates of both directions do not fit beside each other, they are below each other.
        let header = area.height.min(if area.width < BESIDE { 3 } else { 2 });
        // A row with its name is worth more than the keys.
        let footer = u16::from(area.height >= header + MIN_BODY_AND_FOOTER);
        let chart = match area.height {
            0..CHART_FROM => 0,
            CHART_FROM..40 => 6,
            _ => MAX_CHART,
        };
        let part = |y: u16, height: u16| Rect {
            y: area.y + y,
            height,
            ..area
        };
        Self {
            header: part(0, header),
            chart: part(header, chart),
            body: part(header + chart, area.height - header - chart - footer),
            footer: part(area.height - footer, footer),
        }
    }

    /// Gives a line of the body to the footer, for the hint about a prompt's text.
    #[must_use]
    pub fn with_prompt(mut self) -> Self {
        if self.body.height > 0 && self.footer.height > 0 {
            self.body.height -= 1;
            self.footer.y -= 1;
            self.footer.height += 1;
        }
        self
    }

    /// Gives the lines of the chart to the body, for pages other than tables.
    #[must_use]
    pub fn without_chart(mut self) -> Self {
        self.body.y = self.chart.y;
        self.body.height += self.chart.height;
        self.chart.height = 0;
        self
    }

    /// Divides the body among sections by the lines each one needs. If they do not all fit, a
    /// section that needs less than half gets what it needs.
    pub fn sections(&self, needed: &[u16]) -> Vec<Rect> {
        let room = self.body.height;
        let heights: Vec<u16> = match *needed {
            [first, second] => {
                let half = room.div_ceil(2);
                let first = if first.saturating_add(second) <= room || first <= half {
                    first
                } else if second <= room - half {
                    room - second
                } else {
                    half
                };
                vec![first, room - first]
            }
            _ => vec![room; needed.len().min(1)],
        };
        let mut y = self.body.y;
        heights
            .into_iter()
            .map(|height| {
                let section = Rect {
                    y,
                    height,
                    ..self.body
                };
                y += height;
                section
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_the_screen_and_do_not_overlap() {
        for height in 0..120 {
            let frame = ScreenLayout::new(Rect::new(0, 0, 80, height));
            let parts = [frame.header, frame.chart, frame.body, frame.footer];
            let mut y = 0;
            for part in parts {
                assert_eq!(part.y, y, "{height}");
                y += part.height;
            }
            assert_eq!(y, height);
            for (first, second) in [(3, 3), (5, 80), (80, 5), (80, 80), (0, 0)] {
                let sections = frame.sections(&[first, second]);
                let sum: u16 = sections.iter().map(|section| section.height).sum();
                assert_eq!(sum, frame.body.height);
                assert_eq!(sections[1].y, sections[0].y + sections[0].height);
            }
            assert_eq!(frame.sections(&[3])[0], frame.body);
        }
    }

    #[test]
    fn the_section_that_wants_less_does_not_pay_for_the_other() {
        let frame = ScreenLayout::new(Rect::new(0, 0, 80, 24));
        assert_eq!(frame.body.height, 21);
        let heights = |needed: [u16; 2]| {
            frame
                .sections(&needed)
                .iter()
                .map(|s| s.height)
                .collect::<Vec<_>>()
        };
        assert_eq!(heights([40, 40]), [11, 10]);
        assert_eq!(heights([5, 40]), [5, 16]);
        assert_eq!(heights([40, 5]), [16, 5]);
    }
}
