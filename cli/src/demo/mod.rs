//! `tidegate demo`

use anyhow::Result;

use crate::args::DemoArgs;

pub(crate) async fn demo(_: DemoArgs) -> Result<()> {
    Ok(())
}
