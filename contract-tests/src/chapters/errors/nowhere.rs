//! Paths and methods that the API does not have.

use std::collections::BTreeMap;

use http::Method;
use miosa_openapi::check::Contract;

use crate::fault::Fault;
use crate::gallery::NOBODY;
use crate::session::Session;

/// Every path, its parameters filled with an id that nothing has.
fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { NOBODY.to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

pub(super) fn paths(session: &Session) -> Result<(), Fault> {
    let contract = Contract::get();
    let mut paths: Vec<String> = contract
        .operations()
        .iter()
        .map(|it| format!("{}/contract-nowhere", filled(it.path())))
        .filter(|path| contract.methods(path).is_empty())
        .collect();
    paths.push("/contract-nowhere".to_owned());
    paths.sort();
    paths.dedup();
    session.each(
        paths,
        async |_, _| Ok(()),
        async |client, (), path| {
            let reply = client.get(path.clone()).send().await?;
            // More of the API than the contract describes may be known, and not built.
            if reply.status == 501 { Ok(()) } else { reply.refused(404).map(drop) }
        },
    )
}

pub(super) fn methods(session: &Session) -> Result<(), Fault> {
    let contract = Contract::get();
    let mut paths: BTreeMap<String, Vec<Method>> = BTreeMap::new();
    for operation in contract.operations() {
        paths.entry(filled(operation.path())).or_default().push(operation.method().clone());
    }
    let mut items = Vec::new();
    for (path, has) in paths {
        let wrong = [Method::DELETE, Method::PUT, Method::PATCH, Method::POST, Method::GET];
        let lacks: Vec<Method> = wrong.into_iter().filter(|it| !has.contains(it)).collect();
        // One a run, another in another run.
        items.extend(session.shuffled(lacks).into_iter().next().map(|it| (it, path, has)));
    }
    session.each(
        items,
        async |_, _| Ok(()),
        async |client, (), (method, path, has)| {
            let reply = client.request(method.clone(), path.clone()).send().await?;
            // The API may have a method here that the contract does not describe.
            if reply.status == 501 {
                return Ok(());
            }
            reply.refused(405)?;
            let allow = reply.header("allow").unwrap_or_default().to_owned();
            let told: Vec<&str> = allow.split(',').map(str::trim).collect();
            let all = has.iter().all(|it| told.contains(&it.as_str()));
            reply.holds(
                all && !told.contains(&method.as_str()),
                format!("an Allow with {has:?} and without {method}"),
                format!("{allow:?}"),
            )
        },
    )
}
