//! Jobs of the agent: what outlives a request, its log, its restarts, its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "agent/room.rs"]
mod room;

use miosa_agent::protocol::jobs::{Job, JobInfo, JobState, MAX_JOBS, Restart};
use miosa_emulator::machines::agent::JobSaid;
use room::*;

const GRACE: Duration = Duration::from_millis(500);

fn job(id: &str, line: &str, restart: Restart) -> Job {
    let mut exec = shell(line);
    exec.timeout_ms = None;
    Job { id: id.to_owned(), exec, log_bytes: 64 * 1024, restart }
}

/// What a job has said, how much of it is gone, and how it stands.
async fn output(agent: &Agent, id: &str, follow: bool) -> (String, u64, JobInfo) {
    let mut output = agent.job_output(id, 0, follow).await.unwrap();
    let (mut text, mut lost) = (String::new(), 0);
    while let Some(said) = output.next().await {
        match said.unwrap() {
            JobSaid::Stdout(bytes) | JobSaid::Stderr(bytes) => {
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
            JobSaid::Lost(bytes) => lost += bytes,
            JobSaid::Stands(info) => return (text, lost, info),
        }
    }
    panic!("no last word");
}

async fn state(agent: &Agent, id: &str) -> JobState {
    agent.job(id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn an_id_runs_once_and_its_log_goes_on_when_it_starts_anew() {
    let room = room().await;
    let first = job("a", "echo one; sleep 1000", Restart::No);
    room.agent.start_job(&first).await.unwrap();
    assert_eq!(code(room.agent.start_job(&first).await), FailureCode::Exists);
    until("it has spoken", async || output(&room.agent, "a", false).await.0 == "one\n").await;
    let stopped = room.agent.stop_job("a", GRACE, false).await.unwrap().unwrap();
    assert!(stopped.stopped && stopped.state == JobState::Ended);
    room.agent.start_job(&job("a", "echo two", Restart::No)).await.unwrap();
    let (text, lost, info) = output(&room.agent, "a", true).await;
    assert_eq!((text.as_str(), lost, info.stopped), ("one\ntwo\n", 0, false));
    room.agent.stop_job("a", GRACE, true).await.unwrap();
    assert_eq!(room.agent.job("a").await.unwrap(), None);
    assert_eq!(room.agent.stop_job("a", GRACE, true).await.unwrap(), None);
}

#[tokio::test]
async fn a_log_never_holds_its_job_up_and_says_what_is_gone() {
    let room = room().await;
    let noisy = job("noisy", "head -c 5000000 /dev/zero | tr '\\0' x; echo end", Restart::No);
    room.agent.start_job(&noisy).await.unwrap();
    until("it has ended unread", async || state(&room.agent, "noisy").await == JobState::Ended)
        .await;
    let (text, lost, info) = output(&room.agent, "noisy", false).await;
    assert!(text.ends_with("xend\n") && text.len() <= 64 * 1024);
    assert_eq!((lost + text.len() as u64, lost), (info.log_end, info.log_start));
    assert_eq!(info.log_end, 5_000_004);
}

#[tokio::test]
async fn restarts_pause_longer_and_longer_and_a_stop_ends_the_pause() {
    let room = room().await;
    let failing = job("failing", "echo run; exit 3", Restart::OnFailure);
    room.agent.start_job(&failing).await.unwrap();
    let began = Instant::now();
    let restarts = async || room.agent.job("failing").await.unwrap().unwrap().restarts;
    until("it has failed four times", async || restarts().await >= 3).await;
    // 100, 200 and 400 ms.
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    until("it waits", async || state(&room.agent, "failing").await == JobState::Waiting).await;
    let began = Instant::now();
    let stopped = room.agent.stop_job("failing", GRACE, false).await.unwrap().unwrap();
    assert!(began.elapsed() < GRACE && stopped.state == JobState::Ended);
    let fine = job("fine", "exit 0", Restart::OnFailure);
    room.agent.start_job(&fine).await.unwrap();
    until("it has ended well", async || state(&room.agent, "fine").await == JobState::Ended).await;
}

#[tokio::test]
async fn nothing_is_started_in_a_machine_that_is_frozen() {
    let room = room().await;
    room.agent.start_job(&job("again", "exit 0", Restart::Always)).await.unwrap();
    until("it waits", async || state(&room.agent, "again").await == JobState::Waiting).await;
    room.agent.freeze().await.unwrap();
    // Whatever was about to start has started and stands still, or waits.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let frozen = room.agent.job("again").await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later = room.agent.job("again").await.unwrap().unwrap();
    assert_eq!(later.restarts, frozen.restarts);
    room.agent.thaw().await.unwrap();
    let restarts = async || room.agent.job("again").await.unwrap().unwrap().restarts;
    until("it goes on", async || restarts().await > later.restarts).await;
}

#[tokio::test]
async fn jobs_are_bounded_and_one_that_has_ended_makes_room() {
    let room = room().await;
    for n in 0..MAX_JOBS {
        room.agent.start_job(&job(&n.to_string(), "exec sleep 1000", Restart::No)).await.unwrap();
    }
    let more = job("more", "exec sleep 1000", Restart::No);
    assert_eq!(code(room.agent.start_job(&more).await), FailureCode::TooMany);
    room.agent.stop_job("7", GRACE, false).await.unwrap();
    room.agent.start_job(&more).await.unwrap();
    let known = room.agent.jobs().await.unwrap();
    assert_eq!(known.len(), MAX_JOBS);
    assert!(known.iter().all(|job| job.id != "7"));
}

#[tokio::test]
async fn a_job_outlives_its_stream_and_ends_with_its_agent() {
    let mut room = room_with(&["--linger", "--socket", "agent-jobs-test"]).await;
    let started = room.agent.start_job(&job("a", "exec sleep 1000", Restart::No)).await.unwrap();
    let pid = started.pid.to_string();
    let mut kept = job("b", "read x; echo got $x", Restart::No);
    kept.exec.stdin = true;
    room.agent.start_job(&kept).await.unwrap();
    room.agent.close();
    let connect = program(room.dir.path(), "connect", &["--socket", "agent-jobs-test"]);
    let (_bridge, mut stream) = piped(connect);
    let digits: Vec<u32> = SECRET.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    let secret: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    stream.write_all(&secret).await.unwrap();
    let agent = Agent::connect(stream).await.unwrap();
    assert!(alive(&pid));
    agent.job_input("b", Bytes::from_static(b"it\n"), true).await.unwrap();
    assert_eq!(output(&agent, "b", true).await.0, "got it\n");
    agent.shutdown(Duration::from_millis(100)).await.unwrap();
    room.process.wait().await.unwrap();
    until("it is gone", async || !alive(&pid)).await;
}
