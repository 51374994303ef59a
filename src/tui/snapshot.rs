//! A snapshot of the screen: its text, a picture, and the interval it shows as JSON Lines.

mod svg;

use std::sync::Arc;

use anyhow::Result;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget as _;

use super::app::App;
use super::terminal;
use crate::jsonl::writer::Json;
use crate::resolve::names::Names;
use crate::resolve::owners::Owners;
use crate::stats::ranking::Ranking;

/// Returns the forms of a snapshot, each with the extension of its file. A replay has no JSON form:
/// its recording has the intervals.
///
/// # Errors
/// When the interval cannot be written as JSON, which does not happen.
pub fn forms(app: &App) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let (width, height) = terminal::size();
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    app.render(buffer.area, &mut buffer);
    let mut forms = vec![
        ("txt", terminal::text(&buffer).into_bytes()),
        (
            "svg",
            svg::picture(&buffer, app.shared.display.theme.background).into_bytes(),
        ),
    ];
    if let Some(json) = json(app)? {
        forms.push(("jsonl", json));
    }
    Ok(forms)
}

/// Returns the shown interval in the form of `--json -n N`, with the flows that are kept of an
/// interval.
fn json(app: &App) -> Result<Option<Vec<u8>>> {
    let shared = &app.shared;
    let ago = shared.travel.as_ref().map_or(0, |travel| travel.ago);
    let Some((interval, summed)) = shared.moments.at(ago) else {
        return Ok(None);
    };
    let mut ranking = Ranking::new(interval, None);
    ranking.total += summed.counters;
    ranking.copied_rx_bytes += summed.copied_rx_bytes;
    let flows = usize::try_from(summed.flows).unwrap_or(usize::MAX);
    ranking.flows += flows;
    ranking.unranked.rows += flows;
    ranking.unranked.flows += flows;
    ranking.unranked.moved += summed.counters;
    let mut json = Json {
        filter: shared.capture_filter.clone(),
        owners: Arc::new(Owners::passwd_only()),
        machine: shared.machine.clone(),
    };
    let mut text = Vec::new();
    json.append(&ranking, &Names::own_flows_only(), &mut text)?;
    Ok(Some(text))
}
