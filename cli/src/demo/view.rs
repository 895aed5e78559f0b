//! The live view of the demo: numbers and two charts in a terminal, one line per change when piped.

mod screen;

use std::{
    io::{IsTerminal, Write, stdout},
    time::Duration,
};

use anyhow::Result;
use ratatui::{
    DefaultTerminal, Terminal, TerminalOptions, Viewport, backend::CrosstermBackend,
    crossterm::terminal::disable_raw_mode, layout::Rect,
};
use tidegate_sim::load::Counts;

use self::screen::{Look, draw};
use crate::paint::Paint;

/// The state of the demo at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    /// Since the load began
    pub(super) time: Duration,
    /// Requests/s that were sent in the last seconds
    pub(super) sent: f64,
    /// Requests/s that were to be sent
    pub(super) planned: f64,
    /// Requests/s that the HPA read from the scaler when it last looked
    pub(super) metric: Option<f64>,
    /// When the HPA last looked
    pub(super) looked: Option<Duration>,
    /// Requests/s that one replica carries
    pub(super) target: f64,
    /// Replicas that the HPA wants
    pub(super) desired: u32,
    /// Replicas that run
    pub(super) replicas: u32,
    /// Answers since the start
    pub(super) answers: Counts,
    /// Why the HPA wants this many
    pub(super) why: String,
}

impl Moment {
    /// The answers by their statuses: `13147 × 200, 2138 × 503`.
    fn statuses(&self) -> String {
        let Counts { ok, unavailable, other, errors, skipped } = self.answers;
        let rest = [
            (unavailable, "× 503"),
            (other, "× another status"),
            (errors, "without an answer"),
            (skipped, "not sent, because too many waited"),
        ];
        let rest = rest.into_iter().filter(|(count, _)| *count > 0).map(|(count, of)| format!(", {count} {of}"));
        format!("{ok} × 200{}", rest.collect::<String>())
    }

    /// What to know when this machine is too slow for the demo.
    fn too_slow(&self) -> Option<String> {
        let (sent, planned) = (self.sent, self.planned);
        // Less than the noise of a random arrival process over some seconds.
        (sent < planned * 0.8)
            .then(|| format!("This machine sends only {sent:.0} of {planned:.0} requests/s: it is too busy"))
    }
}

/// Shows moments as they come.
pub(super) enum View {
    /// An interactive terminal
    Screen { terminal: Box<DefaultTerminal>, past: Vec<Moment>, look: Look },
    /// A pipe or a file
    Lines { last: Option<(u32, u32)> },
}

impl View {
    pub(super) fn open(duration: Duration) -> Result<Self> {
        if stdout().is_terminal() {
            let terminal = Box::new(ratatui::init());
            // In raw mode Ctrl-C would be a key press rather than a signal. If this fails, the demo still ends by itself.
            let _ = disable_raw_mode();
            let look = Look { duration, colours: Paint::of_stdout().is_on() };
            Ok(Self::Screen { terminal, past: Vec::new(), look })
        } else {
            writeln!(
                stdout(),
                "{:>6}  {:>10}  {:>10}  {:>7}  {:>8}  why",
                "time",
                "sent",
                "metric",
                "desired",
                "replicas"
            )?;
            Ok(Self::Lines { last: None })
        }
    }

    pub(super) fn show(&mut self, moment: Moment) -> Result<()> {
        match self {
            Self::Screen { terminal, past, look } => {
                past.push(moment);
                terminal.draw(|frame| draw(frame, past, *look))?;
            }
            Self::Lines { last } => {
                let now = (moment.desired, moment.replicas);
                if last.replace(now) != Some(now) || moment.time.as_secs().is_multiple_of(10) {
                    print_line(&moment)?;
                }
            }
        }
        Ok(())
    }

    /// Gives the terminal back, with the last picture in it.
    pub(super) fn close(mut self) -> Result<()> {
        if let Self::Screen { past, look, .. } = &mut self {
            ratatui::restore();
            leave_picture(past, *look)?;
        }
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Self::Screen { .. } = self {
            ratatui::restore();
        }
    }
}

/// Draws the last moment where the prompt is, after what stood on the screen has moved up.
fn leave_picture(past: &[Moment], look: Look) -> Result<()> {
    let (width, height) = ratatui::crossterm::terminal::size()?;
    write!(stdout(), "{}", "\n".repeat(height.into()))?;
    let viewport = Viewport::Fixed(Rect::new(0, 0, width, height.saturating_sub(1)));
    let mut terminal = Terminal::with_options(CrosstermBackend::new(stdout()), TerminalOptions { viewport })?;
    terminal.draw(|frame| draw(frame, past, look))?;
    terminal.set_cursor_position((0, height.saturating_sub(1)))?;
    Ok(terminal.show_cursor()?)
}

fn print_line(moment: &Moment) -> Result<()> {
    let metric = moment.metric.map_or_else(|| "-".to_owned(), |metric| format!("{metric:.0}/s"));
    let Moment { sent, desired, replicas, why, .. } = moment;
    let time = clock(moment.time);
    // A closed pipe (`| head`) ends the demo with an error rather than a panic.
    Ok(writeln!(stdout(), "{time:>6}  {sent:>8.0}/s  {metric:>10}  {desired:>7}  {replicas:>8}  {why}")?)
}

fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
