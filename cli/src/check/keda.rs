//! KEDA, and its way to Tidegate.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use x509_parser::pem::parse_x509_pem;

use super::{
    finding::Finding,
    object::{name, namespace, text},
    site::Site,
    versions,
};

/// A certificate that ends sooner is warned of.
const SOON: TimeDelta = TimeDelta::days(14);

pub(super) fn runs(site: &Site) -> Vec<Finding> {
    let judged = site.scaled_objects.as_deref().unwrap_or_default();
    // However KEDA is installed: it has written conditions.
    if site.kedas.is_empty() && judged.iter().any(|object| condition(object, "Ready").is_some()) {
        return Finding::ok("");
    }
    versions::runs(&site.kedas, "app.kubernetes.io/name=keda-operator")
}

/// By the conditions that KEDA writes: `Ready` is false where it cannot ask Tidegate.
pub(super) fn reaches_tidegate(site: &Site) -> Vec<Finding> {
    let objects = match &site.scaled_objects {
        Ok(objects) => objects,
        Err(failure) => return Finding::unknown(failure),
    };
    let (mut found, mut asked) = (Vec::new(), 0);
    for object in objects {
        let Some(ready) = condition(object, "Ready") else { continue };
        asked += 1;
        if ready["status"] == "False" {
            let (namespace, name) = (namespace(object), name(object));
            found.push(Finding::failure(
                format!("ScaledObject {name} in namespace {namespace} is not ready: {}", text(&ready["message"])),
                format!(
                    "`kubectl -n {namespace} describe scaledobject {name}`; a network policy, TLS on one side alone, or a wrong scalerAddress \
                     keep KEDA from Tidegate"
                ),
            ));
        }
    }
    let seen = if asked == 1 { "1 ScaledObject".to_owned() } else { format!("{asked} ScaledObjects") };
    Finding::or_ok(found, format!("as {seen} of Tidegate's say"))
}

fn condition<'a>(object: &'a Value, of: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == of)
}

pub(super) fn certificate(site: &Site) -> Vec<Finding> {
    if site.certificates.is_empty() {
        return Finding::ok("TLS is off");
    }
    let all = site.certificates.iter().map(|(secret, found)| match found {
        Ok(object) => of_secret(secret, object, site.now),
        Err(failure) => Finding::unknown(failure),
    });
    all.flatten().collect()
}

fn of_secret(secret: &str, object: &Value, now: DateTime<Utc>) -> Vec<Finding> {
    let renew = "renew it; Tidegate reads it again without a restart";
    let Some(ends) = ends(object) else {
        let what = format!("Secret {secret} has no certificate in tls.crt");
        return vec![Finding::failure(what, "put the chain in PEM there: KEDA gets no answer without it")];
    };
    let day = ends.format("%Y-%m-%d %H:%M UTC");
    if ends <= now {
        return vec![Finding::failure(format!("the certificate in Secret {secret} ended on {day}"), renew)];
    }
    if ends - now < SOON {
        return vec![Finding::warning(format!("the certificate in Secret {secret} ends on {day}"), renew)];
    }
    Finding::ok(format!("until {day}"))
}

/// When the first certificate of a Secret ends.
fn ends(secret: &Value) -> Option<DateTime<Utc>> {
    let pem = STANDARD.decode(secret["data"]["tls.crt"].as_str()?).ok()?;
    let (_, pem) = parse_x509_pem(&pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}
