//! Going through a list part by part.

use super::shelf::{Shelf, key};
use crate::case::Reply;
use crate::fault::Fault;

/// One part of a list.
pub struct Part {
    /// The answer.
    pub reply: Reply,
    /// The keys of its items.
    pub keys: Vec<String>,
    /// `page.page`.
    pub page: u64,
    /// `page.page_size`.
    pub size: u64,
    /// `page.total`.
    pub total: u64,
    /// `next_cursor`.
    pub next: Option<String>,
}

impl Part {
    /// Reads an answer as a part of a list.
    pub fn read(reply: Reply) -> Result<Self, Fault> {
        let reply = reply.expect(200)?;
        let items = reply.items()?;
        let json = reply.json()?;
        let number = |name: &str| {
            json["page"][name].as_u64().ok_or_else(|| {
                reply.broken(format!("a whole number in page.{name}"), reply.summary())
            })
        };
        let (page, size, total) = (number("page")?, number("page_size")?, number("total")?);
        let next = json["next_cursor"].as_str().map(str::to_owned);
        Ok(Self { keys: items.iter().map(key).collect(), page, size, total, next, reply })
    }
}

/// A walk that finds no end this many parts after it should have is given up.
const PATIENCE: u64 = 3;

impl Shelf {
    /// A part.
    pub async fn read(&self, query: &str) -> Result<Part, Fault> {
        Part::read(self.part(query).await?)
    }

    /// All parts by their number, the first empty one included.
    pub async fn by_page(&self, size: u64) -> Result<Vec<Part>, Fault> {
        self.until_empty(size, |n| format!("page={}&page_size={size}", n + 1)).await
    }

    /// All parts by their offset, the first empty one included.
    pub async fn by_offset(&self, size: u64) -> Result<Vec<Part>, Fault> {
        self.until_empty(size, |n| format!("limit={size}&offset={}", n * size)).await
    }

    async fn until_empty(
        &self,
        size: u64,
        query: impl Fn(u64) -> String,
    ) -> Result<Vec<Part>, Fault> {
        let mut parts: Vec<Part> = Vec::new();
        loop {
            let n = parts.len() as u64;
            let part = self.read(&query(n)).await?;
            let (ended, place) = (part.keys.is_empty(), part.reply.place());
            parts.push(part);
            let total = parts.first().map_or(0, |part| part.total);
            match parts.last() {
                Some(last) if !ended && n > total.div_ceil(size) + PATIENCE => {
                    let got = format!("{} items still", last.keys.len());
                    return Err(last
                        .reply
                        .broken(format!("no more of {total} items from {place}"), got));
                }
                _ if ended => return Ok(parts),
                _ => {}
            }
        }
    }

    /// All parts by cursor, until no next one is told.
    pub async fn by_cursor(&self, size: u64) -> Result<Vec<Part>, Fault> {
        let mut parts: Vec<Part> = Vec::new();
        let mut cursor = String::new();
        loop {
            let part = self.read(&format!("limit={size}&cursor={cursor}")).await?;
            let (next, place) = (part.next.clone(), part.reply.place());
            parts.push(part);
            let Some(next) = next else { return Ok(parts) };
            cursor = next;
            let total = parts.first().map_or(0, |part| part.total);
            if parts.len() as u64 > total.div_ceil(size) + PATIENCE {
                let expected = format!("no next_cursor after all {total} items, from {place}");
                return Err(Fault::broken(expected, cursor));
            }
        }
    }

    /// The keys of the whole list, a hundred items a page.
    pub async fn whole(&self) -> Result<Vec<String>, Fault> {
        Ok(keys(&self.by_page(100).await?))
    }
}

/// The keys of all parts, in order.
pub fn keys(parts: &[Part]) -> Vec<String> {
    parts.iter().flat_map(|part| part.keys.iter().cloned()).collect()
}

/// The first key that is there twice.
pub fn twice(keys: &[String]) -> Option<&String> {
    let mut seen = std::collections::HashSet::new();
    keys.iter().find(|key| !seen.insert(*key))
}
