//! What an organization shows of itself, read twice to see whether something changed it.

use std::collections::BTreeMap;

use http::Method;
use regex::Regex;

use crate::case::Client;
use crate::fault::Fault;
use crate::operations::Op;
use crate::world::World;

/// Operations whose answers change by themselves: measures, the time, what went on, when a key was last used; and one that
/// waits for what does not come.
const RESTLESS: &[&str] = &[
    "/sandboxes/{id}/previews/{preview_id}/status",
    "/sandboxes/{id}/metrics",
    "/sandboxes/{id}/usage",
    "/sandboxes/{id}/resources",
    "/sandboxes/{id}/ports",
    "/sandboxes/{id}/logs",
    "/workspaces/{id}/usage",
    "/workspaces/{id}/activity",
    "/api-keys/{id}/events",
    "/platform-events",
    "/platform-events/outbox",
    "/audit-log",
    "/activity",
    "/whoami",
];

/// How often it is read until it stands still.
const SETTLING: usize = 20;

/// Answers by path.
#[derive(Debug)]
pub struct Reading(BTreeMap<String, String>);

impl Reading {
    /// Whatever can be read in a world and does not change by itself.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn of(client: &Client, world: &World) -> Result<Self, Fault> {
        let reads = |op: &Op| {
            let restless = RESTLESS.contains(&op.path());
            *op.method() == Method::GET && !World::is_endless(op.0) && !op.is_open() && !restless
        };
        let moving = Regex::new(
            r#""(last_used_at|last_activity_at|last_active_at|updated_at|accessed_at|expires_at|idle_at|timeout_at|[a-z_]*(seconds|_ms|remaining))":("[^"]*"|[\d.]+|null),?"#,
        )
        .map_err(|error| Fault::unable(error.to_string()))?;
        let request =
            Regex::new(r"req_[0-9A-Za-z-]+").map_err(|error| Fault::unable(error.to_string()))?;
        let mut read = BTreeMap::new();
        for op in Op::all().into_iter().filter(reads) {
            let Some(sending) = op.valid(client, world) else { continue };
            let reply = sending.send().await?;
            let text = format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
            let text = moving.replace_all(&text, "");
            read.insert(reply.place(), request.replace_all(&text, "").into_owned());
        }
        Ok(Self(read))
    }

    /// The same, once two in a row show the same: what was begun has come to its end.
    ///
    /// # Errors
    /// [`Fault::Unable`] when it never does.
    pub async fn settled(client: &Client, world: &World) -> Result<Self, Fault> {
        let mut last = Self::of(client, world).await?;
        for _ in 0..SETTLING {
            client.breathe().await?;
            let next = Self::of(client, world).await?;
            if last.difference(&next).is_none() {
                return Ok(next);
            }
            last = next;
        }
        Err(Fault::unable("the organization changes by itself"))
    }

    /// The first place that another reading shows differently, with what stood and what stands there.
    pub fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let (place, was) = self.0.iter().find(|(place, was)| other.0.get(*place) != Some(was))?;
        let is = other.0.get(place).map_or("nothing", String::as_str);
        let same = was.chars().zip(is.chars()).take_while(|(a, b)| a == b).count();
        let around = |text: &str| {
            let shown: String = text.chars().skip(same.saturating_sub(60)).take(200).collect();
            format!("…{shown}")
        };
        Some((place.clone(), around(was), around(is)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_difference_is_shown_where_it_begins() {
        let reading = |text: &str| Reading([("GET /x".to_owned(), text.to_owned())].into());
        let same = "y".repeat(100);
        assert_eq!(reading("a").difference(&reading("a")), None);
        let (place, was, is) =
            reading(&format!("{same}old")).difference(&reading(&format!("{same}new"))).unwrap();
        assert_eq!(place, "GET /x");
        assert!(was.ends_with("yold") && is.ends_with("ynew") && was.len() < 80, "{was} {is}");
    }
}
