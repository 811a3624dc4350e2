//! One record, told three times.

use std::fmt;

use http::Method;
use miosa_openapi::check::{Contract, Operation};
use serde_json::Value;

use crate::case::Client;
use crate::fault::Fault;
use crate::session::Session;
use crate::world::World;

/// A collection that can be added to, and read one by one and as a list.
#[derive(Clone)]
struct Collection {
    create: &'static Operation,
    get: Option<&'static Operation>,
    list: Option<&'static Operation>,
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.create.path())
    }
}

fn collections() -> Vec<Collection> {
    let contract = Contract::get();
    let mut found = Vec::new();
    for create in contract.operations() {
        if *create.method() != Method::POST || create.response(201).is_none() {
            continue;
        }
        let below = format!("{}/{{", create.path());
        let get = contract.operations().iter().find(|it| {
            let rest = it.path().strip_prefix(&below);
            let one = rest
                .is_some_and(|rest| rest.split_once('}').is_some_and(|(_, end)| end.is_empty()));
            *it.method() == Method::GET && one && !it.path().contains("/files/")
        });
        let list = contract.operations().iter().find(|it| {
            *it.method() == Method::GET && it.path() == create.path() && it.is_paginated()
        });
        // Who is invited is no member yet.
        if create.id() == "addMember" {
            continue;
        }
        if get.is_some() || list.is_some() {
            found.push(Collection { create, get, list });
        }
    }
    found
}

/// Fields that are told once, or that change by themselves.
const MOVING: &[&str] = &[
    "secret",
    "token",
    "key",
    "api_key",
    "state",
    "status",
    "updated_at",
    "started_at",
    "finished_at",
    "last_used_at",
    "invite_url",
    "timeout_remaining_ms",
    "share_url",
    "url",
    "type",
];

pub(super) fn same(session: &Session) -> Result<(), Fault> {
    session.each(
        collections(),
        async |client, collections| {
            World::for_operations(client, collections.iter().map(|it| it.create)).await
        },
        async |client, world, collection| told(client, world, collection).await,
    )
}

async fn told(client: &Client, world: &World, collection: &Collection) -> Result<(), Fault> {
    let (Some(path), Some(sending)) =
        (world.path(collection.create), world.call(client, collection.create))
    else {
        return Ok(());
    };
    let made = sending.send().await?;
    // What cannot be made here is another rule's.
    if made.status < 300 && made.status != 201 {
        return Ok(());
    }
    if made.status != 201 {
        return Err(Fault::unable(format!("{} answered {}", made.place(), made.summary())));
    }
    let made = made.data()?;
    let name = ["id", "pid", "name", "slug", "key"].into_iter().find_map(|it| made[it].as_str());
    let Some(name) = name else { return Ok(()) };
    let mut records = Vec::new();
    if collection.get.is_some() {
        let got = client.get(format!("{path}/{name}")).send().await?.expect(200)?;
        records.push((got.data()?, got));
    }
    if collection.list.is_some() {
        let listed = client.get(format!("{path}?page_size=100")).send().await?.expect(200)?;
        let item = listed.items()?.into_iter().find(|item| item["id"] == made["id"]);
        let Some(item) = item else {
            return Err(listed.broken(format!("{} in the list", made["id"]), listed.summary()));
        };
        records.push((item, listed));
    }
    // What is told of one is told in the list, too.
    if let [(got, _), (item, listed)] = records.as_slice() {
        let fields = got.as_object().into_iter().flat_map(|got| got.keys());
        let missing: Vec<_> = fields.filter(|name| item.get(name.as_str()).is_none()).collect();
        listed.holds(
            missing.is_empty(),
            format!("items with every field that GET {path}/{name} has"),
            format!("without {missing:?}"),
        )?;
    }
    for (record, reply) in records {
        for (field, value) in made.as_object().into_iter().flatten() {
            let other = record.get(field).unwrap_or(&Value::Null);
            if MOVING.contains(&field.as_str()) || other.is_null() || value.is_null() {
                continue;
            }
            reply.holds(
                other == value,
                format!("{field} as it was created: {value}"),
                format!("{other} from {}", reply.place()),
            )?;
        }
    }
    Ok(())
}
