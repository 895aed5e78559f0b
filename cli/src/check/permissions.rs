//! Whether the permissions are there that people and Tidegate need.

use super::{access::Access, finding::Finding, site::Site};

pub(super) fn of_user(site: &Site) -> Vec<Finding> {
    let found = site.of_user.iter().filter_map(|Access { right, allowed }| match allowed {
        Ok(true) => None,
        Ok(false) => Some(Finding::warning(
            format!("you may not {}: {}", right.shown(), right.why),
            "charts/tidegate/README.md has a Role to give to people",
        )),
        Err(failure) => Some(Finding::warning(format!("not looked at: {failure}"), "")),
    });
    Finding::or_ok(found.collect(), format!("{} permissions", site.of_user.len()))
}

pub(super) fn of_tidegate(site: &Site) -> Vec<Finding> {
    let all = match &site.of_tidegate {
        Ok(all) if all.is_empty() => return Finding::unknown("no Deployment of Tidegate was found"),
        Ok(all) => all,
        Err(failure) => return Finding::unknown(failure),
    };
    let denied = all.iter().filter(|access| access.allowed != Ok(true));
    let found = denied.map(|Access { right, .. }| {
        Finding::failure(
            format!("its service account may not {}: {}", right.shown(), right.why),
            "`helm upgrade` with rbac.create=true writes all that it needs; templates/rbac.yaml lists it",
        )
    });
    Finding::or_ok(found.collect(), format!("{} permissions", all.len()))
}
