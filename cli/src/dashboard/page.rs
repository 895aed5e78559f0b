//! The files of the page.

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    response::IntoResponse,
    routing::get,
};

/// Nothing but the files below is loaded, and nothing may show them in a frame.
const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and content of each file. Paths in the files are relative, so that they work behind the API server's proxy too.
const FILES: [(&str, &str, &str); 12] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/dashboard/style.css", CSS, include_str!("page/style.css")),
    ("/dashboard/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/dashboard/app.js", SCRIPT, include_str!("page/app.js")),
    ("/dashboard/calendars.js", SCRIPT, include_str!("page/calendars.js")),
    ("/dashboard/chart.js", SCRIPT, include_str!("page/chart.js")),
    ("/dashboard/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/dashboard/fleet.js", SCRIPT, include_str!("page/fleet.js")),
    ("/dashboard/live.js", SCRIPT, include_str!("page/live.js")),
    ("/dashboard/object.js", SCRIPT, include_str!("page/object.js")),
    ("/dashboard/problems.js", SCRIPT, include_str!("page/problems.js")),
    ("/dashboard/savings.js", SCRIPT, include_str!("page/savings.js")),
];

/// A route for each file.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(move || async move { file(kind, content) }))
    })
}

fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of Tidegate may answer next.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_a_file_names_is_served() {
        for (path, _, content) in FILES {
            let relative = content
                .split(['"', '\''])
                .filter_map(|text| text.strip_prefix("./").or(text.strip_prefix("dashboard/")));
            for name in relative {
                let wanted = format!("/dashboard/{name}");
                assert!(FILES.iter().any(|(path, ..)| *path == wanted), "{path} names {name}");
            }
        }
    }
}
