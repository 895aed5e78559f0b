//! Text of others in our messages.

/// What a caller wrote, short enough to stand in a message.
pub(crate) fn shortened(text: &str) -> String {
    const ROOM: usize = 120;
    match text.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
