//! What stands where.

use miosa_openapi::check::{Contract, Operation};
use serde_json::Value;

use crate::case::Reply;
use crate::fault::Fault;
use crate::gallery::{self, Asked, Which};
use crate::session::Session;

/// The contract's schema of `data` in an answer.
fn data_schemas(operation: &Operation, status: u16) -> Vec<&'static Value> {
    let Some(media) = operation.response(status).and_then(|it| it.media("application/json")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    members(media.schema.value(), "data", &mut found);
    found
}

fn members(schema: &'static Value, name: &str, found: &mut Vec<&'static Value>) {
    let schema = Contract::get().resolve(schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        members(part, name, found);
    }
    if let Some(member) = schema["properties"].get(name) {
        found.push(Contract::get().resolve(member));
    }
}

fn requires(schema: &'static Value, name: &str) -> bool {
    let schema = Contract::get().resolve(schema);
    let here = schema["required"].as_array().is_some_and(|all| all.iter().any(|it| it == name));
    here || schema["allOf"].as_array().into_iter().flatten().any(|part| requires(part, name))
}

/// Whether the contract wants one thing with an id here.
fn is_record(asked: Asked, reply: &Reply) -> bool {
    let schemas = data_schemas(asked.operation(), reply.status);
    matches!(asked, Asked::Valid(_)) && schemas.iter().any(|schema| requires(schema, "id"))
}

pub(super) fn under_data(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Successes], |asked, reply| {
        if !is_record(asked, reply) {
            return Ok(());
        }
        let data = reply.data()?;
        reply.holds(data.is_object(), "an object under `data`", reply.summary())?;
        let id = data["id"].as_str().unwrap_or_default();
        reply.holds(!id.is_empty(), "its id in data.id", reply.summary())
    })
}

pub(super) fn at_the_top(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Successes], |asked, reply| {
        if !is_record(asked, reply) {
            return Ok(());
        }
        let body = reply.json()?;
        for (name, value) in body["data"].as_object().into_iter().flatten() {
            let top = body.get(name).cloned().unwrap_or_default();
            reply.holds(
                name == "data" || top == *value,
                format!("{name} at the top as under `data`: {value}"),
                top.to_string(),
            )?;
        }
        Ok(())
    })
}

pub(super) fn lists(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Successes], |asked, reply| {
        if !asked.operation().is_paginated() || reply.status != 200 {
            return Ok(());
        }
        let items = reply.items()?;
        let page = reply.json()?["page"].clone();
        for name in ["page", "page_size", "total"] {
            let got = format!("page.{name} is {} in {}", page[name], reply.place());
            reply.holds(page[name].is_u64(), format!("an integer in page.{name}"), got)?;
        }
        let total = page["total"].as_u64().unwrap_or_default();
        reply.holds(
            total >= items.len() as u64,
            format!("a total of {} or more", items.len()),
            format!("page.total is {total}"),
        )
    })
}

pub(super) fn meta(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Successes], |asked, reply| {
        if !asked.operation().is_paginated() || reply.status != 200 {
            return Ok(());
        }
        let body = reply.json()?;
        for (pointer, same) in [
            ("/meta/total", "total"),
            ("/meta/page", "page"),
            ("/meta/per_page", "page_size"),
            ("/total", "total"),
        ] {
            let value = body.pointer(pointer).cloned().unwrap_or_default();
            let optional = pointer == "/total" && value.is_null();
            reply.holds(
                optional || value == body["page"][same],
                format!("{pointer} as page.{same}: {}", body["page"][same]),
                value.to_string(),
            )?;
        }
        Ok(())
    })
}
