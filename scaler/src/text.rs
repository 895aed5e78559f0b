//! Callers' text in our messages.

/// Shortens a caller's text so that it fits into a message.
pub(crate) fn shortened(text: &str) -> String {
    const ROOM: usize = 120;
    match text.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
