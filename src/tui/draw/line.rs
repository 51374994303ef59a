//! Writes into a buffer, line by line: text that does not fit is cut or shortened, and nothing is
//! written outside of its line.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::resolve::names::Label;
use crate::text::sanitize::columns;
use crate::text::units;
use crate::text::wrap::take;

/// Returns the width of a text in columns, at most `u16::MAX`.
pub fn width(text: &str) -> u16 {
    u16::try_from(columns(text)).unwrap_or(u16::MAX)
}

/// Returns one line of an area; empty if the area has no such line.
pub fn line(area: Rect, n: u16) -> Rect {
    Rect {
        y: area.y.saturating_add(n),
        height: u16::from(n < area.height),
        ..area
    }
}

/// Returns the part of a line from column `x` on, at most `width` wide.
pub fn within(at: Rect, x: u16, width: u16) -> Rect {
    let x = x.min(at.width);
    Rect {
        x: at.x + x,
        width: width.min(at.width - x),
        ..at
    }
}

/// Writes into a line from a column on and cuts what does not fit. Returns the column after it.
pub fn put(buf: &mut Buffer, at: Rect, x: u16, text: &str, style: Style) -> u16 {
    if at.height == 0 || x >= at.width {
        return x;
    }
    let room = usize::from(at.width - x);
    let (end, _) = buf.set_stringn(at.x + x, at.y, text, room, style);
    end - at.x
}

/// Writes to the right edge of a line; a longer text is cut on its right.
pub fn put_right(buf: &mut Buffer, at: Rect, text: &str, style: Style) {
    put(buf, at, at.width.saturating_sub(width(text)), text, style);
}

/// Fills a line with a glyph one column wide.
pub fn fill(buf: &mut Buffer, at: Rect, glyph: &str, style: Style) {
    put(buf, at, 0, &glyph.repeat(usize::from(at.width)), style);
}

/// Writes untrusted text into a column: sanitized, and with an ellipsis if it is too long.
pub fn put_untrusted(buf: &mut Buffer, at: Rect, text: &str, ellipsis: &str, style: Style) {
    let clean = units::sanitize(text);
    if columns(&clean) <= usize::from(at.width) {
        put(buf, at, 0, &clean, style);
    } else {
        let room = usize::from(at.width).saturating_sub(columns(ellipsis));
        let kept = take(clean.chars(), room);
        put(buf, at, 0, &format!("{kept}{ellipsis}"), style);
    }
}

/// Shortens an end of a flow to `width` columns: a long name loses its left end, so that the domain
/// stays, a long address its middle. The port stays as long as all of it fits.
pub fn shorten(label: &Label, width: u16, ellipsis: &str) -> String {
    let width = usize::from(width);
    let host = units::visible(&label.host);
    if columns(&host) + label.port.len() <= width {
        return format!("{host}{}", label.port);
    }
    let mark = columns(ellipsis);
    let Some(room) = width.checked_sub(label.port.len() + mark) else {
        let kept = take(host.chars(), width.saturating_sub(mark));
        return take(format!("{kept}{ellipsis}").chars(), width);
    };
    let tail_room = if label.is_name { room } else { room / 2 };
    let head = take(host.chars(), room - tail_room);
    let tail = take(host.chars().rev(), tail_room);
    let tail: String = tail.chars().rev().collect();
    format!("{head}{ellipsis}{tail}{}", label.port)
}

/// Draws an end shortened by [`shorten`]; returns the cell after it. The port, and everything after
/// the first label of a whole host name, are dim: the rest distinguishes ends.
pub fn put_end(
    buf: &mut Buffer,
    at: Rect,
    x: u16,
    (text, label): (&str, &Label),
    (style, dim): (Style, Style),
) -> u16 {
    let dim = style.patch(dim);
    let (host, port) = match text.strip_suffix(label.port.as_str()) {
        Some(host) => (host, label.port.as_str()),
        None => (text, ""),
    };
    let is_whole = label.is_name && host == units::visible(&label.host);
    let domain = host.find('.').filter(|at| is_whole && *at > 0);
    let (name, domain) = host.split_at(domain.unwrap_or(host.len()));
    let x = put(buf, at, x, name, style);
    let x = put(buf, at, x, domain, dim);
    put(buf, at, x, port, dim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(host: &str, port: &str) -> Label {
        Label {
            host: host.to_owned(),
            port: port.to_owned(),
            is_name: false,
        }
    }

    fn named(host: &str, port: &str) -> Label {
        Label {
            is_name: true,
            ..label(host, port)
        }
    }

    #[test]
    fn a_long_name_keeps_its_domain_and_its_port() {
        let name = named("ec2-54-1-2-3.cdn.example.com", ":https");
        assert_eq!(shorten(&name, 22, "…"), "…cdn.example.com:https");
        assert_eq!(
            shorten(&name, 34, "…"),
            "ec2-54-1-2-3.cdn.example.com:https"
        );
        assert_eq!(shorten(&name, 7, "…"), "…:https");
        assert_eq!(shorten(&name, 5, "…"), "ec2-…");
    }

    #[test]
    fn no_address_is_cut_to_one_that_reads_as_another() {
        let addresses = [
            "10.0.0.5",
            "203.0.113.77",
            "[2001:db8::1]",
            "[fe80::1%eth0]",
            "*%eth0",
        ];
        for address in addresses {
            for width in 0..20_usize {
                let short = shorten(&label(address, ":443"), width as u16, "…");
                assert!(columns(&short) <= width);
                let is_whole = short == format!("{address}:443");
                assert!(is_whole || width == 0 || short.contains('…'), "{short:?}");
                let port = short.rsplit_once('…').map_or(":443", |(_, end)| end);
                assert!(port.is_empty() || port.ends_with(":443"), "{short:?}");
            }
        }
    }

    #[test]
    fn a_long_address_loses_its_middle_and_keeps_its_port() {
        let long = label("[2001:db8:1234:5678:9abc:def0:1234:5678]", ":65535");
        let short = shorten(&long, 21, "…");
        assert_eq!(short, "[2001:d…4:5678]:65535");
        assert_eq!(columns(&short), 21);
    }

    #[test]
    fn what_fits_is_left_alone() {
        let end = label("10.0.0.5", ":443");
        assert_eq!(shorten(&end, 12, "…"), "10.0.0.5:443");
        assert_eq!(shorten(&end, 11, "…"), "10.…0.5:443");
        assert_eq!(shorten(&end, 11, "~"), "10.~0.5:443");
        assert_eq!(shorten(&label("*", ""), 1, "…"), "*");
    }

    #[test]
    fn ports_and_the_domains_of_whole_names_are_dim() {
        let dim = Style::new().add_modifier(ratatui::style::Modifier::DIM);
        let bright = |label: &Label, width| {
            let mut buf = Buffer::empty(Rect::new(0, 0, 40, 1));
            let at = buf.area;
            let text = shorten(label, width, "…");
            let end = put_end(&mut buf, at, 0, (&text, label), (Style::new(), dim));
            assert_eq!(usize::from(end), columns(&text));
            let cells = (0..end).map(|x| &buf[(x, 0)]);
            let bright = cells.filter(|cell| !cell.modifier.contains(dim.add_modifier));
            bright.map(|cell| cell.symbol()).collect::<String>()
        };
        assert_eq!(bright(&label("10.0.0.5", ":443"), 40), "10.0.0.5");
        assert_eq!(bright(&label("[2001:db8::1]", ":53"), 40), "[2001:db8::1]");
        assert_eq!(bright(&named("web.example.com", ":https"), 40), "web");
        assert_eq!(
            bright(&named("web.example.com", ":https"), 16),
            "…ample.com"
        );
        assert_eq!(bright(&named("localhost", ""), 40), "localhost");
        assert_eq!(bright(&named("web.example.com", ":https"), 4), "web…");
    }

    #[test]
    fn a_host_name_cannot_draw() {
        let hostile = label("\u{1b}[2Jx\u{202e}", ":1");
        assert_eq!(shorten(&hostile, 40, "…"), "\\x1b[2Jx\\u{202e}:1");
    }

    #[test]
    fn wide_characters_are_counted_by_columns() {
        let wide = label("例例例例例例", ":1");
        assert!(columns(&shorten(&wide, 9, "…")) <= 9);
    }

    #[test]
    fn nothing_is_written_outside_of_its_line() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 2));
        let at = within(line(buf.area, 0), 2, 3);
        put(&mut buf, at, 0, "abcdef", Style::new());
        put_untrusted(
            &mut buf,
            within(line(Rect::new(0, 0, 10, 2), 1), 0, 4),
            "abcdef",
            "…",
            Style::new(),
        );
        assert_eq!(buf, Buffer::with_lines(["  abc     ", "abc…      "]));
        let none = line(buf.area, 7);
        put(&mut buf, none, 0, "x", Style::new());
        put_right(&mut buf, none, "x", Style::new());
    }
}
