//! Where a key may be used from.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::json;

use crate::case::made::field;
use crate::fault::Fault;
use crate::session::Session;

/// Where requests to this computer come from.
const OWN: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The network with a prefix of this length that our address lies in; with one bit of the prefix turned, the neighbouring
/// one that it does not lie in.
fn network(prefix: u32, turned: Option<u32>) -> String {
    let bits = OWN.to_bits() ^ turned.map_or(0, |bit| 1 << (31 - bit));
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    format!("{}/{prefix}", Ipv4Addr::from_bits(bits & mask))
}

/// A network, and whether a request from here is let in.
#[derive(Debug, Clone)]
struct Named {
    networks: Vec<String>,
    within: bool,
}

/// AUTH-009.
pub(super) fn allowed(session: &Session) -> Result<(), Fault> {
    let near = session.target.address.is_loopback();
    let within = (0_u32..=32).prop_map(|prefix| network(prefix, None));
    let without = (1_u32..=32)
        .prop_flat_map(|prefix| (Just(prefix), 0..prefix))
        .prop_map(|(prefix, bit)| network(prefix, Some(bit)));
    // From elsewhere the own address is not known: everywhere, and nowhere.
    let (within, without) = if near {
        (within.boxed(), without.boxed())
    } else {
        (Just("0.0.0.0/0".to_owned()).boxed(), Just("192.0.2.0/24".to_owned()).boxed())
    };
    let outside = prop::collection::vec(
        prop_oneof![3 => without, 1 => Just("2001:db8::/32".to_owned())],
        1..=2,
    );
    let named = (outside, prop::option::of(within)).prop_map(|(mut networks, own)| {
        let within = own.is_some();
        networks.extend(own);
        Named { networks, within }
    });
    let asked = prop::sample::select(vec!["/whoami", "/workspaces", "/sandboxes", "/audit-log"]);
    session.forall((named, asked, any::<bool>()), async |case, (named, asked, later)| {
        let owner = case.organization()?;
        let mut body = json!({ "name": case.name() });
        if !later {
            body["allowed_ips"] = json!(named.networks);
        }
        let made = owner.make("/api-keys", body).await?;
        let holder = owner.as_key(&field(&made, "key")?);
        if later {
            // What is said of a key that is in use holds from then on.
            holder.get(asked).send().await?.needs(200)?;
            let place = format!("/api-keys/{}", field(&made, "id")?);
            let body = json!({ "allowed_ips": named.networks });
            owner.patch(place, body).send().await?.needs(200)?;
        }
        let reply = holder.get(asked).send().await?;
        if named.within {
            reply.expect(200).map(drop)
        } else {
            let refused = matches!(reply.status, 401 | 403);
            reply.holds(refused, "401 or 403 from another address", reply.summary())?;
            reply.refusal().map(drop)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn a_network_contains_the_own_address_unless_a_bit_is_turned() {
        assert_eq!(network(0, None), "0.0.0.0/0");
        assert_eq!(network(8, None), "127.0.0.0/8");
        assert_eq!(network(32, None), "127.0.0.1/32");
        assert_eq!(network(8, Some(0)), "255.0.0.0/8");
        assert_eq!(network(32, Some(31)), "127.0.0.0/32");
    }
}
