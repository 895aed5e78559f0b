//! `-w`: a page that is drawn again every two seconds, until Ctrl-C.

use std::{
    io::{IsTerminal, Write, stdout},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_secs(2);

/// Draws the page over and over; one after the other where the output is no screen. While there is none, the reason stands in its place.
pub(crate) async fn redraw(mut page: impl AsyncFnMut() -> Result<String>) -> Result<()> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let text = page().await.unwrap_or_else(|error| format!("tidegate: {error:#}\n"));
        let mut out = stdout().lock();
        if out.is_terminal() {
            out.write_all(on_screen(&text).as_bytes())?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()?;
    }
}

/// The page from the top of the screen on. Each line clears the rest of its own, so that nothing flickers.
fn on_screen(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}
