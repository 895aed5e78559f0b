//! `--color`.

use crate::paint::{Paint, When};

#[derive(Debug, clap::Args)]
pub(crate) struct ColorArgs {
    /// When to use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, default_value = "auto", value_enum, value_name = "WHEN")]
    color: When,
}

impl ColorArgs {
    pub(crate) fn choose(&self) {
        Paint::choose(self.color);
    }
}
