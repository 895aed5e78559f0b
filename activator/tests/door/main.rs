//! The activator through its doors: real sockets, real clients, and pods that are servers of this process.

mod bytes;
mod clients;
mod draining;
mod http;
mod passing_on;
mod peers;
mod refusals;
mod site;
