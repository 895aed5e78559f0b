//! `tidegate get`: all workloads and Gateways, for scripts and for people.

use std::io::{Write, stdout};

use anyhow::Result;
use tidegate_scaler::overview::{Overview, OverviewRow};

use crate::{
    args::{GetArgs, ListOutput},
    exit::{Exit, Failure},
    fleet::{self, is_named, is_of},
    object::{ObjectKind, ObjectRef, Selected, selected},
    paint::Paint,
    redraw::redraw,
    table::{Cell, Table},
    tidegate::Tidegate,
};

pub(crate) async fn get(args: GetArgs) -> Result<()> {
    let chosen = Chosen::of(&args.objects)?;
    let tidegate = Tidegate::connect(&args.cluster, &args.installed).await?;
    let namespace = fleet::namespace(&args.rows.scope, &tidegate);
    let (namespace, selector) = (namespace.as_deref(), args.rows.selector.as_deref());
    let page = async || -> Result<Vec<u8>> {
        let overview = chosen.within(fleet::ask(&tidegate, namespace, selector).await?)?;
        let mut page = Vec::new();
        write(&overview, args.output, namespace, &mut page)?;
        Ok(page)
    };
    if args.watch {
        return redraw(async || Ok(String::from_utf8_lossy(&page().await?).into_owned())).await;
    }
    Ok(stdout().lock().write_all(&page().await?)?)
}

/// The rows that are asked for.
enum Chosen {
    All,
    Workloads,
    OfKind(ObjectKind),
    Named(Vec<ObjectRef>),
}

impl Chosen {
    fn of(words: &[String]) -> Result<Self, Failure> {
        if let [word] = words
            && ["workload", "workloads"].contains(&word.as_str())
        {
            return Ok(Self::Workloads);
        }
        Ok(match selected(words)? {
            Selected::All => Self::All,
            Selected::OfKind(kind) => Self::OfKind(kind),
            Selected::Named(objects) => Self::Named(objects),
        })
    }

    /// All rows that are asked for; an object that is named has to be there.
    fn within(&self, overview: Overview) -> Result<Overview, Failure> {
        let Overview { at, mut workloads, mut gateways } = overview;
        if let Self::Named(objects) = self {
            let has = |object: &ObjectRef| workloads.iter().chain(&gateways).any(|row| is_named(row, object));
            if let Some(missing) = objects.iter().find(|object| !has(object)) {
                return Err(
                    Exit::Missing.with(format!("{missing} is not scaled here: `tidegate explain {missing}` says why"))
                );
            }
        }
        let is_chosen = |row: &OverviewRow| match self {
            Self::All => true,
            Self::Workloads => row.kind != "Gateway",
            Self::OfKind(kind) => is_of(row, kind),
            Self::Named(objects) => objects.iter().any(|object| is_named(row, object)),
        };
        workloads.retain(is_chosen);
        gateways.retain(is_chosen);
        Ok(Overview { at, workloads, gateways })
    }
}

fn write(overview: &Overview, output: ListOutput, namespace: Option<&str>, out: &mut impl Write) -> Result<()> {
    let rows = || overview.rows();
    match (output.format(), output) {
        (Some(format), _) => format.write(overview, out),
        (None, ListOutput::Name) => rows().try_for_each(|row| Ok(writeln!(out, "{}", fleet::object(row))?)),
        (None, _) if rows().next().is_none() => {
            let place =
                namespace.map_or_else(|| "any namespace".to_owned(), |namespace| format!("namespace {namespace}"));
            Ok(writeln!(out, "Nothing is scaled by Tidegate in {place}.")?)
        }
        (None, output) => {
            let table = table(rows(), namespace.is_none(), output == ListOutput::Wide);
            Ok(table.write(out, Paint::of_stdout())?)
        }
    }
}

fn table<'a>(rows: impl Iterator<Item = &'a OverviewRow>, all_namespaces: bool, wide: bool) -> Table {
    const COLUMNS: [&str; 8] = ["NAMESPACE", "NAME", "STATE", "DEMAND", "TARGET", "WANTED", "READY", "LIMIT"];
    const WIDE: [&str; 5] = ["MIN", "MAX", "NEXT CHANGE", "PROBLEMS", "WHY"];
    let (from, more) = (usize::from(!all_namespaces), if wide { &WIDE[..] } else { &[] });
    let mut table = Table::new(COLUMNS[from..].iter().chain(more).copied());
    for row in rows {
        let mut cells = fleet::cells(row, all_namespaces);
        cells.push(fleet::limit(row).into());
        if wide {
            let bound = |of: fn(&tidegate_core::intent::Bounds) -> u32| {
                Cell::number(row.bounds.as_ref().map_or_else(|| "-".to_owned(), |bounds| of(bounds).to_string()))
            };
            cells.extend([
                bound(|bounds| bounds.min),
                bound(|bounds| bounds.max),
                fleet::next_change(row).into(),
                Cell::number(row.problems.len()),
                row.why.as_str().into(),
            ]);
        }
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::fixture::overview;

    fn written(words: &[&str], output: ListOutput, namespace: Option<&str>) -> Result<String, Failure> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut out = Vec::new();
        write(&Chosen::of(&words)?.within(overview())?, output, namespace, &mut out).unwrap();
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_line_for_each_and_the_columns_of_kubectl() {
        let expected = "\
NAME              STATE                  DEMAND   TARGET   WANTED   READY   LIMIT
deployment/api    scaling-up   642.0 requests/s      100        7     5/6   -
statefulset/job   closed                      -        -        0     0/0   off-hours
gateway/web       unknown                     -        -        ?       2   -
";
        assert_eq!(written(&[], ListOutput::Table, Some("shop")).unwrap(), expected);
        let wide = written(&["deploy", "api"], ListOutput::Wide, None).unwrap();
        assert!(wide.starts_with("NAMESPACE   NAME") && wide.contains("1    20   -"), "{wide}");
        assert!(wide.ends_with("642.0 requests/s ÷ 100 per replica\n"), "{wide}");
    }

    #[test]
    fn what_is_named_is_chosen_and_what_is_not_there_is_named() {
        let names = |words: &[&str]| {
            written(words, ListOutput::Name, None).map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(names(&["workloads"]).unwrap(), ["deployment/api", "statefulset/job"]);
        assert_eq!(names(&["gateways"]).unwrap(), ["gateway/web"]);
        assert_eq!(names(&["sts/job", "gtw/web"]).unwrap(), ["statefulset/job", "gateway/web"]);
        let missing = names(&["deploy/gone"]).unwrap_err();
        assert!(missing.exit == Exit::Missing && missing.to_string().starts_with("deployment/gone is not scaled here"));
    }

    #[test]
    fn programs_get_all_of_it() {
        let json: Overview = serde_json::from_str(&written(&["gateways"], ListOutput::Json, None).unwrap()).unwrap();
        assert_eq!((json.workloads, json.gateways), (Vec::new(), overview().gateways));
    }
}
