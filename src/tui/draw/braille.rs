//! Draws samples as dots: in Unicode two samples beside each other in a cell of braille, each up to
//! four dots high; in ASCII the larger of the two as one character.

use super::theme::Glyphs;

/// Samples in one cell.
pub const SAMPLES: usize = 2;
/// Dots of one sample in one cell.
pub const DOTS: usize = 4;

/// Bits of U+2800 for the dots of the left and of the right sample, from the bottom up.
const DOT_BITS: [[u32; DOTS]; SAMPLES] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];
/// The first character of the block of braille: no dots.
const EMPTY: u32 = 0x2800;

/// Returns a cell of two samples with these numbers of dots, which stand on the bottom of the cell
/// or hang from its top.
pub fn cell(dots: [usize; SAMPLES], hangs: bool, glyphs: &Glyphs) -> char {
    let highest = dots[0].max(dots[1]).min(DOTS);
    if highest == 0 {
        return ' ';
    }
    if glyphs.ascii {
        let bar = glyphs.bars[highest * 2 - 1];
        return bar.chars().next().unwrap_or(' ');
    }
    let mut bits = 0;
    for (dots, column) in dots.into_iter().zip(DOT_BITS) {
        let dots = dots.min(DOTS);
        let filled = if hangs {
            &column[DOTS - dots..]
        } else {
            &column[..dots]
        };
        bits |= filled.iter().fold(0, |all, bit| all | bit);
    }
    char::from_u32(EMPTY + bits).unwrap_or(' ')
}

/// Returns the number of dots, of at most `most`, for a part of a whole; at least one for a part
/// above zero.
pub fn dots(part: f64, whole: f64, most: usize) -> usize {
    if part <= 0.0 || whole <= 0.0 || part.is_nan() || whole.is_nan() {
        return 0;
    }
    (part / whole * most as f64).round().clamp(1.0, most as f64) as usize
}

/// Returns the number of dots of a rate on a logarithmic scale: each dot is ten times the one
/// below, and a rate within a factor of three of `top` has all four.
pub fn log_dots(rate: f64, top: f64) -> usize {
    if rate <= 0.0 || top <= 0.0 || rate.is_nan() || top.is_nan() {
        return 0;
    }
    let decades = (rate / top).log10();
    (DOTS as f64 + decades).round().clamp(1.0, DOTS as f64) as usize
}

/// Returns one row of cells, `width` long, of the latest samples; the latest is at the right. A
/// sample that was not measured is a gap. `number` is the number of samples since the first one
/// ever, so that samples which share a cell stay together as new ones come.
pub fn row(
    samples: &[Option<f64>],
    number: u64,
    width: usize,
    glyphs: &Glyphs,
    scale: impl Fn(f64) -> usize,
) -> String {
    let points = condensed(samples, number, width * SAMPLES);
    let missing = width * SAMPLES - points.len();
    let point = |n: usize| n.checked_sub(missing).map(|n| points[n]);
    let mut text = String::new();
    for n in (0..width * SAMPLES).step_by(SAMPLES) {
        let pair = [point(n), point(n + 1)];
        text.push_str(&match pair {
            [Some(None), Some(None) | None] | [None, Some(None)] => glyphs.gap.to_owned(),
            pair => {
                let dots = pair.map(|sample| sample.flatten().map_or(0, &scale));
                cell(dots, false, glyphs).to_string()
            }
        });
    }
    text
}

/// Condenses the samples into at most `most`: averages of neighbours, grouped the same way in every
/// drawing.
fn condensed(samples: &[Option<f64>], number: u64, most: usize) -> Vec<Option<f64>> {
    if samples.len() <= most || most == 0 {
        return samples[samples.len().saturating_sub(most)..].to_vec();
    }
    let points = groups(samples.len(), number, samples.len().div_ceil(most));
    let averages = points.map(|point| {
        let known: Vec<f64> = samples[point].iter().flatten().copied().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    });
    let averages: Vec<Option<f64>> = averages.collect();
    averages[averages.len().saturating_sub(most)..].to_vec()
}

/// Divides the latest `count` of `number` samples into groups of `each`: their ranges, oldest
/// first. A group begins at a multiple of `each`, so that samples stay together while new ones
/// come.
pub fn groups(
    count: usize,
    number: u64,
    each: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> {
    let each = each.max(1);
    // Numbers below 0 come before the first sample.
    let first = number.saturating_sub(count as u64);
    let into = (first % each as u64) as usize;
    (0..(count + into).div_ceil(each)).map(move |n| {
        let start = (n * each).saturating_sub(into);
        start..((n + 1) * each - into).min(count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_samples_share_a_cell() {
        let glyphs = Glyphs::new(false);
        for (dots, hangs, expected) in [
            ([0, 0], false, ' '),
            ([4, 4], false, '⣿'),
            ([1, 1], false, '⣀'),
            ([3, 1], false, '⣆'),
            ([0, 2], false, '⢠'),
            ([1, 1], true, '⠉'),
            ([2, 0], true, '⠃'),
            ([9, 9], true, '⣿'),
        ] {
            assert_eq!(cell(dots, hangs, glyphs), expected, "{dots:?}");
        }
        assert_eq!(cell([4, 0], false, Glyphs::new(true)), '#');
        assert_eq!(cell([0, 0], true, Glyphs::new(true)), ' ');
    }

    #[test]
    fn something_is_never_drawn_as_nothing() {
        assert_eq!(dots(0.0, 10.0, 8), 0);
        assert_eq!(dots(1e-9, 10.0, 8), 1);
        assert_eq!(dots(99.0, 10.0, 8), 8);
        assert_eq!(dots(f64::NAN, 10.0, 8), 0);
        assert_eq!(log_dots(1e-9, 10.0), 1);
        assert_eq!(log_dots(0.0, 10.0), 0);
    }

    #[test]
    fn a_dot_of_a_logarithmic_scale_is_a_decade() {
        let dots = [3e6, 1e6, 1.5e5, 1.5e4, 1.5e3, 1.0].map(|rate| log_dots(rate, 3e6));
        assert_eq!(dots, [4, 4, 3, 2, 1, 1]);
    }

    #[test]
    fn a_row_fills_from_the_right_and_marks_what_nobody_measured() {
        let glyphs = Glyphs::new(false);
        let full = |_| 4;
        let row = |samples: &[Option<f64>], number| row(samples, number, 3, glyphs, full);
        assert_eq!(row(&[Some(1.0)], 1), "  ⢸");
        assert_eq!(row(&[Some(1.0); 5], 5), "⢸⣿⣿");
        assert_eq!(row(&[None, None, Some(1.0), Some(1.0)], 4), " ·⣿");
        assert_eq!(row(&[], 0), "   ");
    }

    #[test]
    fn samples_stay_in_their_groups_while_new_ones_come() {
        let number_of = |number: u64, range: std::ops::Range<usize>| {
            let first = number - 8;
            (first + range.start as u64)..(first + range.end as u64)
        };
        let at = |number| -> Vec<_> {
            let all = groups(8, number, 3);
            all.map(|range| number_of(number, range)).collect()
        };
        assert_eq!(at(9), [1..3, 3..6, 6..9]);
        assert_eq!(at(10), [2..3, 3..6, 6..9, 9..10]);
        assert_eq!(groups(0, 0, 3).count(), 0);
    }
}
