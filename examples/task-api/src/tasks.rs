//! The task list: always the same one, because only the load matters here.

/// One task of the list.
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) title: &'static str,
    pub(crate) done: bool,
}

/// The whole list.
pub(crate) const TASKS: [Task; 3] = [
    Task { id: 1, title: "Annotate a Deployment", done: true },
    Task { id: 2, title: "Send it requests", done: true },
    Task { id: 3, title: "Go home", done: false },
];
