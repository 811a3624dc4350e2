//! `explain`: one rule in full.

use clap::Args;

use super::say;
use crate::chapters;
use crate::rule::Need;

/// Flags of `explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The rule, for instance PAGE-003
    #[arg(value_name = "RULE")]
    rule: String,
}

impl Explain {
    pub(super) fn run(self) -> Result<u8, String> {
        let rule = chapters::find(&self.rule)
            .ok_or_else(|| format!("no rule {}; `miosa-contract rules` lists them", self.rule))?;
        let mut text = format!(
            "{}  {}\n\nchapter  {}\nlevel    {}\nsource   {}\n\nHow it is checked\n  {}\n",
            rule.id,
            rule.sentence,
            rule.chapter.title(),
            rule.level.word(),
            rule.source,
            rule.how
        );
        let needs: Vec<_> = rule
            .needs
            .iter()
            .map(|need| match need {
                Need::Clock => "a clock that can be moved",
                Need::Fresh => "organizations of its own",
                Need::Second => "a second organization",
                Need::Machines => "sandboxes that run",
            })
            .collect();
        if !needs.is_empty() {
            text += &format!("\nNeeds {}.\n", needs.join(", "));
        }
        text +=
            &format!("\nRun it alone\n  miosa-contract run --target emulator --rule {}", rule.id);
        say(&text)?;
        Ok(0)
    }
}
