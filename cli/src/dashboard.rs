//! The page to look at: `tidegate dashboard` opens it, and the admin server has it at `/`.
//!
//! Its parts are static files; what they show is the JSON that the admin server has for programs, too.

mod forward;
mod page;

pub(crate) use self::{forward::dashboard, page::routes};
