//! Ids that are nearly right.

use http::Method;
use miosa_openapi::check::Location;
use proptest::prelude::*;

use crate::fault::Fault;
use crate::session::Session;
use crate::world::World;

#[derive(Debug, Clone, Copy)]
enum Distorted {
    Capitals,
    Shorter,
    Longer,
    NoHex,
    Braces,
    Urn,
    Dashless,
    Nil,
    Empty,
}

impl Distorted {
    fn of(self, id: &str) -> String {
        match self {
            Self::Capitals => id.to_uppercase(),
            Self::Shorter => id.get(..id.len() - 1).unwrap_or_default().to_owned(),
            Self::Longer => format!("{id}0"),
            Self::NoHex => format!("g{}", id.get(1..).unwrap_or_default()),
            Self::Braces => format!("%7B{id}%7D"),
            Self::Urn => format!("urn:uuid:{id}"),
            Self::Dashless => id.replace('-', ""),
            Self::Nil => uuid::Uuid::nil().to_string(),
            Self::Empty => "%20".to_owned(),
        }
    }
}

pub(super) fn distorted(session: &Session) -> Result<(), Fault> {
    use Distorted::{Braces, Capitals, Dashless, Empty, Longer, Nil, NoHex, Shorter, Urn};
    let machines = session.target.has_machines();
    let (client, world, said) = session.prepare(async |case| {
        let client = case.organization()?;
        let world = if machines {
            World::populate(&client).await?
        } else {
            World::populate_without_machines(&client).await?
        };
        Ok((client, world, case.exchanges()))
    })?;
    let all = vec![Capitals, Shorter, Longer, NoHex, Braces, Urn, Dashless, Nil, Empty];
    let all = prop::sample::select(all);
    let reads = World::in_order().into_iter().filter(|operation| {
        *operation.method() == Method::GET
            && !World::is_endless(operation)
            // It waits for a port.
            && !operation.path().ends_with("/status")
            && operation.parameters().iter().any(|it| it.location == Location::Path)
    });
    for (n, operation) in reads.enumerate() {
        if n % 60 == 0 {
            session.prepare(async |case| client.in_case(&case).breathe().await)?;
        }
        let Some(path) = world.path(operation) else { continue };
        let Some(id) = path.split('/').rev().find(|part| uuid::Uuid::parse_str(part).is_ok())
        else {
            continue;
        };
        session.forall(all.clone(), async |case, how| {
            case.begin_with(&said);
            let client = client.in_case(&case);
            let bent = path.replace(id, &how.of(id));
            let reply = client.get(format!("{bent}{}", world.query(operation))).send().await?;
            match reply.status {
                400 | 404 => reply.refusal().map(drop),
                200 => {
                    let body = reply.json().unwrap_or_default();
                    let found = body["data"]["id"].as_str().map(str::to_owned);
                    let same = path.ends_with(id).then_some(found).flatten();
                    reply.holds(
                        same.as_deref().is_none_or(|same| same == id) && !matches!(how, Nil),
                        format!("{id} or nothing from {}", reply.place()),
                        same.unwrap_or_else(|| "200".to_owned()),
                    )
                }
                _ => {
                    let expected = format!("400, 404 or {id} from {}", reply.place());
                    Err(reply.broken(expected, reply.summary()))
                }
            }
        })?;
    }
    Ok(())
}
