//! Members and invites over HTTP, in the shapes that the Go and Elixir clients read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use harness::{Client, Emulator};
use serde_json::{Value, json};

const KEY: &str = "msk_test_members";

/// A workspace of its own.
async fn workspace(client: &Client) -> String {
    let made = client.post("/workspaces", json!({ "name": "Clinic" })).await.data(201);
    format!("/workspaces/{}", made["id"].as_str().unwrap())
}

async fn invite(client: &Client, workspace: &str, email: &str, role: &str) -> Value {
    let body = json!({ "email": email, "role": role });
    client.post(&format!("{workspace}/invites"), body).await.json()
}

/// Invites somebody, accepts, and answers their id.
async fn join(client: &Client, workspace: &str, email: &str, role: &str) -> String {
    let invited = invite(client, workspace, email, role).await;
    let token = invited["data"]["token"].as_str().unwrap();
    let accepted = client.post(&format!("/workspace-invites/{token}/accept"), json!({})).await;
    accepted.data(200)["user_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_workspace_starts_with_its_founder_who_stays_while_nobody_else_owns_it() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let workspace = workspace(&client).await;
    let members = client.get(&format!("{workspace}/members")).await.json();
    let me = client.get("/whoami").await.data(200)["user"]["id"].clone();
    assert_eq!((&members["total"], &members["data"][0]["user_id"]), (&json!(1), &me));
    assert_eq!(
        (&members["data"][0]["role"], &members["data"][0]["email"]),
        (&json!("owner"), &json!("owner@localhost"))
    );
    let me = format!("{workspace}/members/{}", me.as_str().unwrap());
    client.delete(&me).await.refused(409, "LAST_OWNER");
    client.patch(&me, json!({ "role": "viewer" })).await.refused(409, "LAST_OWNER");
    client.patch(&me, json!({ "role": "king" })).await.refused(422, "VALIDATION_FAILED");
    let jane = join(&client, &workspace, "jane@example.com", "owner").await;
    client.patch(&format!("{me}/role"), json!({ "role": "viewer" })).await.data(200);
    let jane = format!("{workspace}/members/{jane}");
    client.delete(&jane).await.refused(409, "LAST_OWNER");
    client.patch(&me, json!({ "role": "owner" })).await.data(200);
    // miosa-go 2.0 and miosa-elixir 1.1 read the flags at the top.
    let gone = client.delete(&jane).await;
    assert_eq!(
        (gone.status, &gone.json()["deleted"], &gone.json()["ok"]),
        (200, &json!(true), &json!(true))
    );
    client.delete(&jane).await.refused(404, "NOT_FOUND");
    client.patch(&jane, json!({ "role": "admin" })).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn members_are_of_the_organization_and_are_found_by_either_id() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let (one, two) = (workspace(&client).await, {
        let body = json!({ "name": "Other" });
        format!(
            "/workspaces/{}",
            client.post("/workspaces", body).await.data(201)["id"].as_str().unwrap()
        )
    });
    // Who made the organization is a member without a record; beyond the first page there is nobody.
    let beyond = client.get(&format!("{one}/members?page=2")).await.json();
    assert_eq!((&beyond["page"]["total"], &beyond["data"]), (&json!(1), &json!([])));
    let stranger = json!({ "user_id": "6f1b3c5e-0000-4000-8000-000000000000", "role": "member" });
    client.post(&format!("{one}/members"), stranger).await.refused(422, "NOT_TENANT_MEMBER");
    client.post(&format!("{one}/members"), json!({})).await.refused(422, "VALIDATION_FAILED");
    let jane = join(&client, &one, "jane@example.com", "member").await;
    let added = client.post(&format!("{two}/members"), json!({ "user_id": jane })).await;
    let member = added.data(201);
    assert_eq!(added.header("location"), format!("/api/v1{two}/members/{jane}"));
    for field in ["user_id", "workspace_id", "role", "joined_at", "added_by"] {
        assert!(member[field].is_string(), "miosa-go 2.0 reads {field}: {member}");
    }
    let again = client.post(&format!("{two}/members"), json!({ "user_id": jane })).await;
    again.refused(409, "CONFLICT");
    // miosa-python 2.19 sends the membership's id, miosa-go 2.0 the person's.
    let by_membership = format!("{two}/members/{}", member["id"].as_str().unwrap());
    let changed = client.patch(&by_membership, json!({ "role": "admin" })).await.data(200);
    assert_eq!((&changed["role"], &changed["user_id"]), (&json!("admin"), &json!(jane)));
    // A membership of one workspace is not one of another.
    let elsewhere = format!("{one}/members/{}", member["id"].as_str().unwrap());
    client.delete(&elsewhere).await.refused(404, "NOT_FOUND");
    let listed = client.get(&format!("{two}/members?limit=1")).await.json();
    assert_eq!(
        (&listed["meta"]["total"], listed["data"].as_array().unwrap().len()),
        (&json!(2), 1)
    );
    let other = emulator.client("msk_test_else").get(&format!("{two}/members")).await;
    other.refused(404, "workspace_not_found");
}

#[tokio::test]
async fn an_accepted_invite_makes_a_member_and_its_token_is_shown_once() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let workspace = workspace(&client).await;
    let invited = invite(&client, &workspace, "Jane@Example.com", "viewer").await;
    // miosa-elixir 1.1 takes both keys at the top.
    assert_eq!(
        (&invited["type"], &invited["data"]["email"]),
        (&json!("invited"), &json!("jane@example.com"))
    );
    let token = invited["data"]["token"].as_str().unwrap();
    assert!(invited["data"]["invite_url"].as_str().unwrap().ends_with(token), "{invited}");
    let listed = client.get(&format!("{workspace}/invites")).await.json();
    assert_eq!((&listed["total"], &listed["data"][0]["id"]), (&json!(1), &invited["data"]["id"]));
    assert!(!listed.to_string().contains(token), "{listed}");
    let happened = client.get(&format!("{workspace}/activity")).await.json();
    assert_eq!(happened["data"][0]["type"], "workspace.invited");
    assert!(!happened.to_string().contains(token), "{happened}");
    // Whoever was invited has no credential yet.
    let path = format!("/workspace-invites/{token}");
    let preview = emulator.anonymous().get(&path).await.data(200);
    assert_eq!(
        (&preview["workspace_name"], &preview["role"]),
        (&json!("Clinic"), &json!("viewer"))
    );
    for flag in ["expired", "revoked", "accepted"] {
        assert_eq!(preview[flag], false, "{flag}");
    }
    emulator.anonymous().get("/workspace-invites/miv_nope").await.refused(404, "INVALID_TOKEN");
    emulator
        .anonymous()
        .post(&format!("{path}/accept"), json!({}))
        .await
        .refused(401, "MISSING_TOKEN");
    let accepted = client.post(&format!("{path}/accept"), json!({})).await.json();
    assert_eq!((&accepted["accepted"], &accepted["role"]), (&json!(true), &json!("viewer")));
    assert_eq!(format!("/workspaces/{}", accepted["workspace_id"].as_str().unwrap()), workspace);
    client.post(&format!("{path}/accept"), json!({})).await.refused(409, "ALREADY_ACCEPTED");
    assert_eq!(emulator.anonymous().get(&path).await.data(200)["accepted"], true);
    let members = client.get(&format!("{workspace}/members")).await.json();
    assert_eq!(
        (&members["total"], &members["data"][0]["email"]),
        (&json!(2), &json!("jane@example.com"))
    );
    let invite_path = format!("{workspace}/invites/{}", invited["data"]["id"].as_str().unwrap());
    client.delete(&invite_path).await.refused(409, "ALREADY_ACCEPTED");
    assert_eq!(client.get(&format!("{workspace}/invites")).await.json()["total"], 0);
    // Known to the organization now: an invite elsewhere takes her in at once.
    let second = client.post("/workspaces", json!({ "name": "Second" })).await.data(201);
    let second = format!("/workspaces/{}", second["id"].as_str().unwrap());
    let added = invite(&client, &second, "jane@example.com", "member").await;
    assert_eq!((&added["type"], &added["data"]["role"]), (&json!("added"), &json!("member")));
}

#[tokio::test]
async fn an_invite_ends_by_time_by_being_taken_back_and_by_a_newer_one() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let workspace = workspace(&client).await;
    let accept = async |invited: &Value| {
        let token = invited["data"]["token"].as_str().unwrap();
        client.post(&format!("/workspace-invites/{token}/accept"), json!({})).await
    };
    let first = invite(&client, &workspace, "a@example.com", "member").await;
    let second = invite(&client, &workspace, "a@example.com", "admin").await;
    accept(&first).await.refused(409, "REVOKED");
    assert_eq!(client.get(&format!("{workspace}/invites")).await.json()["total"], 1);
    let path = format!("{workspace}/invites/{}", second["data"]["id"].as_str().unwrap());
    for _ in 0..2 {
        let revoked = client.delete(&path).await.json();
        assert_eq!(
            (&revoked["revoked"], &revoked["invite_id"]),
            (&json!(true), &second["data"]["id"])
        );
    }
    accept(&second).await.refused(409, "REVOKED");
    let third = invite(&client, &workspace, "a@example.com", "member").await;
    client.advance(7 * 24 * 3600 + 1).await;
    accept(&third).await.refused(410, "EXPIRED");
    let token = third["data"]["token"].as_str().unwrap();
    let preview = emulator.anonymous().get(&format!("/workspace-invites/{token}")).await.data(200);
    assert_eq!(preview["expired"], true);
    for email in ["", "nobody", "a@", "@b", "a b@c", "a@b@c"] {
        let body = json!({ "email": email });
        let refused = client.post(&format!("{workspace}/invites"), body).await;
        refused.refused(422, "VALIDATION_FAILED");
    }
    // By address in the members' list: the same invite (miosa-python 2.19).
    let body = json!({ "email": "b@example.com", "role": "viewer" });
    let invited = client.post(&format!("{workspace}/members"), body).await.json();
    assert_eq!(invited["type"], "invited");
}

#[tokio::test]
async fn an_invite_is_accepted_once_however_many_try_at_once() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let workspace = workspace(&client).await;
    let invited = invite(&client, &workspace, "a@example.com", "member").await;
    let path = format!("/workspace-invites/{}/accept", invited["data"]["token"].as_str().unwrap());
    let racing = (0..8).map(|_| client.post(&path, json!({})));
    let statuses: Vec<u16> =
        futures_util::future::join_all(racing).await.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(client.get(&format!("{workspace}/members")).await.json()["total"], 2);
    assert_eq!(client.delete(&workspace).await.status, 204);
    emulator.anonymous().get(path.trim_end_matches("/accept")).await.refused(404, "INVALID_TOKEN");
}
