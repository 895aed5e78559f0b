//! Whether the filters of a rule let traffic through to its backends.

use super::{
    super::{
        Objects,
        kind::Kind,
        views::{BackendRef, Filter, HttpRouteFilterSpec, RegexPattern, UrlRewrite},
    },
    refusal::{Answer, FilterFault, ReferenceRefusal, RuleRefusal},
};

/// Effect of filters that let traffic through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Whether the host is taken from the path, which is not allowed with a dynamic resolver
    pub(super) host_from_path: bool,
}

/// `ProcessHTTPFilters` and `ProcessGRPCFilters`. `check_mirror` checks the backend of a mirror.
pub(super) fn evaluate<'a>(
    objects: &Objects,
    kind: Kind,
    route_namespace: &str,
    filters: &'a [Filter],
    check_mirror: impl Fn(&'a BackendRef) -> Result<(), ReferenceRefusal<'a>>,
) -> Result<Passed, RuleRefusal<'a>> {
    let mut state = State::default();
    for filter in filters {
        state.add(objects, kind, route_namespace, filter, &check_mirror).map_err(RuleRefusal::Filter)?;
    }
    // A mirror beside a redirect or a direct response is an error, which stops traffic too.
    match state.answered {
        Some(answer) => Err(RuleRefusal::Answered(answer)),
        None => Ok(Passed { host_from_path: state.host_from_path }),
    }
}

#[derive(Default)]
struct State {
    answered: Option<Answer>,
    core_rewrite: Option<UrlRewrite>,
    extension_rewrite: Option<UrlRewrite>,
    has_matches: bool,
    host_from_path: bool,
}

impl State {
    fn add<'a>(
        &mut self,
        objects: &Objects,
        kind: Kind,
        route_namespace: &str,
        filter: &'a Filter,
        check_mirror: impl Fn(&'a BackendRef) -> Result<(), ReferenceRefusal<'a>>,
    ) -> Result<(), FilterFault<'a>> {
        match filter {
            Filter::HeaderModifier { valid } => valid.then_some(()).ok_or(FilterFault::Header),
            Filter::Empty => Ok(()),
            Filter::RequestMirror(mirror) => check_mirror(mirror).map_err(FilterFault::Mirror),
            Filter::ExtensionRef { group, kind: filter_kind, name } => {
                if group == "gateway.envoyproxy.io" && filter_kind == "HTTPRouteFilter" {
                    let filters = objects.http_route_filters.get(route_namespace);
                    let filter = filters.and_then(|names| names.get(name)).ok_or(FilterFault::NoSuchFilter(name))?;
                    self.add_extension(&filter.spec)
                } else {
                    // Objects of extension servers are not read, so only their kind is checked.
                    let known = objects.envoy_gateways.is_extension(group, filter_kind);
                    known.then_some(()).ok_or(FilterFault::UnknownExtension(group, filter_kind, name))
                }
            }
            Filter::UrlRewrite(rewrite) if kind == Kind::HttpRoute => self.rewrite(*rewrite),
            Filter::Cors if kind == Kind::HttpRoute => Ok(()),
            Filter::RequestRedirect if kind == Kind::HttpRoute => {
                self.answered = Some(Answer::Redirect);
                Ok(())
            }
            Filter::UrlRewrite(_) | Filter::Cors | Filter::RequestRedirect | Filter::Invalid => {
                Err(FilterFault::Unsupported)
            }
        }
    }

    /// `processURLRewriteFilter`: a second rewrite is an error, and so is one that sets the same field as an HTTPRouteFilter.
    fn rewrite(&mut self, rewrite: UrlRewrite) -> Result<(), FilterFault<'static>> {
        let sets = rewrite.hostname || rewrite.path;
        let twice = self.core_rewrite.is_some_and(|before| (before.hostname || before.path) && sets);
        if twice || conflict(self.extension_rewrite, rewrite) || !rewrite.valid {
            return Err(FilterFault::Rewrite);
        }
        self.core_rewrite = Some(rewrite);
        Ok(())
    }

    /// `processExtensionRefHTTPFilter`
    fn add_extension(&mut self, filter: &HttpRouteFilterSpec) -> Result<(), FilterFault<'static>> {
        let compile = filter.matches.iter().flat_map(|one| &one.cookies).all(|cookie| match cookie.r#type.as_deref() {
            None | Some("Exact") => true,
            Some("RegularExpression") => RegexPattern(&cookie.value).compiles(),
            Some(_) => false,
        });
        if !compile || (self.has_matches && !filter.matches.is_empty()) {
            return Err(FilterFault::Matches);
        }
        self.has_matches |= !filter.matches.is_empty();
        if let Some(rewrite) = &filter.url_rewrite {
            let reduced = UrlRewrite {
                valid: rewrite.is_valid(),
                hostname: rewrite.hostname.is_some(),
                path: rewrite.path.is_some(),
            };
            let sets = reduced.hostname || reduced.path;
            let twice = self.extension_rewrite.is_some_and(|before| (before.hostname || before.path) && sets);
            if twice || conflict(self.core_rewrite, reduced) || !reduced.valid {
                return Err(FilterFault::Rewrite);
            }
            self.extension_rewrite = Some(reduced);
            self.host_from_path |= rewrite.takes_host_from_path();
        }
        if filter.direct_response.is_some() {
            self.answered.get_or_insert(Answer::DirectResponse);
        }
        Ok(())
    }
}

fn conflict(before: Option<UrlRewrite>, rewrite: UrlRewrite) -> bool {
    before.is_some_and(|before| (before.hostname && rewrite.hostname) || (before.path && rewrite.path))
}
