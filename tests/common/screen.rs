//! Drawing the live table into a buffer, and pressing its keys, without a terminal.

use flowtop::options::TableOptions;
use flowtop::resolve::names::Names;
use flowtop::resolve::owners::Owners;
use flowtop::tui::{Action, App, Background, Command, Depth, DisplayOptions, RunContext};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

/// The live table before its first interval, of a machine without a name, without host names and
/// owners.
pub fn app(options: &TableOptions, width: u16, height: u16) -> App {
    let display = DisplayOptions::new(options, Depth::Mono, Background::Unknown);
    let (names, owners) = (Names::disabled(), Owners::disabled());
    let context = RunContext {
        method: super::method(),
        ..RunContext::default()
    };
    let mut app = App::new(context, names, owners, display);
    app.update(Action::Resize(width, height));
    app
}

pub fn press(app: &mut App, commands: &[Command]) {
    for command in commands {
        app.update(Action::Command(*command));
    }
}

pub fn draw(app: &App, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    app.render(buffer.area, &mut buffer);
    buffer
}

pub fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width)
            .map(|x| buffer[(x, y)].symbol())
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
