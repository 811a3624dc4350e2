//! Seeded faults: the program that has them shows one when told to, and the one that is handed out cannot be told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[cfg(not(feature = "defects"))]
#[test]
fn the_program_that_is_handed_out_has_no_faults_to_choose_from() {
    let program = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_miosa-emulator"));
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in [&["serve", "--defect", "nul-crashes"][..], &["defects"][..]] {
        let (code, said) = program(arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("unexpected argument") || said.contains("unrecognized"), "{said}");
    }
}

#[cfg(feature = "defects")]
mod harness;

#[cfg(feature = "defects")]
mod seeded {
    use std::process::Stdio;

    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::process::{Child, Command};

    use super::harness::{BOUND, Client};

    const PROGRAM: &str = env!("CARGO_BIN_EXE_miosa-emulator-defective");

    /// The program with a fault. It ends when it is dropped.
    async fn with(defect: Option<&str>) -> (Child, Client) {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--machines", "none"]);
        command.args(defect.map(|name| format!("--defect={name}")));
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(BOUND, lines.next_line()).await.expect("ready in time");
        let ready: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        let address = ready["listen"].as_str().unwrap().parse().unwrap();
        let client = Client::new(address, "msk_test_defects");
        let client = if defect.is_some() { client.unchecked("it has a fault") } else { client };
        (child, client)
    }

    #[tokio::test]
    async fn without_a_fault_it_is_right() {
        let (_program, client) = with(None).await;
        assert_eq!(client.post("/workspaces", json!({ "name": "a\u{0}" })).await.status, 422);
        client.get("/projects/nowhere").await.refused(404, "project_not_found");
    }

    #[tokio::test]
    async fn a_fault_of_the_layer_shows_in_answers_and_nowhere_else() {
        let (_program, client) = with(Some("error-without-request-id")).await;
        let refused = client.get("/projects/nowhere").await;
        assert_eq!(refused.json()["error"]["code"], "project_not_found");
        assert_eq!(refused.json()["error"].get("request_id"), None);
        assert!(refused.header("x-request-id").starts_with("req_"));
        assert_eq!(client.get("/_emulator/health").await.status, 200);
    }

    #[tokio::test]
    async fn a_fault_inside_shows() {
        let (_program, client) = with(Some("nul-crashes")).await;
        let crashed = client.post("/workspaces", json!({ "name": "a\u{0}" })).await;
        crashed.refused(500, "INTERNAL");
        assert_eq!(client.post("/workspaces", json!({ "name": "a" })).await.status, 201);
    }

    #[tokio::test]
    async fn an_unknown_fault_is_refused_with_the_list() {
        let mut command = Command::new(PROGRAM);
        let output = command.args(["serve", "--defect", "nothing"]).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("nul-crashes") && said.contains("total-of-page"), "{said}");
    }

    #[tokio::test]
    async fn the_table_can_be_read_by_programs() {
        let output = Command::new(PROGRAM).args(["defects", "--json"]).output().await.unwrap();
        let rows = String::from_utf8(output.stdout).unwrap();
        let rows: Vec<Value> =
            rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(rows.len() >= 80, "{}", rows.len());
        assert!(rows.iter().all(|row| !row["rules"].as_array().unwrap().is_empty()));
    }
}
