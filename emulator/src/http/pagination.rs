//! Pages: `page` and `page_size` (20, at most 100), and the spellings that clients use.
//!
//! | spelling | who |
//! |---|---|
//! | `page`, `page_size` | the overview page |
//! | `page`, `per_page` | miosa-go 2.0, open computers |
//! | `limit` (with `page`, `offset` or `cursor`) | miosa-python 2.19, miosa-go 2.0 |

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::Value;

use super::error::{ApiError, ApiResult};
use super::exchange::Exchange;
use crate::defects::defect;
use crate::store::{Filter, Listing, Paging, Resource, Store};

const DEFAULT_SIZE: u32 = 20;
const MAX_SIZE: u32 = 100;

/// The part of a list that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// The part.
    pub paging: Paging,
    /// Whether the client asked for a part at all.
    pub asked: bool,
}

/// The query parameters read here; `validation` does not call them unread.
pub const PARAMETERS: &[&str] = &["page", "page_size", "per_page", "limit", "offset", "cursor"];

impl Pages {
    /// Reads the parameters.
    ///
    /// # Errors
    /// 400 for what is no number or out of bounds.
    pub fn parse(query: &str) -> ApiResult<Self> {
        Self::within(query, DEFAULT_SIZE, MAX_SIZE)
    }

    /// The same for a list whose `limit` has a default and a bound of its own; the overview page bounds `page_size`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn within(query: &str, default: u32, most: u32) -> ApiResult<Self> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|error| ApiError::parameter("query", error))?;
        let find = |name: &str| {
            pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        let mut size = None;
        let most = defect!(SizeWithoutMost, 1000, most);
        let default = if defect!(TenByDefault) { default.min(10) } else { default };
        for name in ["page_size", "per_page", "limit"] {
            if defect!(PerPageIgnored) && name == "per_page" {
                continue;
            }
            if let Some(text) = find(name) {
                let most = if name == "limit" { most } else { MAX_SIZE };
                let n = number(name, text, 1, most.into())? as u32;
                if size.is_some_and(|other| other != n) {
                    return Err(ApiError::parameter(
                        name,
                        "contradicts another page size in the same request",
                    ));
                }
                size = Some(n);
            }
        }
        let first = u64::from(!defect!(PageZero));
        let page =
            find("page").map(|text| number("page", text, first, 1_000_000_000)).transpose()?;
        let offset =
            find("offset").map(|text| number("offset", text, 0, i64::MAX as u64)).transpose()?;
        let cursor = find("cursor").map(|text| {
            if text.is_empty() {
                return Ok(None);
            }
            text.parse::<i64>().ok().filter(|n| *n > 0).map(Some).ok_or_else(|| {
                ApiError::parameter(
                    "cursor",
                    "not a cursor of this list; take it from `next_cursor`",
                )
            })
        });
        let cursor = cursor.transpose()?;
        if usize::from(page.is_some())
            + usize::from(offset.is_some())
            + usize::from(cursor.is_some())
            > 1
        {
            return Err(ApiError::parameter("page", "use one of page, offset and cursor"));
        }
        let asked = size.is_some() || page.is_some() || offset.is_some() || cursor.is_some();
        let size = size.unwrap_or(default);
        let paging = match (page, offset, cursor) {
            (_, Some(offset), _) => {
                Paging::Offset { offset: offset.saturating_sub(defect!(OffsetFromOne, 1, 0)), size }
            }
            (_, _, Some(before)) => Paging::Cursor { before, size },
            (page, ..) => Paging::Number { page: page.unwrap_or(1) as u32, size },
        };
        Ok(Self { paging, asked })
    }
}

fn number(name: &str, text: &str, min: u64, max: u64) -> ApiResult<u64> {
    if defect!(SizeClamped)
        && name != "page"
        && let Ok(n) = text.parse::<i64>()
    {
        return Ok(u64::try_from(n).unwrap_or(0).clamp(min, max));
    }
    text.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(|| {
        ApiError::parameter(name, format!("must be a whole number from {min} to {max}"))
    })
}

impl<S: Sync> FromRequestParts<S> for Pages {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

/// A part of a long record: `limit` items after a `cursor`, for lists that have no pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window<const DEFAULT: u32, const MOST: u32> {
    /// How many items at the most.
    pub limit: u32,
    /// Where the last part ended.
    pub cursor: Option<i64>,
}

impl<const DEFAULT: u32, const MOST: u32> Window<DEFAULT, MOST> {
    fn parse(query: &str) -> ApiResult<Self> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|error| ApiError::parameter("query", error))?;
        let find = |name: &str| {
            let pair = pairs.iter().rev().find(|(key, value)| key == name && !value.is_empty());
            pair.map(|(_, value)| value.as_str())
        };
        let limit = find("limit").map(|text| number("limit", text, 1, MOST.into())).transpose()?;
        let cursor =
            find("cursor").map(|text| number("cursor", text, 0, i64::MAX as u64)).transpose()?;
        Ok(Self {
            limit: limit.map_or(DEFAULT, |limit| limit as u32),
            cursor: cursor.map(|cursor| cursor as i64),
        })
    }
}

impl<S: Sync, const DEFAULT: u32, const MOST: u32> FromRequestParts<S> for Window<DEFAULT, MOST> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

impl Pages {
    /// Reads the part that was asked for of what the filter lets through. Where nothing was asked for and more is
    /// there, the exchange is flagged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read<R: Resource>(
        self,
        store: &Store,
        filter: Filter,
        exchange: &Exchange,
    ) -> ApiResult<Listing<R>> {
        let listing = store.read(move |view| view.page::<R>(&filter, self.paging)).await?;
        exchange.flag_left_out(self, &listing);
        Ok(listing)
    }
}

/// A part of a list that is at hand as a whole.
#[derive(Debug, Clone)]
pub struct Portion {
    /// The items.
    pub items: Vec<Value>,
    /// How many there are in all.
    pub total: u64,
    /// The page's number.
    pub page: u64,
    /// The page's size.
    pub size: u32,
    /// Where the next part begins; `None` at the end.
    pub next_cursor: Option<String>,
}

impl Pages {
    /// The part that was asked for of a list that is at hand as a whole; all of it where no part was asked for. The
    /// cursor of such a list is how many items lie before it.
    pub fn portion(self, items: Vec<Value>) -> Portion {
        let total = items.len() as u64;
        if !self.asked {
            let size = u32::try_from(total).unwrap_or(u32::MAX).max(1);
            return Portion { items, total, page: 1, size, next_cursor: None };
        }
        let size = self.paging.size();
        let start = match self.paging {
            Paging::Number { page, size } => u64::from(page.saturating_sub(1)) * u64::from(size),
            Paging::Offset { offset, .. } => offset,
            Paging::Cursor { before, .. } => before.unwrap_or(0).max(0) as u64,
        };
        let end = start.saturating_add(u64::from(size));
        let skipped = usize::try_from(start).unwrap_or(usize::MAX);
        Portion {
            items: items.into_iter().skip(skipped).take(size as usize).collect(),
            total,
            page: self.paging.page(),
            size,
            next_cursor: (end < total).then(|| end.to_string()),
        }
    }
}

impl Exchange {
    /// Flags a list that left items out for a client that asked for no part: it may not know.
    pub fn flag_left_out<R>(&self, pages: Pages, listing: &Listing<R>) {
        if !pages.asked && listing.total > listing.items.len() as u64 {
            self.flag("items_left_out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read() {
        let number = |page, size| Paging::Number { page, size };
        for (query, paging) in [
            ("", number(1, 20)),
            ("page=3&page_size=50", number(3, 50)),
            ("page=2&per_page=10", number(2, 10)),
            ("limit=7", number(1, 7)),
            ("limit=7&offset=14", Paging::Offset { offset: 14, size: 7 }),
            ("limit=100&cursor=42", Paging::Cursor { before: Some(42), size: 100 }),
            ("cursor=", Paging::Cursor { before: None, size: 20 }),
        ] {
            assert_eq!(Pages::parse(query).unwrap().paging, paging, "{query}");
        }
    }

    #[test]
    fn a_list_with_a_limit_of_its_own_has_the_page_size_of_all() {
        assert_eq!(Pages::within("limit=200", 50, 200).unwrap().paging.size(), 200);
        assert_eq!(Pages::within("", 50, 200).unwrap().paging.size(), 50);
        for query in ["page_size=101", "per_page=101", "limit=201"] {
            assert_eq!(Pages::within(query, 50, 200).unwrap_err().code.status, 400, "{query}");
        }
    }

    #[test]
    fn a_list_at_hand_is_cut_like_any_other() {
        let items: Vec<Value> = (0..5).map(Value::from).collect();
        for (query, wanted, next) in [
            ("", 0..5, None),
            ("page=2&page_size=2", 2..4, Some("4")),
            ("page=3&page_size=2", 4..5, None),
            ("page=9&page_size=2", 5..5, None),
            ("limit=2&offset=1", 1..3, Some("3")),
            ("limit=2&cursor=", 0..2, Some("2")),
            ("limit=3&cursor=2", 2..5, None),
        ] {
            let part = Pages::parse(query).unwrap().portion(items.clone());
            assert_eq!(part.items, items[wanted], "{query}");
            assert_eq!((part.total, part.next_cursor.as_deref()), (5, next), "{query}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for query in [
            "page=0",
            "page=-1",
            "page=x",
            "page_size=0",
            "page_size=101",
            "per_page=1000",
            "limit=x",
            "limit=1.5",
            "offset=-1",
            "cursor=abc",
            "page=1&offset=3",
            "page_size=10&limit=20",
            "page=",
        ] {
            assert_eq!(Pages::parse(query).unwrap_err().code.status, 400, "{query}");
        }
    }
}
