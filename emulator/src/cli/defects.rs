//! `defects`: the faults that this build can be started with.

use clap::Args;
use serde_json::json;

use super::Failure;
use crate::defects::catalogue::ALL;

#[derive(Debug, Args)]
pub(crate) struct Defects {
    /// As JSON, one object a line, instead of columns parted by tabs
    #[arg(long)]
    json: bool,
}

impl Defects {
    pub(super) fn run(self) -> Result<(), Failure> {
        for (name, row) in ALL.iter().map(|defect| (defect.name(), defect.row())) {
            if self.json {
                super::say(json!({
                    "name": name, "chapter": row.chapter, "place": row.place, "rules": row.rules, "wrong": row.wrong,
                }))?;
            } else {
                let rules = row.rules.join(",");
                super::say(format_args!("{name}\t{}\t{rules}\t{}", row.chapter, row.wrong))?;
            }
        }
        Ok(())
    }
}
