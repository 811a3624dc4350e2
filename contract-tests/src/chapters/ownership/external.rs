//! The caller's own ids.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::made::id;
use crate::case::{Case, Client};
use crate::each::each;
use crate::fault::{Fault, holds};
use crate::session::Session;

/// What carries external ids, and by which field it is filtered.
#[derive(Debug, Clone, Copy)]
struct Filtered {
    list: &'static str,
    field: &'static str,
}

/// By the same two ids, of what runs.
const SANDBOXES: [Filtered; 2] = [
    Filtered { list: "/sandboxes", field: "external_user_id" },
    Filtered { list: "/sandboxes", field: "external_project_id" },
];

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
    let mut all = PLATFORM.to_vec();
    if session.target.has_machines() {
        all.extend(SANDBOXES.get(..1).unwrap_or_default());
    }
    session.forall((each(all), texts()), async |case, (all, texts)| {
        let client = case.organization()?;
        // Each text once: what is named twice is one workspace.
        let texts: BTreeSet<String> = texts.into_iter().collect();
        for what in all.iter() {
            let runs = what.list == "/sandboxes";
            // Of its own, since a create of one kind may make another by its external id.
            let own = |text: &String| format!("{}{}{text}", what.list.len(), what.field.len());
            let texts: Vec<String> =
                texts.iter().take(if runs { 2 } else { texts.len() }).map(own).collect();
            let mut made = Vec::new();
            for text in &texts {
                let record = what.make(&case, &client, text).await?;
                let given = record[what.field].clone();
                let expected = format!("{} as it was given, {text:?}", what.field);
                holds(given == json!(text), expected, given.to_string())?;
                made.push((text.clone(), id(&record)?));
            }
            what.finds(&client, &made).await?;
            if runs {
                let [_, also] = SANDBOXES;
                also.finds(&client, &made).await?;
            }
        }
        Ok(())
    })
}

impl Filtered {
    /// The list by each text is what was made with it.
    async fn finds(self, client: &Client, made: &[(String, String)]) -> Result<(), Fault> {
        for (text, _) in made {
            let path = format!("{}?page_size=100&{}={}", self.list, self.field, encoded(text));
            let list = client.get(path).send().await?.expect(200)?;
            let found: BTreeSet<String> = list.items()?.iter().map(id).collect::<Result<_, _>>()?;
            let wanted: BTreeSet<String> =
                made.iter().filter(|(of, _)| of == text).map(|(_, id)| id.clone()).collect();
            let expected = format!("{wanted:?} for {} {text:?}", self.field);
            list.holds(found == wanted, expected, format!("{found:?}"))?;
            let total = list.json()?["page"]["total"].clone();
            let expected = format!("total {}", wanted.len());
            list.holds(total == json!(wanted.len()), expected, total.to_string())?;
        }
        Ok(())
    }

    async fn make(self, case: &Case, client: &Client, text: &str) -> Result<Value, Fault> {
        let mut body = json!({ "name": case.name(), self.field: text });
        if self.list == "/sandboxes" {
            body["external_project_id"] = text.into();
        }
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
