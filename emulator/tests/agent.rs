//! The agent as an ordinary process, driven through the emulator's client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use miosa_agent::protocol::{
    Change, Command, Entry, Exec, FailureCode, FileOp, Listing, TerminalSize,
};
use miosa_emulator::machines::agent::{Output, Running, Tunnel};
use miosa_emulator::machines::{Agent, AgentStream, MachineError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command as Process};

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const BOUND: Duration = Duration::from_secs(20);

/// An agent with a workspace of its own.
struct Room {
    agent: Agent,
    process: Child,
    dir: tempfile::TempDir,
}

impl Room {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn program(dir: &Path, mode: &str, args: &[&str]) -> Process {
    let mut process = Process::new(env!("MIOSA_AGENT_ELF"));
    process.arg(mode).args(args).env("MIOSA_AGENT_SECRET", SECRET);
    // The end of its stream makes any other end in order, with what it started.
    process.kill_on_drop(args.contains(&"--linger"));
    if mode == "serve" {
        process.arg("--group-only").arg("--workspace").arg(dir);
    }
    process
}

/// The process and the stream to it over a pair of pipes.
fn piped(mut process: Process) -> (Child, AgentStream) {
    let mut child = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, Box::new(tokio::io::join(stdout, stdin)))
}

async fn room_with(args: &[&str]) -> Room {
    let dir = tempfile::tempdir().unwrap();
    let (process, stream) = piped(program(dir.path(), "serve", args));
    Room { agent: Agent::connect(stream).await.unwrap(), process, dir }
}

async fn room() -> Room {
    room_with(&[]).await
}

fn shell(line: &str) -> Exec {
    exec(Command::Shell(line.to_owned()))
}

fn exec(command: Command) -> Exec {
    Exec {
        command,
        cwd: None,
        env: std::collections::BTreeMap::new(),
        timeout_ms: Some(15_000),
        stdin: false,
        tty: None,
        detached: false,
    }
}

async fn said(agent: &Agent, line: &str) -> String {
    let finished = agent.run(shell(line), None, 1 << 20).await.unwrap();
    assert_eq!(finished.exit.exit_code, 0, "{finished:?}");
    String::from_utf8(finished.stdout.to_vec()).unwrap()
}

fn code<T: std::fmt::Debug>(outcome: Result<T, MachineError>) -> FailureCode {
    match outcome.unwrap_err() {
        MachineError::Agent(failure) => failure.code,
        other => panic!("{other:?}"),
    }
}

/// Waits for a condition on the outside.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < BOUND, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Reads output until it holds `text`.
async fn read_until(running: &mut Running, text: &str) -> String {
    let mut all = String::new();
    tokio::time::timeout(BOUND, async {
        while !all.contains(text) {
            match running.next().await {
                Some(Ok(Output::Stdout(bytes))) => all.push_str(&String::from_utf8_lossy(&bytes)),
                other => panic!("{other:?} after {all:?}"),
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {text:?}"));
    all
}

#[tokio::test]
async fn a_command_answers_with_its_streams_and_its_code() {
    let room = room().await;
    let finished =
        room.agent.run(shell("echo out; echo err >&2; exit 7"), None, 1 << 20).await.unwrap();
    assert_eq!((&finished.stdout[..], &finished.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((finished.exit.exit_code, finished.exit.signal), (7, None));
    let unknown = room.agent.run(shell("no-such-program-here"), None, 1 << 20).await.unwrap();
    assert_eq!(unknown.exit.exit_code, 127);
    let killed = room.agent.run(shell("kill -9 $$"), None, 1 << 20).await.unwrap();
    assert_eq!((killed.exit.exit_code, killed.exit.signal), (137, Some(9)));
    let real_time = room.agent.run(shell("kill -40 $$"), None, 1 << 20).await.unwrap();
    assert_eq!((real_time.exit.exit_code, real_time.exit.signal), (168, Some(40)));
    let argv = Command::Argv(vec!["printf".into(), "%s|".into(), "a b".into(), "$HOME".into()]);
    let plain = room.agent.run(exec(argv), None, 1 << 20).await.unwrap();
    assert_eq!(&plain.stdout[..], b"a b|$HOME|");
    let absent = exec(Command::Argv(vec!["/no/such/program".into()]));
    assert_eq!(code(room.agent.run(absent, None, 10).await), FailureCode::NotFound);
}

#[tokio::test]
async fn a_socket_for_both_directions_works_like_two_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut process = program(dir.path(), "serve", &[]);
    let theirs = std::os::fd::OwnedFd::from(theirs);
    process.stdin(theirs.try_clone().unwrap()).stdout(theirs);
    let _child = process.spawn().unwrap();
    drop(process);
    let agent = Agent::connect(Box::new(UnixStream::from_std(ours).unwrap())).await.unwrap();
    assert_eq!(said(&agent, "echo hello").await, "hello\n");
}

#[tokio::test]
async fn output_is_binary_whole_and_bounded_where_asked() {
    let room = room().await;
    let line = r"printf '\000\377\376ab\n'";
    let bytes = room.agent.run(shell(line), None, 1 << 20).await.unwrap();
    assert_eq!(&bytes.stdout[..], b"\x00\xff\xfeab\n");
    let large = room.agent.run(shell("head -c 10000000 /dev/zero"), None, 1 << 30).await.unwrap();
    assert_eq!((large.stdout.len(), large.stdout_truncated), (10_000_000, false));
    let cut = room.agent.run(shell("head -c 10000000 /dev/zero"), None, 1000).await.unwrap();
    assert_eq!((cut.stdout.len(), cut.stdout_truncated), (1000, true));
    assert_eq!(cut.exit.exit_code, 0);
}

#[tokio::test]
async fn standard_input_arrives_whole_and_ends() {
    let room = room().await;
    let bytes = Bytes::from(vec![7_u8; 3_000_000]);
    let finished = room.agent.run(shell("wc -c"), Some(bytes.clone()), 1 << 20).await.unwrap();
    assert_eq!(&finished.stdout[..], b"3000000\n");
    let echoed = room.agent.run(shell("cat"), Some(bytes.clone()), 1 << 30).await.unwrap();
    assert!(echoed.stdout == bytes);
    let deaf = room.agent.run(shell("exit 3"), Some(bytes), 1 << 20).await.unwrap();
    assert_eq!(deaf.exit.exit_code, 3);
    assert_eq!(said(&room.agent, "cat | wc -c").await, "0\n");
}

#[tokio::test]
async fn environment_and_directory_reach_the_command_and_the_secret_does_not() {
    let room = room_with(&[]).await;
    std::fs::create_dir(room.path("sub")).unwrap();
    let mut exec = shell("pwd; echo $GREETING; env | grep -c MIOSA_AGENT; echo ${PATH:+path}");
    exec.env.insert("GREETING".into(), "grüß".into());
    exec.cwd = Some("/workspace/sub".into());
    let finished = room.agent.run(exec, None, 1 << 20).await.unwrap();
    let expected = format!("{}\ngrüß\n0\npath\n", room.path("sub").display());
    assert_eq!(String::from_utf8_lossy(&finished.stdout), expected);
    let mut lost = shell("true");
    lost.cwd = Some("nowhere".into());
    assert_eq!(code(room.agent.run(lost, None, 10).await), FailureCode::NotFound);
}

#[tokio::test]
async fn a_timeout_kills_grandchildren_too() {
    let room = room().await;
    let mut exec = shell("sleep 1000 & echo $!; (sleep 1000; true) & wait");
    exec.timeout_ms = Some(300);
    let finished = room.agent.run(exec, None, 1 << 20).await.unwrap();
    let exit = &finished.exit;
    assert_eq!((exit.exit_code, exit.signal, exit.timed_out), (137, Some(9), true));
    assert!((300..3000).contains(&exit.duration_ms), "{exit:?}");
    let pid = String::from_utf8_lossy(&finished.stdout).into_owned();
    until("the grandchild is gone", async || !alive(&pid)).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_command_unless_it_is_detached() {
    let room = room().await;
    let mut kept = shell("echo $$; exec sleep 1000");
    kept.detached = true;
    let mut detached = room.agent.exec(kept).await.unwrap();
    let mut plain = room.agent.exec(shell("echo $$; exec sleep 1000")).await.unwrap();
    let survivor = read_until(&mut detached, "\n").await;
    let victim = read_until(&mut plain, "\n").await;
    let _input_still_held = plain.input();
    drop(detached);
    drop(plain);
    until("the command is gone", async || !alive(&victim)).await;
    assert!(alive(&survivor));
    room.agent.signal(survivor.trim().parse().unwrap(), 9).await.unwrap();
    until("the signal works", async || !alive(&survivor)).await;
    assert_eq!(code(room.agent.signal(1, 9).await), FailureCode::NotFound);
}

#[tokio::test]
async fn a_background_process_does_not_hold_the_answer() {
    let room = room().await;
    let began = Instant::now();
    let quiet = said(&room.agent, "sleep 1000 > /dev/null 2>&1 & echo $!").await;
    let holding = said(&room.agent, "sleep 1000 & echo $!").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let noisy = room.agent.run(shell("yes & echo started"), None, 1000).await.unwrap();
    assert_eq!(noisy.exit.exit_code, 0);
    assert!(alive(&quiet) && alive(&holding));
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_command_and_nobody_else() {
    let room = room().await;
    let mut slow = room.agent.exec(shell("yes")).await.unwrap();
    assert!(matches!(slow.next().await, Some(Ok(Output::Stdout(_)))));
    for _ in 0..20 {
        assert_eq!(said(&room.agent, "echo quick").await, "quick\n");
    }
    let rss = std::fs::read_to_string(format!("/proc/{}/status", room.process.id().unwrap()));
    let rss = rss.unwrap();
    let line = rss.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kb < 32 * 1024, "the agent holds {kb} kB");
}

#[tokio::test]
async fn a_terminal_has_a_size_keys_and_signals() {
    let room = room().await;
    let mut exec =
        shell("tty > /dev/null && echo is-a-tty; stty size; read x; stty size; cat; echo end");
    exec.tty = Some(TerminalSize { rows: 30, cols: 100 });
    exec.stdin = true;
    let mut running = room.agent.exec(exec).await.unwrap();
    let first = read_until(&mut running, "30 100").await;
    assert!(first.contains("is-a-tty"));
    let input = running.input();
    input.resize(TerminalSize { rows: 40, cols: 120 }).await.unwrap();
    input.write(Bytes::from_static(b"go\n")).await.unwrap();
    read_until(&mut running, "40 120").await;
    input.end().await.unwrap();
    read_until(&mut running, "end").await;
    let mut interrupted = shell("echo ready; sleep 1000");
    interrupted.tty = Some(TerminalSize { rows: 30, cols: 100 });
    let mut running = room.agent.exec(interrupted).await.unwrap();
    read_until(&mut running, "ready").await;
    running.input().write(Bytes::from_static(b"\x03")).await.unwrap();
    let exit = loop {
        match running.next().await.unwrap().unwrap() {
            Output::Exit(exit) => break exit,
            Output::Stdout(_) | Output::Stderr(_) => {}
        }
    };
    assert_eq!(exit.exit_code, 130);
}

#[tokio::test]
async fn commands_in_parallel_do_not_mix() {
    let room = room().await;
    let many = (0..50).map(|number| {
        let agent = room.agent.clone();
        async move { (number, said(&agent, &format!("sleep 0.05; echo {number}")).await) }
    });
    for (number, text) in futures_util::future::join_all(many).await {
        assert_eq!(text, format!("{number}\n"));
    }
}

async fn content(agent: &Agent, path: &str) -> Vec<u8> {
    let (_, mut stream) = agent.read(path).await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

#[tokio::test]
async fn a_file_is_written_whole_and_reads_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let room = room().await;
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let entry = room.agent.write("a/b/ü c", None, Bytes::from(bytes.clone())).await.unwrap();
    assert_eq!((entry.path.as_str(), entry.size), ("/workspace/a/b/ü c", 5_000_000));
    assert_eq!(entry.mode, 0o644);
    assert!(content(&room.agent, "/workspace/a/b/ü c").await == bytes);
    let file = room.path("a/b/ü c");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let entry = room.agent.write("a/b/ü c", None, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(entry.mode, 0o755);
    let entry = room.agent.write("a/b/ü c", Some(0o600), Bytes::new()).await.unwrap();
    assert_eq!((entry.mode, entry.size), (0o600, 0));
    assert_eq!(code(room.agent.write("a/b", None, Bytes::new()).await), FailureCode::IsDirectory);
    assert_eq!(code(room.agent.read("nothing").await.map(|_| ())), FailureCode::NotFound);
    std::os::unix::fs::symlink("../target", room.path("a/link")).unwrap();
    room.agent.write("a/link", None, Bytes::from_static(b"through")).await.unwrap();
    assert_eq!(std::fs::read(room.path("target")).unwrap(), b"through");
    assert!(room.path("a/link").is_symlink());
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_the_old_file_and_nothing_else() {
    let room = room().await;
    room.agent.write("f", None, Bytes::from_static(b"old")).await.unwrap();
    let pieces = futures_util::stream::iter([
        Ok(Bytes::from(vec![1; 100_000])),
        Err(std::io::Error::other("the client is gone")),
    ]);
    assert!(room.agent.write_from("f", None, pieces).await.is_err());
    until("only the old file is there", async || {
        std::fs::read_dir(room.dir.path()).unwrap().count() == 1
    })
    .await;
    assert_eq!(std::fs::read(room.path("f")).unwrap(), b"old");
}

#[tokio::test]
async fn the_kernels_directories_are_no_files_and_a_fifo_does_not_hang() {
    let room = room().await;
    said(&room.agent, "mkfifo fifo; ln -s /proc p; ln -s /dev/zero z").await;
    for path in ["/proc/1/environ", "/dev/zero", "/sys/kernel", "p/self/environ", "z", "fifo"] {
        let refused = room.agent.read(path).await.map(|_| ());
        assert_eq!(code(refused), FailureCode::ForbiddenPath, "{path}");
        let refused = room.agent.write(path, None, Bytes::new()).await;
        assert_eq!(code(refused), FailureCode::ForbiddenPath, "{path}");
    }
    for path in ["", "a\0b", &"n".repeat(300)] {
        let refused = room.agent.read(path).await.map(|_| ());
        assert_eq!(code(refused), FailureCode::InvalidPath);
    }
    let listing: Listing =
        room.agent.file_op(&FileOp::List { path: ".".into(), depth: 3 }).await.unwrap();
    let names: Vec<_> = listing.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["fifo", "p", "z"]);
    let gone = FileOp::Stat { path: "nothing".into() };
    assert_eq!(code(room.agent.file_op::<Entry>(&gone).await), FailureCode::NotFound);
}

#[tokio::test]
async fn a_tunnel_ends_each_direction_by_itself() {
    let room = room().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tunnel: Tunnel = room.agent.tcp(port).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    // Ours first: the other side sees the end, and can still answer at length.
    tunnel.write_all(b"question").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut heard = String::new();
    socket.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    socket.write_all(&vec![9; 1_000_000]).await.unwrap();
    drop(socket);
    let mut answer = Vec::new();
    tunnel.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), 1_000_000);
    // Theirs first.
    let mut tunnel = room.agent.tcp(port).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut [0; 8]).await.unwrap(), 0);
    tunnel.write_all(b"still here").await.unwrap();
    tunnel.shutdown().await.unwrap();
    heard.clear();
    socket.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "still here");
    // Dropped: both ends.
    let tunnel = room.agent.tcp(port).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    drop(tunnel);
    let ended = tokio::time::timeout(BOUND, socket.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    drop(listener);
    let refused = room.agent.tcp(port).await.map(|_| ());
    assert_eq!(code(refused), FailureCode::ConnectionRefused);
}

#[tokio::test]
async fn ports_and_usage_are_those_of_the_machine() {
    let room = room().await;
    let before = room.agent.usage().await.unwrap();
    assert_eq!(before.processes, 0);
    let program = "import socket,time\ns=socket.create_server(('127.0.0.1',0))\n\
                   print(s.getsockname()[1],flush=True)\ntime.sleep(1000)";
    let argv = Command::Argv(vec!["python3".into(), "-c".into(), program.into()]);
    let mut server = room.agent.exec(exec(argv)).await.unwrap();
    let port: u16 = read_until(&mut server, "\n").await.trim().parse().unwrap();
    let ports = room.agent.ports().await.unwrap().ports;
    assert_eq!(ports.len(), 1);
    assert_eq!((ports[0].port, ports[0].pid), (port, Some(server.pid)));
    said(&room.agent, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").await;
    let after = room.agent.usage().await.unwrap();
    assert!(after.cpu_ms > before.cpu_ms, "{after:?}");
    assert_eq!(after.processes, 1);
    assert!(after.memory_bytes > 1_000_000);
}

#[tokio::test]
async fn frozen_processes_stand_still_and_a_thaw_spares_those_stopped_before() {
    let room = room().await;
    let state = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    };
    let running = room.agent.exec(shell("exec sleep 1000")).await.unwrap();
    let stopped = room.agent.exec(shell("kill -STOP $$; exec sleep 1000")).await.unwrap();
    until("it has stopped itself", async || state(stopped.pid) == 'T').await;
    room.agent.freeze().await.unwrap();
    room.agent.freeze().await.unwrap();
    assert_eq!((state(running.pid), state(stopped.pid)), ('T', 'T'));
    room.agent.thaw().await.unwrap();
    until("it goes on", async || state(running.pid) == 'S').await;
    assert_eq!(state(stopped.pid), 'T');
}

#[tokio::test]
async fn the_end_of_the_stream_ends_every_process() {
    let mut room = room().await;
    let deaf = "trap '' TERM; sleep 1000 & echo $!; while true; do sleep 1; done";
    let mut running = room.agent.exec(shell(deaf)).await.unwrap();
    let pid = read_until(&mut running, "\n").await;
    let daemon = said(&room.agent, "setsid sleep 1000 > /dev/null 2>&1 & echo $!").await;
    assert!(alive(&pid) && alive(&daemon));
    room.agent.close();
    drop(running);
    tokio::time::timeout(BOUND, room.process.wait()).await.unwrap().unwrap();
    assert!(!alive(&pid) && !alive(&daemon));
}

#[tokio::test]
async fn a_shutdown_gives_processes_their_grace() {
    let mut room = room().await;
    let polite =
        "trap 'echo bye > farewell; exit' TERM; echo ready; while true; do sleep 0.01; done";
    let mut running = room.agent.exec(shell(polite)).await.unwrap();
    read_until(&mut running, "ready").await;
    room.agent.shutdown(Duration::from_secs(5)).await.unwrap();
    tokio::time::timeout(BOUND, room.agent.closed()).await.unwrap();
    assert!(room.agent.is_closed());
    let status = tokio::time::timeout(BOUND, room.process.wait()).await.unwrap().unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_to_string(room.path("farewell")).unwrap(), "bye\n");
    assert!(matches!(room.agent.health().await, Err(MachineError::AgentUnreachable(_))));
}

#[tokio::test]
async fn closing_the_connection_ends_what_is_still_held() {
    let mut room = room().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut tunnel = room.agent.tcp(listener.local_addr().unwrap().port()).await.unwrap();
    let mut running = room.agent.exec(shell("echo $$; exec sleep 1000")).await.unwrap();
    let pid = read_until(&mut running, "\n").await;
    room.agent.close();
    tokio::time::timeout(BOUND, room.agent.closed()).await.unwrap();
    let lost = tokio::time::timeout(BOUND, running.next()).await.unwrap();
    assert!(matches!(lost, Some(Err(MachineError::AgentUnreachable(_)))), "{lost:?}");
    assert!(running.next().await.is_none());
    let cut = tokio::time::timeout(BOUND, tunnel.read(&mut [0; 8])).await.unwrap();
    assert!(cut.is_err());
    tokio::time::timeout(BOUND, room.process.wait()).await.unwrap().unwrap();
    assert!(!alive(&pid));
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_no_process() {
    let room = room().await;
    for pause in 0..20 {
        let starting = room.agent.exec(shell("exec sleep 1000"));
        let _ = tokio::time::timeout(Duration::from_micros(pause * 100), starting).await;
    }
    until("every one of them is gone", async || room.agent.usage().await.unwrap().processes == 0)
        .await;
}

#[tokio::test]
async fn a_command_that_cannot_be_is_refused_before_anything_runs() {
    let room = room().await;
    let empty = exec(Command::Argv(Vec::new()));
    assert_eq!(code(room.agent.run(empty, None, 10).await), FailureCode::InvalidRequest);
    assert_eq!(code(room.agent.run(shell("a\0b"), None, 10).await), FailureCode::InvalidRequest);
    for name in ["", "A=B", "A\0"] {
        let mut wrong = shell("true");
        wrong.env.insert(name.to_owned(), "x".to_owned());
        assert_eq!(code(room.agent.run(wrong, None, 10).await), FailureCode::InvalidRequest);
    }
    let mut huge = shell("true");
    huge.env.insert("A".to_owned(), "x".repeat(200_000));
    assert_eq!(code(room.agent.run(huge, None, 10).await), FailureCode::InvalidRequest);
}

/// A lingering agent with a socket name of its own.
async fn lingering() -> (Room, String) {
    let name = format!("miosa-test-{}-{:?}", std::process::id(), std::thread::current().id());
    (room_with(&["--linger", "--socket", &name]).await, name)
}

async fn bridge(room: &Room, name: &str, secret: &[u8]) -> (Child, AgentStream) {
    let (child, mut stream) = piped(program(room.dir.path(), "connect", &["--socket", name]));
    stream.write_all(secret).await.unwrap();
    (child, stream)
}

fn secret() -> Vec<u8> {
    let digits: Vec<u32> = SECRET.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[tokio::test]
async fn a_newer_stream_closes_the_older_and_its_commands_but_not_the_machine() {
    let (room, name) = lingering().await;
    let mut old = room.agent.exec(shell("echo $$; exec sleep 1000")).await.unwrap();
    let victim = read_until(&mut old, "\n").await;
    let daemon = said(&room.agent, "nohup sleep 1000 > /dev/null 2>&1 & echo $!").await;
    let (_child, stream) = bridge(&room, &name, &secret()).await;
    let agent = Agent::connect(stream).await.unwrap();
    tokio::time::timeout(BOUND, room.agent.closed()).await.unwrap();
    until("the old command is gone", async || !alive(&victim)).await;
    assert!(alive(&daemon));
    assert_eq!(said(&agent, "echo new").await, "new\n");
    // The end of a stream is not the end either.
    drop(agent);
    let (_child, stream) = bridge(&room, &name, &secret()).await;
    let agent = Agent::connect(stream).await.unwrap();
    assert_eq!(said(&agent, "echo newest").await, "newest\n");
    assert!(alive(&daemon));
    agent.shutdown(Duration::from_secs(5)).await.unwrap();
    until("the machine has ended", async || !alive(&daemon)).await;
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_disturbs_nobody() {
    let (room, name) = lingering().await;
    let mut wrong = secret();
    wrong[31] ^= 1;
    let (mut child, stream) = bridge(&room, &name, &wrong).await;
    assert!(Agent::connect(stream).await.is_err());
    tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert_eq!(said(&room.agent, "echo still here").await, "still here\n");
}

#[tokio::test]
async fn garbage_ends_the_machine_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, mut stream) = piped(program(dir.path(), "serve", &[]));
    let garbage: Vec<u8> =
        (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // It may hang up before it has read everything.
    let _ = stream.write_all(&garbage).await;
    let status = tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status:?}");
}

/// A line that says what of a process's streams and memory it could open.
fn reach(pid: u32) -> String {
    format!(
        "for f in $(seq 0 40) ; do (: < /proc/{pid}/fd/$f) 2>/dev/null && echo reads $f; \
         (: >> /proc/{pid}/fd/$f) 2>/dev/null && echo writes $f; done; \
         for f in mem environ; do head -c1 /proc/{pid}/$f > /dev/null 2>&1 && echo reads $f; done; \
         echo nothing"
    )
}

#[tokio::test]
async fn no_command_can_touch_the_agents_streams() {
    let room = room().await;
    let agent = room.process.id().unwrap();
    // Whoever runs this test, root included: an agent is not dumpable and gives up SYS_PTRACE.
    let line =
        format!("ls -l /proc/{agent}/fd > /dev/null 2>&1 && echo open; ls /proc/self/fd | wc -w");
    assert_eq!(said(&room.agent, &line).await, "4\n");
}

/// A program inside that asks the proxy for something, and what it heard.
async fn ask_proxy(port: u16, request: &str) -> (tokio::net::TcpStream, String) {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => heard.push(byte),
            Err(_) => break,
        }
    }
    (socket, String::from_utf8(heard).unwrap())
}

#[tokio::test]
async fn the_way_out_leads_through_the_emulators_verdict() {
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let room = room_with(&["--egress-proxy", "--egress-port", &port.to_string()]).await;
    assert!(room.agent.ports().await.unwrap().ports.is_empty(), "the proxy is not the machine's");
    let connect = "CONNECT pypi.org:443 HTTP/1.1\r\nHost: pypi.org:443\r\n\r\n";

    let asking = tokio::spawn(ask_proxy(port, connect));
    let leaving = room.agent.accept_egress().await.unwrap();
    assert_eq!(leaving.target, "pypi.org:443");
    let mut tunnel = leaving.accept().await.unwrap();
    let (mut inside, heard) = asking.await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    tunnel.write_all(b"answer").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut outside = String::new();
    inside.read_to_string(&mut outside).await.unwrap();
    assert_eq!(outside, "answer");
    inside.write_all(b"hello").await.unwrap();
    inside.shutdown().await.unwrap();
    outside.clear();
    tunnel.read_to_string(&mut outside).await.unwrap();
    assert_eq!(outside, "hello");

    let asking = tokio::spawn(ask_proxy(port, connect));
    room.agent.accept_egress().await.unwrap().refuse("not in the policy").await.unwrap();
    let (mut inside, heard) = asking.await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
    outside.clear();
    inside.read_to_string(&mut outside).await.unwrap();
    assert_eq!(outside, "not in the policy\n");

    let asking = tokio::spawn(ask_proxy(port, connect));
    room.agent.accept_egress().await.unwrap().fail("no such host").await.unwrap();
    assert!(asking.await.unwrap().1.starts_with("HTTP/1.1 502 "));

    let asking = tokio::spawn(ask_proxy(port, connect));
    drop(room.agent.accept_egress().await.unwrap());
    assert!(asking.await.unwrap().1.starts_with("HTTP/1.1 502 "));

    let plain = "GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let asking = tokio::spawn(ask_proxy(port, plain));
    let leaving = room.agent.accept_egress().await.unwrap();
    assert_eq!(leaving.target, "example.com:80");
    let mut tunnel = leaving.accept().await.unwrap();
    let mut first = vec![0; 18];
    tunnel.read_exact(&mut first).await.unwrap();
    assert_eq!(first, b"GET /a HTTP/1.1\r\nH");
    tunnel.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(asking.await.unwrap().1, "HTTP/1.1 204 No Content\r\n\r\n");

    let (_, heard) = ask_proxy(port, "GET / HTTP/1.1\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
}

#[tokio::test]
async fn a_waiter_that_gave_up_does_not_swallow_the_next_connection() {
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let room = room_with(&["--egress-proxy", "--egress-port", &port.to_string()]).await;
    {
        let mut waiting = Box::pin(room.agent.accept_egress());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        // The agent has it now: health was asked for later.
        room.agent.health().await.unwrap();
    }
    room.agent.health().await.unwrap();
    let asking = tokio::spawn(ask_proxy(port, "CONNECT a:1 HTTP/1.1\r\n\r\n"));
    let leaving = room.agent.accept_egress().await.unwrap();
    assert_eq!(leaving.target, "a:1");
    let _tunnel = leaving.accept().await.unwrap();
    let heard = asking.await.unwrap().1;
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
}

/// An agent that is the first process of a PID namespace of its own; `None` where that is not allowed.
async fn first_process() -> Option<(Agent, Child)> {
    let mut process = Process::new("unshare");
    process
        .args(["-Urpf", "--mount-proc", "--kill-child"])
        .arg(env!("MIOSA_AGENT_ELF"))
        .arg("serve");
    let (child, stream) = piped(process);
    Agent::connect(stream).await.ok().map(|agent| (agent, child))
}

#[tokio::test]
async fn as_first_process_it_reaps_freezes_and_ends_all() {
    let Some((agent, mut process)) = first_process().await else {
        eprintln!("no namespaces here: nothing was checked");
        return;
    };
    assert_eq!(agent.health().await.unwrap().pid, 1);
    // Orphans that end leave no zombie, and do not disturb the answers of commands.
    said(&agent, "for i in 1 2 3 4 5 6 7 8; do (sh -c 'sleep 0.01 & exit' &) ; done").await;
    until("no process is left", async || {
        let usage = agent.usage().await.unwrap();
        usage.processes == 0 && said(&agent, "ps -eo stat= | grep -c Z || true").await == "0\n"
    })
    .await;
    assert_eq!(said(&agent, "kill -9 1; kill -STOP 1; kill -HUP 1; echo alive").await, "alive\n");
    assert_eq!(said(&agent, &reach(1)).await, "nothing\n");
    let running = agent.exec(shell("exec sleep 1000")).await.unwrap();
    agent.freeze().await.unwrap();
    let state = FileOp::Stat { path: "/proc/1".into() };
    assert_eq!(code(agent.file_op::<Entry>(&state).await), FailureCode::ForbiddenPath);
    agent.thaw().await.unwrap();
    assert_eq!(said(&agent, &format!("cut -d' ' -f3 /proc/{}/stat", running.pid)).await, "S\n");
    agent.shutdown(Duration::from_secs(2)).await.unwrap();
    tokio::time::timeout(BOUND, process.wait()).await.unwrap().unwrap();
}

type Changes = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Change, MachineError>>>>;

async fn watching(room: &Room, path: &str, recursive: bool) -> Changes {
    Box::pin(room.agent.watch(path, recursive).await.unwrap())
}

/// The changes up to one of this path, as `event path`, a rename as `renamed old new`.
async fn heard(changes: &mut Changes, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    let hearing = async {
        while all.last().is_none_or(|told: &String| told != last) {
            let change = changes.next().await.unwrap().unwrap();
            let kind = serde_json::to_value(change.event).unwrap();
            let old = change.old_path.map(|old| format!("{old} ")).unwrap_or_default();
            let slash = if change.is_dir { "/" } else { "" };
            all.push(format!("{} {old}{}{slash}", kind.as_str().unwrap(), change.path));
        }
    };
    let in_time = tokio::time::timeout(BOUND, hearing).await.is_ok();
    assert!(in_time, "never: {last:?}, but {all:?}");
    all
}

#[tokio::test]
async fn a_watch_tells_what_happens_to_files() {
    let room = room().await;
    std::fs::write(room.path("old"), "a").unwrap();
    let mut changes = watching(&room, "/workspace", false).await;
    std::fs::File::create(room.path("new")).unwrap();
    assert_eq!(heard(&mut changes, "created /workspace/new").await.len(), 1);
    std::fs::write(room.path("old"), "b").unwrap();
    assert_eq!(heard(&mut changes, "modified /workspace/old").await.len(), 1);
    std::fs::rename(room.path("old"), room.path("moved")).unwrap();
    // The write before came as two pieces of news: the cut and the bytes.
    let renamed = heard(&mut changes, "renamed /workspace/old /workspace/moved").await;
    assert!(renamed.len() <= 2, "{renamed:?}");
    std::fs::remove_file(room.path("moved")).unwrap();
    assert_eq!(heard(&mut changes, "deleted /workspace/moved").await.len(), 1);
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(room.path("new"), elsewhere.path().join("new")).unwrap();
    assert_eq!(heard(&mut changes, "deleted /workspace/new").await.len(), 1);
    // Not asked for what is deeper.
    std::fs::create_dir(room.path("deep")).unwrap();
    std::fs::write(room.path("deep/a"), "").unwrap();
    std::fs::remove_dir_all(room.path("deep")).unwrap();
    let told = heard(&mut changes, "deleted /workspace/deep/").await;
    assert_eq!(told, ["created /workspace/deep/", "deleted /workspace/deep/"]);
}

#[tokio::test]
async fn what_the_agent_writes_is_told_without_its_temporary_file() {
    let room = room().await;
    let mut changes = watching(&room, "/workspace", true).await;
    room.agent.write("a", None, Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(heard(&mut changes, "created /workspace/a").await.len(), 1);
    room.agent.write("a", None, Bytes::from_static(b"2")).await.unwrap();
    assert_eq!(heard(&mut changes, "modified /workspace/a").await.len(), 1);
}

#[tokio::test]
async fn a_recursive_watch_follows_directories_as_they_come_and_move() {
    let room = room().await;
    std::fs::create_dir_all(room.path("was/there")).unwrap();
    let mut changes = watching(&room, "/workspace", true).await;
    std::fs::write(room.path("was/there/a"), "").unwrap();
    assert_eq!(heard(&mut changes, "created /workspace/was/there/a").await.len(), 1);
    // Made in one go: by the time that anybody looks, all of it is there.
    std::fs::create_dir_all(room.path("x/y/z")).unwrap();
    std::fs::write(room.path("x/y/z/b"), "").unwrap();
    let told = heard(&mut changes, "created /workspace/x/y/z/b").await;
    assert_eq!(told.iter().filter(|told| told.starts_with("created")).count(), 4, "{told:?}");
    std::fs::rename(room.path("x"), room.path("w")).unwrap();
    heard(&mut changes, "renamed /workspace/x /workspace/w/").await;
    std::fs::remove_file(room.path("w/y/z/b")).unwrap();
    assert_eq!(heard(&mut changes, "deleted /workspace/w/y/z/b").await.len(), 1);
    // What has left is followed no more; the next change is the next one here.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(room.path("w"), elsewhere.path().join("w")).unwrap();
    heard(&mut changes, "deleted /workspace/w/").await;
    std::fs::write(elsewhere.path().join("w/y/z/c"), "").unwrap();
    std::fs::File::create(room.path("end")).unwrap();
    assert_eq!(heard(&mut changes, "created /workspace/end").await.len(), 1);
}

#[tokio::test]
async fn a_watched_file_stays_watched_when_another_takes_its_place() {
    let room = room().await;
    std::fs::write(room.path("a"), "1").unwrap();
    let mut changes = watching(&room, "a", true).await;
    std::fs::write(room.path("b"), "not told").unwrap();
    for text in ["2", "3"] {
        room.agent.write("a", None, Bytes::from(text)).await.unwrap();
        assert_eq!(heard(&mut changes, "modified /workspace/a").await.len(), 1);
    }
    std::fs::remove_file(room.path("a")).unwrap();
    assert_eq!(heard(&mut changes, "deleted /workspace/a").await.len(), 1);
}

#[tokio::test]
async fn a_watch_ends_with_its_directory_and_cannot_begin_without() {
    let room = room().await;
    let missing = room.agent.watch("no", true).await.map(drop);
    assert_eq!(code(missing), FailureCode::NotFound);
    let kernels = room.agent.watch("/proc", true).await.map(drop);
    assert_eq!(code(kernels), FailureCode::ForbiddenPath);
    std::fs::create_dir(room.path("d")).unwrap();
    let mut changes = watching(&room, "d", true).await;
    std::fs::remove_dir(room.path("d")).unwrap();
    heard(&mut changes, "deleted /workspace/d/").await;
    assert!(tokio::time::timeout(BOUND, changes.next()).await.unwrap().is_none());
}

fn signal_agent(room: &Room, signal: Signal) {
    let pid = room.process.id().unwrap();
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

#[tokio::test]
async fn a_watch_that_missed_changes_says_so() {
    let room = room().await;
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    if queue > 100_000 {
        return; // It would take too long to fill.
    }
    let mut changes = watching(&room, "/workspace", true).await;
    signal_agent(&room, Signal::SIGSTOP);
    let (a, b) = (room.path("a"), room.path("b"));
    std::fs::File::create(&a).unwrap();
    for _ in 0..=queue / 4 {
        std::fs::rename(&a, &b).unwrap();
        std::fs::rename(&b, &a).unwrap();
    }
    signal_agent(&room, Signal::SIGCONT);
    let told = heard(&mut changes, "overflow /workspace/").await;
    assert!(told.len() > queue / 4, "{}", told.len());
    std::fs::create_dir(room.path("later")).unwrap();
    heard(&mut changes, "created /workspace/later/").await;
}

#[tokio::test]
async fn a_watcher_that_goes_away_leaves_no_watch() {
    let room = room().await;
    let fds = format!("/proc/{}/fd", room.process.id().unwrap());
    if std::fs::read_dir(&fds).is_err() {
        return; // The agent hides from an ordinary user.
    }
    let watches = || {
        let fds = std::fs::read_dir(&fds).unwrap();
        let to = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        to.filter(|to| to.to_string_lossy().contains("inotify")).count()
    };
    let changes = watching(&room, "/workspace", true).await;
    assert!(watches() > 0);
    drop(changes);
    until("no watch is left", async || watches() == 0).await;
}
