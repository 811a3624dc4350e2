//! What identifies a populated organization, and the same with ids and names that nothing has.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::case::{Client, Reply, Sending};
use crate::fault::Fault;
use crate::operations::Op;
use crate::world::World;

/// Shorter texts are no one's own: numbers of processes, names of variables.
const OWN: usize = 16;

/// The ids and names of a world, each with one that nothing has.
pub(super) struct Neighbour {
    world: World,
    others: BTreeMap<String, String>,
}

impl Neighbour {
    pub(super) fn of(world: World) -> Self {
        let texts = world.ids().iter().flat_map(|known| [Some(&known.id), known.name.as_ref()]);
        let own = texts.flatten().filter(|text| text.len() >= OWN);
        let others = own.map(|text| (text.clone(), stranger(text))).collect();
        Self { world, others }
    }

    /// The text with what nothing has in place of what the world has.
    pub(super) fn unknown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // A longer one may contain a shorter one.
        let mut longest: Vec<_> = self.others.iter().collect();
        longest.sort_by_key(|(own, _)| std::cmp::Reverse(own.len()));
        for (own, other) in longest {
            if text.contains(own.as_str()) {
                text = text.replace(own.as_str(), other);
            }
        }
        text
    }

    /// Something of the world that stands in the text.
    pub(super) fn told(&self, text: &str) -> Option<&str> {
        self.others.keys().map(String::as_str).find(|own| text.contains(own))
    }

    /// Whether the operation's request names anything of the world.
    pub(super) fn is_named_by(&self, op: Op) -> bool {
        let path = self.world.path(op.0).unwrap_or_default() + &self.world.query(op.0);
        let body = self.world.body(op.0).map(|(_, body)| body).unwrap_or_default();
        self.told(&path).is_some() || self.told(&String::from_utf8_lossy(&body)).is_some()
    }

    /// The operation's request about what the world has, or about what nothing has; what it says of either.
    pub(super) fn request(
        &self,
        client: &Client,
        op: Op,
        known: bool,
    ) -> Option<(Sending, String)> {
        let turned = |text: &str| if known { text.to_owned() } else { self.unknown(text) };
        let path = turned(&(self.world.path(op.0)? + &self.world.query(op.0)));
        let mut said = path.clone();
        let mut sending =
            client.request(op.method().clone(), path).within(crate::operations::REFUSED_WITHIN);
        if let Some((content_type, body)) = self.world.body(op.0) {
            let body = match String::from_utf8(body.to_vec()) {
                Ok(text) => turned(&text).into_bytes(),
                Err(bytes) => bytes.into_bytes(),
            };
            said += &String::from_utf8_lossy(&body);
            sending = sending.bytes(&content_type, body);
        }
        if op.is_socket() {
            sending = sending
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        }
        Some((sending, said))
    }

    /// Nothing of the world stands in the answer that the request did not say.
    pub(super) fn silent(&self, reply: &Reply, said: &str) -> Result<(), Fault> {
        let body = String::from_utf8_lossy(&reply.body);
        let told = self
            .others
            .keys()
            .find(|own| body.contains(own.as_str()) && !said.contains(own.as_str()));
        let got = told.map(|own| format!("{own} in {}", reply.summary())).unwrap_or_default();
        let expected =
            format!("nothing of another organization in the answer of {}", reply.place());
        reply.holds(told.is_none(), expected, got)
    }
}

/// Another text of the same form.
fn stranger(text: &str) -> String {
    if Uuid::parse_str(text).is_ok() {
        return Uuid::new_v4().to_string();
    }
    let kept = text.chars().count().saturating_sub(8);
    let turned = |letter: char| match letter {
        '0'..='8' | 'a'..='y' | 'A'..='Y' => char::from_u32(letter as u32 + 1).unwrap_or(letter),
        '9' => '0',
        'z' => 'a',
        'Z' => 'A',
        other => other,
    };
    let letters = text.chars().enumerate();
    letters.map(|(place, letter)| if place < kept { letter } else { turned(letter) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_another_of_the_same_form() {
        let id = Uuid::new_v4().to_string();
        assert!(stranger(&id) != id && Uuid::parse_str(&stranger(&id)).is_ok());
        assert_eq!(stranger("contract-1-0a9b8c7z"), "contract-1-1b0c9d8a");
        assert_eq!(stranger("/workspace/a-0123.txt"), "/workspace/a-1234.uyu");
    }
}
