//! The caller's own ids.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::made::id;
use crate::case::{Case, Client};
use crate::fault::Fault;
use crate::session::Session;

/// What carries external ids, and by which field it is filtered.
#[derive(Debug, Clone, Copy)]
struct Filtered {
    list: &'static str,
    field: &'static str,
}

const PLATFORM: [Filtered; 4] = [
    Filtered { list: "/workspaces", field: "external_workspace_id" },
    Filtered { list: "/workspaces", field: "external_user_id" },
    Filtered { list: "/projects", field: "external_project_id" },
    Filtered { list: "/projects", field: "external_workspace_id" },
];

/// Texts that are easily taken for each other.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = "[A-Za-z0-9][A-Za-z0-9 _.:/@%+-]{0,11}[a-z]";
    (text, "[A-Za-z0-9]").prop_flat_map(|(text, more)| {
        let near = vec![
            text.clone(),
            format!("{text}{more}"),
            format!("{more}{text}"),
            text.to_uppercase(),
            text.replace(['_', '.'], "%"),
        ];
        let several = 1..=near.len();
        prop::sample::subsequence(near, several)
    })
}

/// OWN-003.
pub(super) fn filters(session: &Session) -> Result<(), Fault> {
    let what = prop::sample::select(PLATFORM.to_vec());
    session.forall((what, texts()), async |case, (what, texts)| {
        let client = case.organization()?;
        // Each text once: what is named twice is one workspace.
        let texts: BTreeSet<String> = texts.into_iter().collect();
        let mut made = Vec::new();
        for text in &texts {
            let record = what.make(&case, &client, text).await?;
            let expected = format!("{} as it was given, {text:?}", what.field);
            let same = record[what.field] == json!(text);
            crate::fault::holds(same, expected, record[what.field].to_string())?;
            made.push((text, id(&record)?));
        }
        for text in &texts {
            let path = format!("{}?page_size=100&{}={}", what.list, what.field, encoded(text));
            let list = client.get(path).send().await?.expect(200)?;
            let found = list.items()?;
            let found: BTreeSet<String> = found.iter().map(id).collect::<Result<_, _>>()?;
            let wanted = made.iter().filter(|(of, _)| *of == text).map(|(_, id)| id.clone());
            let wanted: BTreeSet<String> = wanted.collect();
            let expected = format!("{wanted:?} for {} {text:?}", what.field);
            list.holds(found == wanted, expected, format!("{found:?}"))?;
            let total = list.json()?["page"]["total"].clone();
            list.holds(
                total == json!(wanted.len()),
                format!("total {}", wanted.len()),
                total.to_string(),
            )?;
        }
        Ok(())
    })
}

impl Filtered {
    async fn make(self, case: &Case, client: &Client, text: &str) -> Result<Value, Fault> {
        let mut body = json!({ "name": case.name(), self.field: text });
        if self.list == "/projects" && self.field == "external_project_id" {
            body["workspace_id"] = client.workspace().await?["id"].clone();
        }
        client.make(self.list, body).await
    }
}

/// Percent-encoded, for a query.
fn encoded(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
