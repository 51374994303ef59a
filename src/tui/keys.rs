//! Turns what the terminal says into actions. The only place that knows keys.

use crossterm::event::{Event, KeyCode, KeyModifiers};

use super::app::Action;

/// What a key means; `None` for what means nothing. A change of size needs no action: whatever
/// arrives is followed by a drawing, which looks at the size.
pub fn action(event: &Event) -> Option<Action> {
    let key = event.as_key_press_event()?;
    match (key.code, key.modifiers) {
        (KeyCode::Char('c'), KeyModifiers::CONTROL) => Some(Action::Quit),
        (KeyCode::Char('q') | KeyCode::Esc, KeyModifiers::NONE) => Some(Action::Quit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::{KeyEvent, KeyEventKind};

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        action(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn q_escape_and_control_c_quit_and_other_keys_do_nothing() {
        let none = KeyModifiers::NONE;
        assert!(matches!(
            press(KeyCode::Char('q'), none),
            Some(Action::Quit)
        ));
        assert!(matches!(press(KeyCode::Esc, none), Some(Action::Quit)));
        assert!(matches!(
            press(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Action::Quit)
        ));
        assert!(press(KeyCode::Char('c'), none).is_none());
        assert!(press(KeyCode::Enter, none).is_none());
        assert!(action(&Event::Resize(80, 24)).is_none());
    }

    #[test]
    fn letting_go_of_a_key_is_not_pressing_it() {
        let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert!(action(&Event::Key(key)).is_none());
    }
}
