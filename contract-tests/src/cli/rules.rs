//! `rules`: lists them.

use clap::Args;

use super::say;
use crate::chapters;
use crate::rule::Chapter;

/// Flags of `rules`.
#[derive(Debug, Args)]
pub(super) struct Rules {
    /// Only these chapters
    #[arg(long, value_delimiter = ',', value_parser = chapter, value_name = "CHAPTER")]
    chapter: Vec<Chapter>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Reads a chapter's name.
pub(super) fn chapter(text: &str) -> Result<Chapter, String> {
    Chapter::ALL
        .into_iter()
        .find(|chapter| chapter.slug().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("the chapters are {}", Chapter::ALL.map(Chapter::slug).join(", ")))
}

impl Rules {
    pub(super) fn run(self) -> Result<u8, String> {
        let wanted = |chapter| self.chapter.is_empty() || self.chapter.contains(&chapter);
        let rules: Vec<_> =
            chapters::all().into_iter().filter(|rule| wanted(rule.chapter)).collect();
        if self.json {
            let rows: Vec<_> = rules
                .iter()
                .map(|rule| {
                    serde_json::json!({
                        "id": rule.id, "chapter": rule.chapter, "sentence": rule.sentence, "source": rule.source,
                        "level": rule.level, "how": rule.how,
                    })
                })
                .collect();
            say(&serde_json::Value::from(rows).to_string())?;
            return Ok(0);
        }
        let mut text = String::new();
        let mut chapter = None;
        for rule in &rules {
            if chapter != Some(rule.chapter) {
                text += &format!("\n{}\n", rule.chapter.title());
                chapter = Some(rule.chapter);
            }
            text += &format!("  {:<9} {:<10}  {}\n", rule.id, rule.level.word(), rule.sentence);
        }
        text += &format!("\n{} rules", rules.len());
        say(text.trim_start_matches('\n'))?;
        Ok(0)
    }
}
